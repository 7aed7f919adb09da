"""What the front end and the inference process say to each other: commands down, facts up, as msgpack lists.

Sessions go by a small number here, their key, that means nothing outside one run of the server. Pictures do not travel
in these messages; they go through ``frame_ring``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import msgpack

from cutscene_model.manifest import Manifest
from cutscene_server.hang_watch import Question
from cutscene_server.packed_scene import pack_stage, unpack_stage
from cutscene_server.session_log import DrawnFigures


@dataclass(frozen=True, slots=True)
class UseRing:
    """Frames go into this shared memory from now on."""

    name: str
    slots: int
    picture_bytes: int
    latent_bytes: int


@dataclass(frozen=True, slots=True)
class Begin:
    """A session starts, or goes on where another timeline left it: compute its anchors, remember its past.

    ``past`` are the frames before ``next_frame`` since the last cut: [frame index, packed state, latent]. Pictures are
    encoded as the last three say, by the values of ``Codec`` and ``PixelDigest``.
    """

    key: int
    generation: int  # of the session's orders: a later one replaces the timeline
    packed_stage: bytes
    seed: int
    next_frame: int
    past: list[Any]
    session_id: str  # for log lines
    codec: int
    jpeg_quality: int
    pixel_digest: int


@dataclass(frozen=True, slots=True)
class Draw:
    """The session's next frame; or, with a ``latent``, a frame that was drawn before, as it was."""

    key: int
    generation: int
    frame_index: int
    slot: int
    tier: str
    cut_before: bool
    paced: bool  # it has a time of its own, as the frame after it has: neither is to wait for the other
    packed_state: bytes
    latent: bytes  # raw float16; empty for a frame that is yet to be drawn


@dataclass(frozen=True, slots=True)
class Encode:
    """A reference picture: what is it to the model?"""

    number: int  # of the question, for its answer
    pixels: bytes  # (height, width, 3) uint8 of the model's size


@dataclass(frozen=True, slots=True)
class End:
    """The session is over: forget it."""

    key: int


@dataclass(frozen=True, slots=True)
class Rehearse:
    """Find out what frames take, before anything is begun."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Exit."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is loaded."""

    packed_manifest: bytes


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What ``Engine.rehearse()`` found."""

    frame_us: int


@dataclass(frozen=True, slots=True)
class Began:
    """The session's anchors are ready, and its past is remembered."""

    key: int
    generation: int


@dataclass(frozen=True, slots=True)
class BeginFailed:
    """The session's anchors, or its past, could not be computed."""

    key: int
    generation: int
    text: str


@dataclass(frozen=True, slots=True)
class Drawn:
    """A frame lies in the slot that its order named, encoded, with its latent (what is to be stored) if it was drawn
    anew. ``figures`` are the fields of ``DrawnFigures`` in order.
    """

    key: int
    generation: int
    slot: int
    figures: Sequence[Any]
    picture_bytes: int
    pixel_digest: bytes  # 16 bytes, of the raw pixels
    encode_us: int


@dataclass(frozen=True, slots=True)
class DrawFailed:
    """A frame could not be drawn; the session cannot go on. The slot is free again."""

    key: int
    generation: int
    slot: int
    text: str


@dataclass(frozen=True, slots=True)
class Encoded:
    """What the model sees in a reference picture."""

    number: int
    seen: bytes  # raw float16


@dataclass(frozen=True, slots=True)
class EncodeFailed:
    """The model could not encode a reference picture."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Counted:
    """What the engine's cache has done since the process started, and holds now: ``Engine.counters()``."""

    counters: dict[str, int]


Command = UseRing | Rehearse | Begin | Draw | Encode | End | Stop
Fact = Ready | Rehearsed | Began | BeginFailed | Drawn | DrawFailed | Encoded | EncodeFailed | Counted
Message = Command | Fact

_KINDS: tuple[type[Message], ...] = (
    UseRing,
    Rehearse,
    Begin,
    Draw,
    Encode,
    End,
    Stop,
    Ready,
    Rehearsed,
    Began,
    BeginFailed,
    Drawn,
    DrawFailed,
    Encoded,
    EncodeFailed,
    Counted,
)
_TAGS: dict[type[Message], int] = {kind: tag for tag, kind in enumerate(_KINDS)}
_FIELDS: dict[type[Message], tuple[str, ...]] = {
    kind: tuple(field.name for field in dataclasses.fields(kind)) for kind in _KINDS
}


def question_of(message: Message) -> Question | None:
    """What a command asks for, or a fact answers; None: nothing that is answered by itself."""
    match message:
        case Draw() | Drawn() | DrawFailed():
            return Question("draw", message.slot)
        case Begin() | Began() | BeginFailed():
            return Question("begin", message.key, message.generation)
        case Encode() | Encoded() | EncodeFailed():
            return Question("encode", message.number)
        case _:
            return None


def pack(message: Message) -> bytes:
    kind = type(message)
    packed: bytes = msgpack.packb([_TAGS[kind], *(getattr(message, name) for name in _FIELDS[kind])])
    return packed


def unpack(packed: bytes) -> Message:
    tag, *values = msgpack.unpackb(packed)
    message: Message = _KINDS[tag](*values)
    return message


def join(packed: Sequence[bytes]) -> bytes:
    """Packed messages as one: whoever is sent several at once wakes up once."""
    header: bytes = msgpack.Packer().pack_array_header(len(packed))
    return header + b"".join(packed)


def split(joined: bytes) -> list[Message]:
    """The messages that ``join`` made one of, in their order."""
    return [_KINDS[tag](*values) for tag, *values in msgpack.unpackb(joined)]


def with_references(packed_stage: bytes, seen: Sequence[bytes]) -> bytes:
    """A packed stage with what the model sees in its reference pictures."""
    return pack_stage(dataclasses.replace(unpack_stage(packed_stage), references=tuple(seen)))


def pack_manifest(manifest: Manifest) -> bytes:
    packed: bytes = msgpack.packb(dataclasses.asdict(manifest))
    return packed


def unpack_manifest(packed: bytes) -> Manifest:
    plain = msgpack.unpackb(packed, use_list=False)  # the manifest's sequences are tuples
    return Manifest(**plain)


_FIGURES = attrgetter(*(field.name for field in dataclasses.fields(DrawnFigures)))


def figures_to_plain(figures: DrawnFigures) -> tuple[Any, ...]:
    """The fields in order. ``dataclasses.astuple`` would copy each of them, for every frame."""
    plain: tuple[Any, ...] = _FIGURES(figures)
    return plain


def figures_from_plain(plain: Sequence[Any]) -> DrawnFigures:
    return DrawnFigures(*plain)
