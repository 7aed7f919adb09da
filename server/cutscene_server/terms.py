"""What ``open`` settled, for a session's whole life."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import Enum

import msgpack


@dataclass(frozen=True, slots=True)
class Names:
    """What states of a session may refer to: its cast and props by id, and the model's emotions."""

    cast: dict[str, int]  # id -> index in the stage
    props: dict[str, int]
    emotions: frozenset[str]


class Codec(Enum):
    """How a picture travels. The values are those of the proto enum."""

    JPEG = 1
    RAW_RGB = 2


class PixelDigest(Enum):
    """What a frame's pixels are proven with. The values are those of the proto enum."""

    BLAKE2B = 1
    BLAKE3 = 2


class Pacing(Enum):
    """Whether frames keep a cadence, and what gives way if they cannot. The values are those of the proto enum."""

    UNPACED = 0  # no cadence: every state is drawn as soon as there is room
    LOCKSTEP = 1  # every state is drawn, at the session's fps
    LIVE = 2  # the latest state wins; those it overtook are skipped, and counted


@dataclass(frozen=True, slots=True)
class Terms:
    """How a session is drawn and sent, and how far."""

    model: str
    model_digest: str
    width: int  # pixels
    height: int  # pixels
    codec: Codec
    jpeg_quality: int  # 1 to 100
    fps: float
    seed: int
    tier: str
    frame_credit: int  # frames that may be drawn beyond those acknowledged
    frame_budget: int  # frames that may be drawn at all
    names: Names
    background: bool = False  # drawn only when no other session wants a frame
    pacing: Pacing = Pacing.UNPACED
    lowest_tier: str = ""  # that a paced session's frames may be drawn at; empty: ``tier``
    pixel_digest: PixelDigest = PixelDigest.BLAKE2B
    latency_us: int = 0  # of a paced session: a frame is due so long, and a frame time, after its state's time

    @property
    def paced(self) -> bool:
        """Whether the session's frames keep a cadence."""
        return self.pacing is not Pacing.UNPACED and not self.background

    def packed(self) -> bytes:
        """As it is stored: see ``unpack_terms``."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        plain["codec"], plain["pacing"] = self.codec.value, self.pacing.value
        del plain["pixel_digest"]
        if self.pixel_digest is not PixelDigest.BLAKE2B:  # a server from before there was a choice reads the others
            plain["pixel_digest"] = self.pixel_digest.value
        plain["names"] = [self.names.cast, self.names.props, sorted(self.names.emotions)]
        packed: bytes = msgpack.packb(plain)
        return packed


def unpack_terms(packed: bytes) -> Terms:
    """The terms that ``Terms.packed`` packed."""
    plain = msgpack.unpackb(packed)
    cast, props, emotions = plain.pop("names")
    pacing = Pacing(plain.pop("pacing", Pacing.UNPACED.value))  # stored before there was pacing
    digest = PixelDigest(plain.pop("pixel_digest", PixelDigest.BLAKE2B.value))
    names = Names(cast, props, frozenset(emotions))
    return Terms(codec=Codec(plain.pop("codec")), pacing=pacing, names=names, pixel_digest=digest, **plain)
