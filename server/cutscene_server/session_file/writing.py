"""A session to the bytes of a file, piece by piece: whoever writes takes what is ready after each piece."""

from __future__ import annotations

import hashlib
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, cast

import msgpack

from cutscene_server.keyframes import KeyframedStates, LockstepStates, unpack_run
from cutscene_server.session_file.layout import (
    DIGEST_BYTES,
    LATENTS,
    MANIFEST,
    SESSION,
    Entry,
    FileManifest,
    latents_header,
)
from cutscene_server.store import StoredFrame, StoredTurn
from cutscene_server.terms import PixelDigest, Terms

CHUNK_BYTES = 1 << 20


class SessionWriter:
    """One file: ``begin``, ``add_turn`` and ``add_frames`` for all there are, then ``begin_latents`` and
    ``add_latents`` for the same frames once more, then ``finish``. ``take`` after each gives what is to be written.

    It holds what was added since the last ``take``, and nothing else.
    """

    def __init__(self, latent_shape: tuple[int, ...], frame_count: int, turn_count: int) -> None:
        self._latent_shape = latent_shape
        self._frame_count = frame_count
        self._turn_count = turn_count
        self._ready = _Sink()
        self._zip = zipfile.ZipFile(cast("IO[bytes]", self._ready), "w")
        self._entry: _EntryWriter | None = None
        self._session: Entry | None = None

    def begin(self, terms: Terms, packed_stage: bytes) -> None:
        """How the session was opened."""
        self._entry = _EntryWriter(self._zip, SESSION)
        opened = {
            "fps": terms.fps,
            "seed": terms.seed,
            "tier": terms.tier,
            "codec": terms.codec.value,
            "jpeg_quality": terms.jpeg_quality,
            "frame_credit": terms.frame_credit,
            "frame_budget": terms.frame_budget,
            "background": terms.background,
            "pacing": terms.pacing.value,
            "lowest_tier": terms.lowest_tier,
            "stage": packed_stage,
        }
        if terms.pixel_digest is not PixelDigest.BLAKE2B:  # a server from before there was a choice reads the others
            opened["pixel_digest"] = terms.pixel_digest.value
        self._write(msgpack.packb(opened))

    def add_turn(self, turn: StoredTurn) -> None:
        """A turn; with its states if it has a run."""
        run = None if turn.packed_run is None else unpack_run(turn.packed_run)
        kind = "drawn"
        states: list[list[bytes | int]] = []
        if isinstance(run, LockstepStates):
            kind, states = "lockstep", [[state] for state in run.states]
        elif isinstance(run, KeyframedStates):
            kind, states = "keyframed", [[state, offset, easing] for offset, state, easing in run.keyframes]
        self._write(
            msgpack.packb(
                [
                    turn.turn_number, turn.turn_id, turn.first_frame, turn.frame_count, turn.cut_before,
                    turn.received_unix_us, kind, len(states),
                ]
            )
        )  # fmt: skip
        for state in states:
            self._write(msgpack.packb(state))

    def add_frames(self, frames: Sequence[StoredFrame]) -> None:
        """The next frames, without their latents."""
        for frame in frames:
            self._write(
                msgpack.packb(
                    [
                        frame.frame_index, frame.tier, frame.cut_before, frame.turn_number, frame.packed_state,
                        frame.pixel_digest, frame.figures,
                    ]
                )
            )  # fmt: skip

    def begin_latents(self) -> None:
        self._session = self._end_entry()
        self._entry = _EntryWriter(self._zip, LATENTS)
        self._write(latents_header(self._frame_count, self._latent_shape))

    def add_latents(self, frames: Sequence[StoredFrame]) -> None:
        """The latents of the next frames."""
        for frame in frames:
            self._write(frame.latent)

    def finish(self, model: str, model_digest: str, environment: Mapping[str, str]) -> None:
        """The manifest, and the end."""
        latents = self._end_entry()
        if self._session is None:
            raise ValueError("the latents were not begun")
        manifest = FileManifest(
            model=model,
            model_digest=model_digest,
            latent_shape=self._latent_shape,
            frame_count=self._frame_count,
            turn_count=self._turn_count,
            environment=dict(environment),
            created_unix_us=time.time_ns() // 1000,
            session=self._session,
            latents=latents,
        )
        with self._zip.open(zipfile.ZipInfo(MANIFEST), "w") as entry:
            entry.write(manifest.packed())
        self._zip.close()

    def take(self) -> Iterator[bytes]:
        """What is ready to be written, in chunks of at most 1 MiB."""
        ready = memoryview(self._ready.take())
        for start in range(0, len(ready), CHUNK_BYTES):
            yield bytes(ready[start : start + CHUNK_BYTES])

    def close(self) -> None:
        """Lets go of the file, finished or not."""
        if self._entry is not None:
            self._entry.close()
        self._zip.close()

    def _write(self, data: bytes) -> None:
        if self._entry is None:
            raise ValueError("the file was not begun")
        self._entry.write(data)

    def _end_entry(self) -> Entry:
        if self._entry is None:
            raise ValueError("the file was not begun")
        entry, self._entry = self._entry, None
        return entry.close()


class _EntryWriter:
    """One stored entry, its size and its digest. Sizes are written behind the bytes: nobody knows them before."""

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        self._file = archive.open(zipfile.ZipInfo(name), "w", force_zip64=True)
        self._digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
        self._size = 0

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self._size += len(data)

    def close(self) -> Entry:
        self._file.close()
        return Entry(self._size, self._digest.hexdigest())


class _Sink:
    """Where ``zipfile`` writes to: a stream that it cannot go back in."""

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: bytes) -> int:
        self._written += data
        return len(data)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        taken, self._written = bytes(self._written), bytearray()
        return taken
