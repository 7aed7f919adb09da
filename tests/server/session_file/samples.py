"""A small session as a file, and as parts that a test can bend one at a time before they are put together again."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
import pytest

import synthetic_engine
from cutscene_server.errors import InvalidRequest
from cutscene_server.packed_scene import pack_stage
from cutscene_server.session_file.reading import SessionReader
from cutscene_server.session_file.writing import SessionWriter
from cutscene_server.store import StoredFrame, StoredTurn
from cutscene_server.terms import Terms
from cutscene_server.wire import requests
from messages import keyframed_turn, lockstep_turn, open_message

MODEL = synthetic_engine.MANIFEST
MAX_FRAMES = 1000
DRAWN = 10
ENVIRONMENT = {"torch": "2.9", "device": "cpu"}
NAMES = ("session.msgpack", "latents.safetensors", "manifest.json")


@dataclass(frozen=True)
class Sample:
    """A session: a keyframed turn and half of a lockstep one are drawn, ten frames; another keyframed turn waits."""

    terms: Terms
    packed_stage: bytes
    turns: list[StoredTurn]
    frames: list[StoredFrame]


def sample() -> Sample:
    terms, stage = requests.read_open(open_message(seed=1 << 63), MODEL, MAX_FRAMES)
    one = requests.read_turn(keyframed_turn("one", 6 / 24), terms.names, terms.fps).run
    two = requests.read_turn(lockstep_turn("two", 5), terms.names, terms.fps).run
    three = requests.read_turn(keyframed_turn("three", 1.0), terms.names, terms.fps).run
    turns = [
        StoredTurn(3, "one", 0, one.frame_count, False, 1_000, None),
        StoredTurn(4, "two", one.frame_count, two.frame_count, True, 2_000, two.packed()),
        StoredTurn(6, "three", one.frame_count + two.frame_count, three.frame_count, False, 3_000, three.packed()),
    ]
    states = [run.packed_state(index) for run in (one, two) for index in range(run.frame_count)][:DRAWN]
    frames = []
    for index, state in enumerate(states):
        latent = np.random.default_rng(index).standard_normal(MODEL.latent_shape).astype(np.float16).tobytes()
        digest = hashlib.blake2b(latent, digest_size=16).digest()
        figures = (index, "standard", 3, 1, 10, 20, 30, 60, 1_000_000 + index, 1_000_060 + index)
        number = 3 if index < one.frame_count else 4
        frames.append(StoredFrame(index, "standard", index == 7, number, state, latent, digest, figures))
    return Sample(terms, pack_stage(stage), turns, frames)


def complaint(file: bytes) -> str:
    """What a file is refused for."""
    with pytest.raises(InvalidRequest) as raised:
        read(file)
    (violation, *_) = raised.value.violations
    assert len(str(violation)) < 400
    return str(violation)


def written(session: Sample, batch: int = 4) -> bytes:
    """The file of a session."""
    writer = SessionWriter(MODEL.latent_shape, len(session.frames), len(session.turns))
    file = bytearray()

    def take() -> None:
        for chunk in writer.take():
            assert 0 < len(chunk) <= 1 << 20
            file.extend(chunk)

    writer.begin(session.terms, session.packed_stage)
    for turn in session.turns:
        writer.add_turn(turn)
        take()
    batches = [session.frames[start : start + batch] for start in range(0, len(session.frames), batch)]
    for frames in batches:
        writer.add_frames(frames)
        take()
    writer.begin_latents()
    for frames in batches:
        writer.add_latents(frames)
        take()
    writer.finish(MODEL.name, MODEL.digest, ENVIRONMENT)
    take()
    writer.close()
    return bytes(file)


def read(file: bytes, max_frames: int = MAX_FRAMES) -> Sample:
    """The session of a file. Raises ``ServerError``."""
    reader = SessionReader(io.BytesIO(file), MODEL, max_frames)
    return Sample(reader.terms, reader.packed_stage, list(reader.turns()), list(reader.frames()))


@dataclass
class Parts:
    """A file taken apart."""

    records: list[Any]  # of session.msgpack
    latents: bytes
    manifest: dict[str, Any]

    @classmethod
    def of(cls, file: bytes) -> Parts:
        with zipfile.ZipFile(io.BytesIO(file)) as archive:
            session, latents, manifest = (archive.read(name) for name in NAMES)
        unpacker = msgpack.Unpacker(io.BytesIO(session))
        return cls(list(unpacker), latents, json.loads(manifest))

    def copy(self) -> Parts:
        return dataclasses.replace(self, records=copy.deepcopy(self.records), manifest=copy.deepcopy(self.manifest))

    # The sample's records: how it was opened; turn one; turn two and its 5 states; turn three and its 2; the frames.

    @property
    def opened(self) -> dict[str, Any]:
        return self.records[0]  # type: ignore[no-any-return]

    def turn(self, index: int) -> list[Any]:
        return self.records[(1, 2, 8)[index]]  # type: ignore[no-any-return]

    def frame(self, index: int) -> list[Any]:
        return self.records[11 + index]  # type: ignore[no-any-return]

    @property
    def session(self) -> bytes:
        return b"".join(msgpack.packb(record) for record in self.records)

    def packed(self, session: bytes | None = None) -> bytes:
        """The file again, with the manifest's sizes and digests made to fit. ``session``: in place of the records."""
        session = self.session if session is None else session
        for name, data in zip(NAMES, (session, self.latents), strict=False):
            about = {"byte_size": len(data), "blake2b": hashlib.blake2b(data, digest_size=32).hexdigest()}
            self.manifest.get("entries", {})[name] = about
        return zipped(dict(zip(NAMES, (session, self.latents, json.dumps(self.manifest).encode()), strict=True)))


def zipped(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return file.getvalue()
