"""An engine that has its pictures ready: what is left of a frame's cost is the service's own.

Loaded through the public seam (``engine = "ready_engine:load"``) from a directory with ``pictures.npy``, uint8
(n, height, width, 3), which are shown in turn. All else is as with a model: states are unpacked, every frame has a
latent of the shipped model's size and goes through the process's pipeline, the ring, the codec and the journal.

With ``draw_ms.json`` beside the pictures (milliseconds by tier) drawing takes that long, asleep: a model on a device of
its own, whose frames cost the same whatever else this machine does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cutscene_model.engine import DrawnFrame, PastFrame, Pixels
from cutscene_model.manifest import Manifest
from cutscene_model.scene import EMOTIONS, SceneState, Stage
from cutscene_model.vocabulary import COSTUMES, LOOKS

PICTURES = "pictures.npy"
DRAW_MS = "draw_ms.json"
WINDOW = 4
CHANNELS, CELL = 64, 32  # of the shipped model's latents: channels, and pixels of a cell's side
LATENTS = 16  # as many different ones


def load(directory: Path | None, **placement: Any) -> ReadyEngine:
    """The factory that the server's ``engine`` setting names."""
    assert directory is not None, "--model names the directory of the pictures"
    slow = directory / DRAW_MS
    draw_ms = json.loads(slow.read_text()) if slow.exists() else {}
    return ReadyEngine(np.load(directory / PICTURES, allow_pickle=False), draw_ms)


class ReadyEngine:
    """The engine."""

    def __init__(self, pictures: npt.NDArray[np.uint8], draw_ms: dict[str, float]) -> None:
        """``pictures``: (n, height, width, 3) RGB. ``draw_ms``: what drawing takes, by tier; 0 for those not named."""
        _, height, width, _ = pictures.shape
        shape = CHANNELS, max(1, height // CELL), max(1, width // CELL)
        self.pictures = pictures
        self.draw_ms = draw_ms
        self.latents = np.random.default_rng(0).standard_normal((LATENTS, *shape)).astype(np.float16)
        self.manifest = Manifest(
            name="ready",
            version="1",
            digest="00" * 32,
            width=width,
            height=height,
            latent_shape=shape,
            greybox_shape=(height // 2, width // 2),
            tiers={"draft": 1, "standard": 2, "high": 4},
            default_tier="standard",
            window=WINDOW,
            costumes=COSTUMES,
            looks=LOOKS,
            emotions=EMOTIONS,
            files=(),
            license="MIT",
        )

    def counters(self) -> dict[str, int]:
        return {}

    def rehearse(self) -> int:
        return round(1000 * self.draw_ms.get(self.manifest.default_tier, 0))

    def begin(self, stage: Stage, seed: int, next_frame: int = 0, past: Sequence[PastFrame] = ()) -> ReadyTimeline:
        return ReadyTimeline(self, next_frame)


class ReadyTimeline:
    """The timeline: it remembers nothing but how far it is."""

    def __init__(self, engine: ReadyEngine, next_frame: int) -> None:
        self._engine = engine
        self._next_frame = next_frame

    @property
    def next_frame(self) -> int:
        return self._next_frame

    def prepare(self, state: SceneState, tier: str) -> int:
        """Which of the pictures it will be."""
        return self._next_frame % len(self._engine.pictures)

    def draw(self, prepared: int, tier: str) -> DrawnFrame:
        if took_ms := self._engine.draw_ms.get(tier):
            time.sleep(took_ms / 1000)
        frame = DrawnFrame(
            frame_index=self._next_frame,
            latent=self._engine.latents[self._next_frame % LATENTS],
            tier=tier,
            blocks_reused=1 + WINDOW,
            blocks_computed=1,
        )
        self._next_frame += 1
        return frame

    def commit(self) -> None:
        """There is no block to make."""

    def cut(self) -> None:
        """There is no window to empty."""

    def decode(self, prepared: int, latent: npt.NDArray[np.float16]) -> Pixels:
        pixels: Pixels = self._engine.pictures[prepared]
        return pixels

    def close(self) -> None:
        """There is nothing to let go of."""
