"""The seam between a model and whatever plays it: an engine begins timelines, a timeline draws frames one by one.

An engine knows nothing of connections, clients or files of sessions. A timeline is the model's side of one
performance: its anchors, its window of frame blocks, its place in time. Backends with another way of remembering
(chained causal checkpoints, say) implement these same two protocols.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from cutscene_model.manifest import Manifest
from cutscene_model.scene import SceneState, Stage

TIERS: tuple[str, ...] = ("draft", "standard", "high")


@dataclass(frozen=True, slots=True)
class DrawnFrame:
    """One finished frame and what it cost."""

    frame_index: int
    pixels: npt.NDArray[np.uint8]  # (height, width, 3) RGB, rows top down; owned by the receiver
    latent: npt.NDArray[np.float16]  # (channels, height / 32, width / 32): the durable form
    tier: str
    blocks_reused: int  # anchors and frame blocks read from the cache
    blocks_computed: int  # anchors and frame blocks that had to be made before this frame could be drawn
    greybox_us: int
    denoise_us: int
    decode_us: int


class Timeline(Protocol):
    """The model's side of one performance. Not thread-safe: one caller at a time."""

    @property
    def next_frame(self) -> int:
        """The index of the frame that the next ``draw`` makes."""

    def draw(self, state: SceneState, tier: str) -> DrawnFrame:
        """Draws the next frame. Its block is made by ``commit``, or by the next ``draw`` if that was not called."""

    def commit(self) -> None:
        """Makes the last frame's block, so that the next ``draw`` need not. Call it once the frame is on its way."""

    def cut(self) -> None:
        """A shot change: the next frame attends to the anchors only, and the window starts anew."""


class Engine(Protocol):
    """A loaded model on one device."""

    @property
    def manifest(self) -> Manifest:
        """What the model is: name, digest, sizes, tiers, vocabulary."""

    def begin(self, stage: Stage, seed: int) -> Timeline:
        """Computes the anchors of ``stage`` and starts a timeline at frame 0.

        Raises ``UnknownLookError`` or ``UnknownCostumeError`` for names outside the vocabulary.
        """
