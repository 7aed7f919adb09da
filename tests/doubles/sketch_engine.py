"""A small real engine with the whole vocabulary: draws stick figures, so that every shipped script can be played.

Loaded through the public seam (``engine = "sketch_engine:load"``). Pixels depend on the state and the seed alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import synthetic_engine
from cutscene_model.engine import DrawnFrame, PastFrame, Pixels
from cutscene_model.manifest import Manifest
from cutscene_model.scene import EMOTIONS, Camera, SceneState, Stage
from cutscene_model.vocabulary import COSTUMES, LOOKS

WIDTH, HEIGHT = 128, 72

MANIFEST = dataclasses.replace(
    synthetic_engine.MANIFEST,
    name="sketch",
    width=WIDTH,
    height=HEIGHT,
    latent_shape=(4, 2, 4),
    tiers={"draft": 1, "standard": 2, "high": 4},
    costumes=COSTUMES,
    looks=LOOKS,
    emotions=EMOTIONS,
)
COLORS = np.array([[255, 90, 90], [90, 255, 90], [110, 110, 255], [255, 255, 90]], np.uint8)


def load(directory: Path | None, **placement: Any) -> SketchEngine:
    """The factory that the server's ``engine`` setting names."""
    return SketchEngine()


class SketchEngine:
    """The engine."""

    @property
    def manifest(self) -> Manifest:
        return MANIFEST

    def counters(self) -> dict[str, int]:
        return {}

    def rehearse(self) -> int:
        return 0

    def encode(self, picture: Pixels) -> npt.NDArray[np.float16]:
        """The mean colour, many times."""
        shape = MANIFEST.reference_shape
        return np.broadcast_to((picture.mean() / 255).astype(np.float16), shape).copy()

    def begin(self, stage: Stage, seed: int, next_frame: int = 0, past: Sequence[PastFrame] = ()) -> SketchTimeline:
        return SketchTimeline(stage, seed, next_frame, len(past))


class SketchTimeline:
    """The timeline: its window is only counted."""

    def __init__(self, stage: Stage, seed: int, next_frame: int, remembered: int) -> None:
        told = f"{len(stage.elements)} {seed}".encode() + b"".join(stage.references)
        self._grain = int.from_bytes(hashlib.blake2b(told).digest()[:4], "little")
        self._window = min(remembered, MANIFEST.window)
        self._pending = False
        self._next_frame = self._begun_at = next_frame

    @property
    def next_frame(self) -> int:
        return self._next_frame

    def prepare(self, state: SceneState, tier: str) -> SceneState:
        return state

    def draw(self, prepared: SceneState, tier: str) -> DrawnFrame:
        computed = int(self._next_frame == self._begun_at) + int(self._pending)
        self.commit()
        reused = 1 + self._window - computed
        latent = np.zeros(MANIFEST.latent_shape, np.float16)
        frame = DrawnFrame(self._next_frame, latent, tier, reused, computed)
        self._pending = True
        self._next_frame += 1
        return frame

    def commit(self) -> None:
        if self._pending:
            self._window = min(self._window + 1, MANIFEST.window)
            self._pending = False

    def cut(self) -> None:
        self._window = 0
        self._pending = False

    def decode(self, prepared: SceneState, latent: npt.NDArray[np.float16]) -> Pixels:
        return self._picture(prepared)

    def close(self) -> None:
        self.cut()

    def _picture(self, state: SceneState) -> npt.NDArray[np.uint8]:
        light = np.clip(np.array(state.lights.ambient) * 255, 20, 220)
        pixels = np.tile(light.astype(np.uint8), (HEIGHT, WIDTH, 1))
        pixels[::8] = np.uint8(self._grain % 256)
        for actor in state.actors:
            for x, y in project(state.camera, actor.joints):
                pixels[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = COLORS[actor.cast_index]
        return pixels


def project(camera: Camera, points: npt.NDArray[np.float32]) -> list[tuple[int, int]]:
    """The pixels of the points that the camera sees."""
    x, y, z, w = camera.rotation
    axes = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    local = (points - np.array(camera.position)) @ axes
    scale = HEIGHT / 2 / np.tan(camera.vertical_fov / 2)
    seen = []
    for across, up, back in local:
        if back < -0.1:
            column, row = int(WIDTH / 2 - scale * across / back), int(HEIGHT / 2 + scale * up / back)
            if 0 <= column < WIDTH and 0 <= row < HEIGHT:
                seen.append((column, row))
    return seen
