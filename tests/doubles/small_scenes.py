"""A small scene for the model's tests: one floor, one crate, one or two actors in a plain stance."""

from __future__ import annotations

import numpy as np

from cutscene_model.scene import (
    JOINTS,
    ActorState,
    Box,
    Camera,
    CastMember,
    ElementClass,
    Lights,
    SceneState,
    SetElement,
    Stage,
)

FLOOR = SetElement(ElementClass.FLOOR, "floor/tile", Box((0.0, -0.05, 0.0), (6.0, 0.05, 6.0)))
CRATE = SetElement(ElementClass.CONTAINER, "crate/large", Box((2.0, 0.5, 0.0), (0.5, 0.5, 0.5)))

_LEFT = {
    "shoulder_l": (0.21, 1.10, 0.0),
    "elbow_l": (0.35, 0.85, 0.0),
    "hand_l": (0.40, 0.60, 0.05),
    "hip_l": (0.17, 0.52, 0.0),
    "knee_l": (0.17, 0.29, 0.02),
    "ankle_l": (0.17, 0.14, 0.0),
    "toe_l": (0.17, 0.03, 0.2),
}
_STANCE = {
    "hips": (0.0, 0.41, 0.0),
    "chest": (0.0, 0.97, 0.0),
    "neck": (0.0, 1.24, 0.0),
    "head_top": (0.0, 2.2, 0.0),
    "face": (0.0, 1.7, 0.53),
    **_LEFT,
    **{f"{name[:-1]}r": (-x, y, z) for name, (x, y, z) in _LEFT.items()},
}


def actor(index: int = 0, x: float = 0.0, z: float = 0.0, emotion: int = 0, mouth: float = 0.0) -> ActorState:
    """An actor who stands at (x, z) and faces +Z."""
    joints = np.asarray([_STANCE[name] for name in JOINTS], np.float32) + np.array([x, 0, z], np.float32)
    return ActorState(index, joints, emotion, 1.0 if emotion else 0.0, mouth)


def stage(cast: int = 2) -> Stage:
    """The floor, the crate and up to four cast members."""
    costumes = ("knight", "mage", "rogue", "barbarian")
    return Stage(tuple(CastMember(f"actor_{i}", costumes[i]) for i in range(cast)), (FLOOR, CRATE))


def state(x: float = 0.0, actors: int = 2, camera_x: float = 0.0) -> SceneState:
    """Two actors side by side, seen from the front at head height; ``x`` moves the first."""
    standing = (actor(0, x - 0.9), actor(1, 0.9))[:actors]
    lights = Lights((0.4, 0.4, 0.45), (0.0, -0.8, -0.6), (0.9, 0.85, 0.8), (0.5, 0.7, 0.9))
    return SceneState(Camera((camera_x, 1.4, 5.0), (0.0, 0.0, 0.0, 1.0), 0.8), standing, (), lights)
