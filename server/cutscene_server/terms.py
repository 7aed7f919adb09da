"""What ``open`` settled, for a session's whole life."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


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
