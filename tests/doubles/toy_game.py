"""A game of flat colours that records itself: what a capture needs, without an engine and in no time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

import cutscene_client as cc
from cutscene_client import scene as say
from cutscene_proto.v1 import scene_pb2 as spb
from small_scenes import actor

CAST = [say.cast_member("ada", "toy/corsair"), say.cast_member("bram", "knight", tint=(0.9, 0.8, 0.7))]
ROOM = say.stage_set(
    [
        say.box("floor", "toy/planks", (0, -0.05, 0), (6, 0.05, 6)),
        say.box("container", "crate/large", (2, 0.5, 0), (0.5, 0.5, 0.5), tint=(1.1, 1, 1)),
    ],
    [say.prop("lamp", "lamp", "toy/lamp", (0.2, 0.4, 0.2))],
)


def instant(x: float = 0.0) -> spb.SceneState:
    """Two actors beside each other; the first stands at ``x``."""
    actors = [
        say.actor("ada", actor(0, x - 0.9).joints, emotion="joy", intensity=0.7, mouth_open=0.2),
        say.actor("bram", actor(1, 0.9).joints),
    ]
    light = say.lights(sun_direction=(0.2, -1, -0.3), points=[say.point_light((1, 2, 1), (4, 3, 2), 8)])
    return say.state(say.camera((0, 1.4, 5), look_at=(0, 1, 0)), light, actors, [say.prop_state("lamp", (-1.5, 1, 0))])


def picture(seed: int) -> npt.NDArray[np.uint8]:
    """A floor below a wall, in colours of the seed's."""
    colors = np.random.default_rng(seed).integers(30, 220, (2, 3)).astype(np.uint8)
    rgb = np.empty((288, 512, 3), np.uint8)
    rgb[:150], rgb[150:] = colors
    return rgb


def record(folder: Path, runs: int = 3, frames: int = 4) -> Path:
    """Records short runs named ``run-0`` and so on, the first with ids and depth."""
    ids = np.full((288, 512), 6)
    ids[100:200, 200:260] = 1
    for run in range(runs):
        with cc.capture(folder, cast=CAST, set=ROOM, run=f"run-{run}") as capture:
            for frame in range(frames):
                if frame == 2:
                    capture.cut()
                depth = np.full((288, 512), 3.0)
                told = run == 0
                capture.add(
                    instant(0.1 * frame), picture(run), depth=depth if told else None, ids=ids if told else None
                )
    return folder
