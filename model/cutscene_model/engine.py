"""The seam between a model and whatever plays it: an engine begins timelines, a timeline draws frames one by one.

An engine knows nothing of connections, clients or files of sessions. A timeline is the model's side of one
performance: its anchors, its window of frame blocks, its place in time. Backends with another way of remembering
(chained causal checkpoints, say) implement these same two protocols.
"""

from __future__ import annotations

from collections.abc import Sequence
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


@dataclass(frozen=True, slots=True)
class PastFrame:
    """A frame that was drawn before, in its durable form: enough to remember it, and to show it again."""

    frame_index: int
    state: SceneState
    latent: npt.NDArray[np.float16]  # as ``DrawnFrame.latent``


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

    def show(self, past: PastFrame) -> npt.NDArray[np.uint8]:
        """The pixels of a frame that was drawn before, exactly as they were. The timeline stays where it is."""

    def close(self) -> None:
        """Lets go of what the timeline holds. It cannot be used afterwards."""


class Engine(Protocol):
    """A loaded model on one device."""

    @property
    def manifest(self) -> Manifest:
        """What the model is: name, digest, sizes, tiers, vocabulary."""

    def begin(self, stage: Stage, seed: int, next_frame: int = 0, past: Sequence[PastFrame] = ()) -> Timeline:
        """Computes the anchors of ``stage`` and starts a timeline at ``next_frame``.

        ``past`` are frames before it since the last cut, in order; of them, as many as the window holds are remembered.
        What is drawn from there on is what an unbroken timeline would have drawn.

        Raises ``UnknownLookError`` or ``UnknownCostumeError`` for names outside the vocabulary.
        """
