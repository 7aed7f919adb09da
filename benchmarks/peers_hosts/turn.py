"""What a client of a stateless host sends and gets: one turn at a time, with all that the model has to know again.

A request is one msgpack array. An answer is a run of frames, each with its length before it, since HTTP does not keep
the chunks of a stream apart.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import msgpack

_LENGTHS = struct.Struct("<II")  # of the picture and of the latent, bytes
MOST_REQUEST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Past:
    """A frame of an earlier turn that the model attends to."""

    frame_index: int
    state: bytes  # as ``pack_state`` makes it
    latent: bytes  # raw float16; empty if the client has none: then the host draws the frame again


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """One turn, and all that a host without sessions needs for it."""

    stage: bytes  # as ``pack_stage`` makes it
    seed: int
    tier: str
    jpeg_quality: int  # 1 to 100
    fps: float  # state k is not drawn before k / fps seconds have passed; 0: as fast as there is room
    first_frame: int
    with_latents: int  # the turn's last frames come with their latents, so many of them
    past: tuple[Past, ...]  # the model's window, oldest first
    states: tuple[bytes, ...]

    def pack(self) -> bytes:
        """The request as it travels."""
        past = [[frame.frame_index, frame.state, frame.latent] for frame in self.past]
        packed: bytes = msgpack.packb(
            [self.stage, self.seed, self.tier, self.jpeg_quality, self.fps, self.first_frame, self.with_latents, past,
             self.states]
        )  # fmt: skip
        return packed

    @classmethod
    def unpack(cls, packed: bytes) -> TurnRequest:
        """The request that ``pack`` packed."""
        stage, seed, tier, quality, fps, first_frame, with_latents, past, states = cast(
            "list[Any]", msgpack.unpackb(packed)
        )
        frames = tuple(Past(*frame) for frame in past)
        return cls(stage, seed, tier, quality, fps, first_frame, with_latents, frames, tuple(states))


@dataclass(frozen=True, slots=True)
class HostedFrame:
    """One frame of an answer."""

    picture: bytes  # JPEG
    latent: bytes  # raw float16, or empty

    def pack(self) -> bytes:
        """The frame as it travels."""
        return _LENGTHS.pack(len(self.picture), len(self.latent)) + self.picture + self.latent


class FrameReader:
    """Frames out of a stream of bytes that is cut anywhere."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[HostedFrame]:
        """Takes in more bytes; yields the frames that are whole with them."""
        self._rest += data
        while len(self._rest) >= _LENGTHS.size:
            picture, latent = _LENGTHS.unpack_from(self._rest)
            end = _LENGTHS.size + picture + latent
            if len(self._rest) < end:
                return
            whole = bytes(self._rest[_LENGTHS.size : end])
            del self._rest[:end]
            yield HostedFrame(whole[:picture], whole[picture:])

    def finish(self) -> None:
        """The stream is over. Raises ``ValueError`` if it ended within a frame."""
        if self._rest:
            raise ValueError(f"the stream ended {len(self._rest)} bytes into a frame")
