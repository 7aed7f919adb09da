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

    def packed(self) -> bytes:
        """As it is stored: see ``unpack_terms``."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        plain["codec"] = self.codec.value
        plain["names"] = [self.names.cast, self.names.props, sorted(self.names.emotions)]
        packed: bytes = msgpack.packb(plain)
        return packed


def unpack_terms(packed: bytes) -> Terms:
    """The terms that ``Terms.packed`` packed."""
    plain = msgpack.unpackb(packed)
    cast, props, emotions = plain.pop("names")
    return Terms(codec=Codec(plain.pop("codec")), names=Names(cast, props, frozenset(emotions)), **plain)
