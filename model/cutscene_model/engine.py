"""The seam between a model and whatever plays it: an engine begins timelines, a timeline draws frames one by one.

An engine knows nothing of connections, clients or files of sessions. A timeline is the model's side of one
performance: its anchors, its window of frame blocks, its place in time. Backends with another way of remembering
(chained causal checkpoints, say) implement these same two protocols.

A frame is made in three stages, ``prepare``, ``draw`` and ``decode``. Only the middle one depends on the frames before
and changes the timeline; so the three can go on side by side for frames that follow one another (see ``pipeline``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from cutscene_model.manifest import Manifest
from cutscene_model.scene import SceneState, Stage

TIERS: tuple[str, ...] = ("draft", "standard", "high")
PRECISIONS = ("auto", "float32", "bfloat16")  # in which an engine may be asked to compute its pictures


Pixels = npt.NDArray[np.uint8]  # (height, width, 3) RGB, rows top down


@dataclass(frozen=True, slots=True)
class DrawnFrame:
    """One frame as it is remembered, before it is decoded, and what it cost."""

    frame_index: int
    latent: npt.NDArray[np.float16]  # (channels, height / 32, width / 32): the durable form
    tier: str
    blocks_reused: int  # anchors and frame blocks read from the cache
    blocks_computed: int  # anchors and frame blocks that had to be made before this frame could be drawn


@dataclass(frozen=True, slots=True)
class PastFrame:
    """A frame that was drawn before, in its durable form: enough to remember it."""

    frame_index: int
    state: SceneState
    latent: npt.NDArray[np.float16]  # as ``DrawnFrame.latent``


class Timeline(Protocol):
    """The model's side of one performance.

    ``prepare`` and ``decode`` are functions of what they are given and of the stage: they may be called from threads of
    their own, ``prepare`` from several, while another thread draws. All else is for one caller at a time.
    """

    @property
    def next_frame(self) -> int:
        """The index of the frame that the next ``draw`` makes."""

    def prepare(self, state: SceneState, tier: str) -> Any:
        """What a frame owes to its scene state alone, for ``draw`` and ``decode`` of this timeline."""

    def draw(self, prepared: Any, tier: str) -> DrawnFrame:
        """Draws the next frame. Its block is made by ``commit``, or by the next ``draw`` if that was not called."""

    def decode(self, prepared: Any, latent: npt.NDArray[np.float16]) -> Pixels:
        """The pixels of a frame, drawn now or long ago, from its state and latent; owned by the receiver."""

    def commit(self) -> None:
        """Makes the last frame's block, so that the next ``draw`` need not. Call it once the frame is on its way."""

    def cut(self) -> None:
        """A shot change: the next frame attends to the anchors only, and the window starts anew."""

    def close(self) -> None:
        """Lets go of what the timeline holds. It cannot be used afterwards."""


def draw_whole(timeline: Timeline, state: SceneState, tier: str) -> tuple[DrawnFrame, Pixels]:
    """The next frame from beginning to end, one stage after the other."""
    prepared = timeline.prepare(state, tier)
    frame = timeline.draw(prepared, tier)
    return frame, timeline.decode(prepared, frame.latent)


class Engine(Protocol):
    """A loaded model on one device."""

    @property
    def manifest(self) -> Manifest:
        """What the model is: name, digest, sizes, tiers, vocabulary."""

    def counters(self) -> dict[str, int]:
        """What its cache has done since it was loaded, and holds now, by name: for logs and whoever watches them."""

    def rehearse(self) -> int:
        """Draws a few frames before any timeline is begun, one after the other as sessions' are, and says by how many
        microseconds one of the default tier puts off the next: as of a small scene, and without any codec. 0: that does
        not matter, or is not known.
        """

    def encode(self, picture: Pixels) -> npt.NDArray[np.float16]:
        """What the model sees in a picture of its size, ``Manifest.reference_shape``: for ``Stage.references``."""

    def begin(self, stage: Stage, seed: int, next_frame: int = 0, past: Sequence[PastFrame] = ()) -> Timeline:
        """Computes the anchors of ``stage`` and starts a timeline at ``next_frame``.

        ``past`` are frames before it since the last cut, in order; of them, as many as the window holds are remembered.
        What is drawn from there on is what an unbroken timeline would have drawn.

        Raises ``UnknownLookError`` or ``UnknownCostumeError`` for names outside the vocabulary, ``ReferencesError`` for
        reference pictures that the model cannot take.
        """
