"""What a session gives back: frames, and what the server measured of each."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import simplejpeg

from cutscene_client.errors import CutsceneError
from cutscene_proto.v1 import cutscene_pb2 as pb

TIERS: dict[str, pb.Tier] = {
    "draft": pb.TIER_DRAFT,
    "standard": pb.TIER_STANDARD,
    "high": pb.TIER_HIGH,
}
TIER_NAMES: dict[int, str] = {number: name for name, number in TIERS.items()}
PACINGS: dict[str, pb.Pacing] = {
    "": pb.PACING_UNSPECIFIED,
    "lockstep": pb.PACING_LOCKSTEP,
    "live": pb.PACING_LIVE,
}
CODECS: dict[str, pb.Codec] = {"jpeg": pb.CODEC_JPEG, "raw": pb.CODEC_RAW_RGB}
DIGESTS: dict[str, pb.PixelDigest] = {"blake2b": pb.PIXEL_DIGEST_BLAKE2B, "blake3": pb.PIXEL_DIGEST_BLAKE3}
CODEC_NAMES: dict[int, str] = {number: name for name, number in CODECS.items()}


class UndecodableFrame(CutsceneError):
    """The bytes of a frame are not what its codec says."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time of one frame went in the server, microseconds."""

    queued_us: int
    greybox_us: int
    denoise_us: int
    decode_us: int
    encode_us: int


@dataclass(frozen=True)
class Frame:
    """One finished frame. ``rgb`` decodes the picture on first use; ``data`` is what travelled."""

    index: int  # along the session's timeline, from 0
    turn_id: str
    presentation_time_us: int  # from session start
    width: int
    height: int
    codec: str  # "jpeg" or "raw"
    data: bytes = dataclasses.field(repr=False)
    tier: str
    timings: Timings
    blocks_reused: int
    blocks_computed: int
    digest: bytes  # 16 bytes, of the raw RGB pixels before the codec: BLAKE2b unless ``open`` asked for another
    states_skipped: int = 0  # with pacing "live": states passed over between the frame before and this one

    @property
    def presentation_time(self) -> float:
        """Seconds from session start."""
        return self.presentation_time_us / 1e6

    @cached_property
    def rgb(self) -> npt.NDArray[np.uint8]:
        """The picture: (height, width, 3) uint8, rows top down."""
        try:
            return read_pixels(self.data, self.codec, self.width, self.height)
        except ValueError as error:
            raise UndecodableFrame(f"frame {self.index}: {error}") from error


def read_pixels(data: bytes, codec: str, width: int, height: int) -> npt.NDArray[np.uint8]:
    """The picture in ``data``: (height, width, 3) uint8, rows top down. Raises ``ValueError`` if it is none."""
    if codec == "raw":
        if len(data) != width * height * 3:
            raise ValueError(f"{len(data)} bytes for {width}x{height} RGB")
        return np.frombuffer(data, np.uint8).reshape(height, width, 3)
    pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(data)
    return pixels


def read_frame(message: pb.Frame, video: pb.VideoFormat) -> Frame:
    """The plain form of a frame message."""
    timings = message.timings
    return Frame(
        index=message.frame_index,
        turn_id=message.turn_id,
        presentation_time_us=message.presentation_time_us,
        width=video.width,
        height=video.height,
        codec=CODEC_NAMES.get(message.codec, "jpeg"),
        data=message.data,
        tier=TIER_NAMES.get(message.tier, "standard"),
        timings=Timings(
            timings.queued_us, timings.greybox_us, timings.denoise_us, timings.decode_us, timings.encode_us
        ),
        blocks_reused=message.cache.blocks_reused,
        blocks_computed=message.cache.blocks_computed,
        digest=message.pixel_digest,
        states_skipped=message.states_skipped,
    )


@dataclass(frozen=True, slots=True)
class TurnFigures:
    """What the server says of a finished turn."""

    turn_id: str
    first_frame: int
    frame_count: int
    first_frame_us: int  # from the turn's receipt to its first frame's being ready
    total_us: int
    blocks_reused: int
    blocks_computed: int
    states_skipped: int = 0  # with pacing "live"
    deadline_misses: int = 0  # of a session with pacing


@dataclass(frozen=True, slots=True)
class Usage:
    """What a session has used."""

    frames: int
    turns: int
    compute_us: int
    bytes_sent: int
    deadline_misses: int = 0  # of a session with pacing
    states_skipped: int = 0  # with pacing "live"


def read_usage(message: pb.Usage) -> Usage:
    """The plain form of a usage message."""
    return Usage(
        message.frames, message.turns, message.compute_us, message.bytes_sent, message.deadline_misses,
        message.states_skipped,
    )  # fmt: skip
