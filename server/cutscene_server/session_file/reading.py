"""The bytes of a file to a session, everything checked. Nothing of it is trusted, and little of it is held at once.

Every error is typed and names the place: ``InvalidRequest`` for what no server has written, ``OtherModel`` for what
another model has drawn, ``NoRoom`` for what this server's limits do not allow.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import IO, Any

import msgpack
import numpy as np

from cutscene_model.manifest import Manifest
from cutscene_server.errors import FieldViolation, InvalidRequest, NoRoom, OtherModel
from cutscene_server.session_file.container import Container, zip_errors
from cutscene_server.session_file.layout import (
    LARGEST_NUMBER,
    LATENTS,
    MAX_MANIFEST_BYTES,
    MAX_RECORD_BYTES,
    MAX_STAGE_BYTES,
    MAX_STATE_BYTES,
    MAX_WAITING_BYTES,
    SESSION,
    latent_bytes,
    latents_about,
    read_json,
    read_manifest,
    refused,
    said,
)
from cutscene_server.session_log import DrawnFigures
from cutscene_server.store import StoredFrame, StoredTurn
from cutscene_server.store.records import LARGEST_INT, MAX_RUN_BYTES
from cutscene_server.terms import Codec, Names, Pacing, PixelDigest, Terms
from cutscene_server.wire.requests import MAX_STATES
from cutscene_server.wire.stored import Keyframe, check_run, check_state, check_terms
from cutscene_server.wire.violations import NAME_PATTERN, shown

PATH = "file.session"
PIXEL_DIGEST_BYTES = 16
MAX_EASING = (1 << 31) - 1  # what a message can carry; which of these there are, it is asked itself
_FIGURES = tuple(field.name for field in dataclasses.fields(DrawnFigures))


class SessionReader:
    """One file. Made whole by ``__init__``, which checks all but what ``turns`` and then ``frames`` yield."""

    def __init__(
        self, file: IO[bytes], model: Manifest, max_frames: int, max_waiting_bytes: int = MAX_WAITING_BYTES
    ) -> None:
        """``model``: the one this server plays. ``max_frames``: what it lets a session draw. ``max_waiting_bytes``: of
        states that are yet to be drawn."""
        self._model = model
        self._max_waiting_bytes = max_waiting_bytes
        container = Container(file)
        self.manifest = read_manifest(container.manifest())
        self._check_manifest(max_frames)
        for name, entry in ((SESSION, self.manifest.session), (LATENTS, self.manifest.latents)):
            container.check_entry(name, entry)
        self._latents = self._open_latents(container)
        self._records = _Records(container.open(SESSION), self.manifest.session.byte_size)
        self.terms, self.packed_stage = self._read_opening(max_frames)

    def turns(self) -> Iterator[StoredTurn]:
        """All of them, in order. To be exhausted before ``frames`` is begun."""
        drawn, end, waiting_bytes = self.manifest.frame_count, -1, 0
        ids: set[str] = set()
        number = -1
        for index in range(self.manifest.turn_count):
            path = f"{PATH}.turns[{index}]"
            turn = self._read_turn(path)
            if turn.turn_number <= number:
                raise refused(f"{path}.turn_number", f"found {turn.turn_number} after {number}; numbers rise")
            if turn.turn_id in ids:
                raise refused(f"{path}.turn_id", f"found {shown(turn.turn_id)} twice; ids are unique")
            if turn.first_frame > drawn if index == 0 else turn.first_frame != end:
                before = f"the turn before it ends at {end}" if index else f"there are {drawn} frames"
                raise refused(f"{path}.first_frame", f"found {turn.first_frame}, but {before}")
            number, end = turn.turn_number, turn.first_frame + turn.frame_count
            ids.add(turn.turn_id)
            if (turn.packed_run is None) != (end <= drawn):
                raise refused(
                    path, f"lies at frames {turn.first_frame} to {end} of a session with {drawn}; those that are not "
                    "drawn have their states, and no others do",
                )  # fmt: skip
            waiting_bytes += len(turn.packed_run or b"")
            if waiting_bytes > self._max_waiting_bytes:
                raise refused(path, f"what is left to draw up to here has over {self._max_waiting_bytes} bytes")
            yield turn
        if self.manifest.turn_count and end < drawn:
            raise refused(f"{PATH}.turns", f"end at frame {end}, but there are {drawn} frames")

    def frames(self) -> Iterator[StoredFrame]:
        """All of them, in order."""
        size = latent_bytes(self.manifest.latent_shape)
        for index in range(self.manifest.frame_count):
            with zip_errors():
                latent = self._latents.read(size)
            yield self._read_frame(f"{PATH}.frames[{index}]", index, latent)
        self._records.check_end()

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _check_manifest(self, max_frames: int) -> None:
        found, model = self.manifest, self._model
        if found.model_digest != model.digest:
            raise OtherModel(
                f"this file's session was drawn by {found.model} {found.model_digest[:16]}; "
                f"this server plays {model.name} {model.digest[:16]}"
            )
        if found.latent_shape != tuple(model.latent_shape):
            raise refused(
                "file.manifest.latents.shape",
                f"found {list(found.latent_shape)}; this model's are {list(model.latent_shape)}",
            )
        if found.frame_count > max_frames:
            raise NoRoom(f"this file has {found.frame_count} frames; this server allows at most {max_frames}", None)

    def _open_latents(self, container: Container) -> IO[bytes]:
        """The latents' entry, past its header."""
        count, shape = self.manifest.frame_count, self.manifest.latent_shape
        path = f"file.{LATENTS}"
        entry = container.open(LATENTS)
        with zip_errors():
            length = int.from_bytes(entry.read(8), "little")
            if length > MAX_MANIFEST_BYTES:
                raise refused(path, f"its header is said to have {length} bytes; allowed are {MAX_MANIFEST_BYTES}")
            header = read_json(entry.read(length), path)
        expected = latents_about(count, shape)
        if header != expected:
            raise refused(path, f"its header is another than {expected}")
        size = 8 + length + count * latent_bytes(shape)
        if container.size(LATENTS) != size:
            raise refused(path, f"has {container.size(LATENTS)} bytes; {count} frames take {size}")
        return entry

    def _read_opening(self, max_frames: int) -> tuple[Terms, bytes]:
        path = f"{PATH}.open"
        opened = self._records.next(path)
        names = {"fps", "seed", "tier", "codec", "jpeg_quality", "frame_credit", "frame_budget", "background", "stage"}
        later = {  # files from before there was pacing, or another digest, have none
            "pacing": Pacing.UNPACED.value, "lowest_tier": "", "pixel_digest": PixelDigest.BLAKE2B.value,
        }  # fmt: skip
        if not isinstance(opened, dict) or set(opened) - set(later) != names:
            raise refused(path, f"is not a map of {', '.join(sorted(names))}")
        opened = later | opened
        stage = _bytes(opened["stage"], f"{path}.stage", MAX_STAGE_BYTES)
        try:
            codec = Codec(_whole(opened["codec"], f"{path}.codec"))
        except ValueError:
            raise refused(f"{path}.codec", f"found {opened['codec']}; allowed are 1 to {len(Codec)}") from None
        try:
            pacing = Pacing(_whole(opened["pacing"], f"{path}.pacing"))
        except ValueError:
            raise refused(f"{path}.pacing", f"found {opened['pacing']}; allowed are 0 to {len(Pacing) - 1}") from None
        try:
            digest = PixelDigest(_whole(opened["pixel_digest"], f"{path}.pixel_digest"))
        except ValueError:
            raise refused(
                f"{path}.pixel_digest", f"found {opened['pixel_digest']}; allowed are 1 to {len(PixelDigest)}"
            ) from None
        claimed = Terms(
            model=self._model.name,
            model_digest=self._model.digest,
            width=self._model.width,
            height=self._model.height,
            codec=codec,
            jpeg_quality=_whole(opened["jpeg_quality"], f"{path}.jpeg_quality", 100),
            fps=_real(opened["fps"], f"{path}.fps"),
            seed=_whole(opened["seed"], f"{path}.seed", (1 << 64) - 1),
            tier=_text(opened["tier"], f"{path}.tier"),
            frame_credit=_whole(opened["frame_credit"], f"{path}.frame_credit", 1 << 16),
            # The budget is what the other server allowed; from here on this one's limit holds too.
            frame_budget=min(max_frames, _whole(opened["frame_budget"], f"{path}.frame_budget")),
            names=Names({}, {}, frozenset()),
            background=_flag(opened["background"], f"{path}.background"),
            pacing=pacing,
            lowest_tier=_text(opened["lowest_tier"], f"{path}.lowest_tier"),
            pixel_digest=digest,
        )
        with _placed(PATH):
            return check_terms(claimed, stage, self._model, max_frames), stage

    def _read_turn(self, path: str) -> StoredTurn:
        number, turn_id, first, count, cut, received, kind, states = self._record(path, 8)
        if not isinstance(turn_id, str) or not NAME_PATTERN.fullmatch(turn_id):
            raise refused(f"{path}.turn_id", f"found {said(turn_id)}; allowed are 1 to 64 of [A-Za-z0-9_-]")
        run: bytes | None = None
        may_skip = self.terms.pacing is Pacing.LIVE
        frame_count = _whole(count, f"{path}.frame_count", LARGEST_NUMBER, least=0 if may_skip else 1)
        if kind in ("keyframed", "lockstep"):
            parts = self._read_states(path, _whole(states, f"{path}.states", MAX_STATES), kind == "keyframed")
            with _placed(path, "turn."):
                checked = check_run(kind == "keyframed", parts, self.terms)
            if frame_count > checked.frame_count or (frame_count < checked.frame_count and not may_skip):
                raise refused(
                    f"{path}.frame_count", f"found {frame_count}; its states are {checked.frame_count} frames"
                )
            run = checked.packed()
            if len(run) > MAX_RUN_BYTES:
                raise refused(path, f"its states have {len(run)} bytes; allowed are {MAX_RUN_BYTES}")
        elif kind != "drawn" or states != 0:
            raise refused(path, f"found {said(kind)} of {said(states)} states; expected drawn, keyframed or lockstep")
        return StoredTurn(
            turn_number=_whole(number, f"{path}.turn_number", LARGEST_NUMBER),
            turn_id=turn_id,
            first_frame=_whole(first, f"{path}.first_frame", LARGEST_NUMBER),
            frame_count=frame_count,
            cut_before=_flag(cut, f"{path}.cut_before"),
            received_unix_us=_whole(received, f"{path}.received_unix_us"),
            packed_run=run,
        )

    def _read_states(self, path: str, count: int, keyframed: bool) -> list[Keyframe]:
        parts: list[Keyframe] = []
        for index in range(count):
            place = f"{path}.states[{index}]"
            packed, *timing = self._record(place, 3 if keyframed else 1)
            offset_us, easing = timing if keyframed else (0, 0)
            parts.append(
                (
                    _bytes(packed, place, MAX_STATE_BYTES),
                    _whole(offset_us, f"{place}.offset_us", LARGEST_INT),
                    _whole(easing, f"{place}.easing", MAX_EASING),
                )
            )
        return parts

    def _read_frame(self, path: str, index: int, latent: bytes) -> StoredFrame:
        found, tier, cut, turn_number, packed_state, digest, figures = self._record(path, 7)
        if type(found) is not int or found != index:
            raise refused(f"{path}.frame_index", f"found {said(found)}; frames are numbered from 0 without gaps")
        if tier not in self._model.tiers:
            known = ", ".join(self._model.tiers)
            raise refused(f"{path}.tier", f"found {said(tier)}; this model has {known}")
        state = _bytes(packed_state, f"{path}.state", MAX_STATE_BYTES)
        with _placed(path):
            check_state(state, self.terms.names)
        if len(latent) != latent_bytes(self.manifest.latent_shape):
            raise refused(f"file.{LATENTS}", f"ends within frame {index}")
        if not np.isfinite(np.frombuffer(latent, "<f2")).all():
            raise refused(f"file.{LATENTS}", f"frame {index} has numbers that are not finite, which no model draws")
        if len(_bytes(digest, f"{path}.pixel_digest", PIXEL_DIGEST_BYTES)) != PIXEL_DIGEST_BYTES:
            raise refused(f"{path}.pixel_digest", f"found {len(digest)} bytes; a digest has {PIXEL_DIGEST_BYTES}")
        return StoredFrame(
            frame_index=index,
            tier=tier,
            cut_before=_flag(cut, f"{path}.cut_before"),
            turn_number=_whole(turn_number, f"{path}.turn_number", LARGEST_NUMBER),
            packed_state=state,
            latent=latent,
            pixel_digest=digest,
            figures=_figures(figures, f"{path}.figures", index, tier),
        )

    def _record(self, path: str, length: int) -> list[Any]:
        record = self._records.next(path)
        if not isinstance(record, list) or len(record) != length:
            raise refused(path, f"is not a list of {length}")
        return record


class _Records:
    """The records of ``session.msgpack``, one at a time."""

    def __init__(self, entry: IO[bytes], size: int) -> None:
        self._size = size
        # Without limits on lengths, five bytes could ask for gigabytes.
        self._unpacker = msgpack.Unpacker(
            entry, read_size=64 << 10, max_buffer_size=MAX_RECORD_BYTES, max_bin_len=MAX_STAGE_BYTES,
            max_str_len=1024, max_array_len=32, max_map_len=32, max_ext_len=0,
        )  # fmt: skip

    def next(self, path: str) -> object:
        with zip_errors():
            try:
                record: object = self._unpacker.unpack()
            except msgpack.OutOfData:
                raise refused(path, "is missing: the file's records end before it") from None
            except (ValueError, TypeError, msgpack.UnpackException) as error:
                raise refused(path, f"is no record: {said(str(error) or type(error).__name__)}") from None
        return record

    def check_end(self) -> None:
        if self._unpacker.tell() != self._size:
            raise refused(PATH, "goes on after its last frame")


@contextlib.contextmanager
def _placed(path: str, instead_of: str = "") -> Iterator[None]:
    """Fields that the wire's rules name lie at ``path``, in place of the prefix ``instead_of``."""
    try:
        yield
    except InvalidRequest as error:
        raise InvalidRequest(
            [FieldViolation(f"{path}.{each.field.removeprefix(instead_of)}", each.description)
             for each in error.violations]
        ) from None  # fmt: skip


def _figures(plain: object, path: str, index: int, tier: str) -> tuple[int | str, ...]:
    if not isinstance(plain, list) or len(plain) != len(_FIGURES):
        raise refused(path, f"is not a list of {', '.join(_FIGURES)}")
    if plain[:2] != [index, tier]:
        raise refused(path, f"are of frame {said(plain[0])}, {said(plain[1])}; expected {index}, {tier}")
    rest = [_whole(value, f"{path}.{name}") for name, value in zip(_FIGURES[2:], plain[2:], strict=True)]
    return (index, tier, *rest)


def _whole(plain: object, path: str, most: int = LARGEST_INT, *, least: int = 0) -> int:
    if type(plain) is not int or not least <= plain <= most:
        raise refused(path, f"found {said(plain)}; allowed are whole numbers from {least} to {most}")
    return plain


def _real(plain: object, path: str) -> float:
    if type(plain) is not float:
        raise refused(path, f"found {said(plain)}; expected a float")
    return plain


def _flag(plain: object, path: str) -> bool:
    if type(plain) is not bool:
        raise refused(path, f"found {said(plain)}; expected true or false")
    return plain


def _text(plain: object, path: str) -> str:
    if not isinstance(plain, str):
        raise refused(path, f"found {said(plain)}; expected text")
    return plain


def _bytes(plain: object, path: str, most: int) -> bytes:
    if not isinstance(plain, bytes) or len(plain) > most:
        found = f"{len(plain)} bytes" if isinstance(plain, bytes) else said(plain)
        raise refused(path, f"found {found}; allowed are at most {most} bytes")
    return plain
