"""What a model draws before anybody asks: so that its kernels are compiled, and what a frame takes is known.

The scene is one of every model's own: the first costume of its vocabulary, before a box of its first look.
"""

from __future__ import annotations

import statistics
from itertools import pairwise

from cutscene_model.engine import Engine, draw_whole
from cutscene_model.manifest import Manifest
from cutscene_model.pipeline import Pipeline, now_us
from cutscene_model.scene import (
    ActorState,
    Box,
    Camera,
    CastMember,
    ElementClass,
    FloatArray,
    SceneState,
    SetElement,
    Stage,
)

_FRAMES = 12
_UNTIMED = 3  # until every stage of the pipeline is at work


def small_scene(manifest: Manifest, rest_joints: FloatArray) -> tuple[Stage, SceneState]:
    """One of the model's cast, standing as ``rest_joints`` (19, 3), and one box, as far as it has names for them."""
    elements = tuple(
        SetElement(ElementClass.WALL, look, Box((0.0, 0.0, -2.0), (1.0, 1.0, 1.0))) for look in manifest.looks[:1]
    )
    camera = Camera((0.0, float(rest_joints[:, 1].max(initial=1.0)) * 0.75, 2.5), (0.0, 0.0, 0.0, 1.0), 1.0)
    cast = tuple(CastMember("", costume) for costume in manifest.costumes[:1])
    return Stage(cast, elements), SceneState(camera, tuple(ActorState(i, rest_joints) for i, _ in enumerate(cast)))


def draw_each_tier(engine: Engine, stage: Stage, state: SceneState) -> None:
    """One frame a tier: what has to be compiled for it is, a minute once a machine."""
    timeline = engine.begin(stage, 0)
    for tier in engine.manifest.tiers:
        draw_whole(timeline, state, tier)
    timeline.close()


def frame_us(engine: Engine, stage: Stage, state: SceneState) -> int:
    """Microseconds by which a frame of the default tier puts off the next where frames follow one another, as the
    middle of a dozen.
    """
    timeline, pipeline = engine.begin(stage, 0), Pipeline()
    finished_us = [now_us() for _ in pipeline.play(timeline, [state] * _FRAMES, engine.manifest.default_tier)]
    pipeline.close()
    timeline.close()
    return round(statistics.median(after - before for before, after in pairwise(finished_us[_UNTIMED:])))
