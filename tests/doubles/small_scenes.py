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
from cutscene_model.volumes import DISTANCE_STEPS, Volumes

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


def ball_volume(look: str, notch: bool = False, samples: int = 41) -> Volumes:
    """A ball of radius one for a look whose box is the cube of half extent one; white, its upper half red.

    With ``notch`` a bite is taken out of its upper right.
    """
    spacing = 2.4 / (samples - 1)
    x, y, z = np.meshgrid(*[np.linspace(-1.2, 1.2, samples)] * 3, indexing="ij")
    distance = np.sqrt(x * x + y * y + z * z) - 1
    if notch:
        distance = np.maximum(distance, 0.5 - np.sqrt((x - 0.8) ** 2 + (y - 0.6) ** 2 + z * z))
    paint = np.zeros((samples**3, 4), np.uint8)
    paint[:, :3] = 255
    paint[y.ravel() > 0, 1:] = 0
    box = np.array([[0, 0, 0, 1, 1, 1]], np.float32)
    return Volumes(
        names=(look,),
        sizes=np.full((1, 3), samples, np.int32),
        low=np.full((1, 3), -1.2, np.float32),
        spacing=np.array([spacing], np.float32),
        element_box=box,
        prop_box=box,
        rest_joints=actor().joints,
        distance=np.clip(np.round(distance / spacing * DISTANCE_STEPS), -127, 127).astype(np.int8).ravel(),
        normal=np.zeros((samples**3, 3), np.int8),
        paint=paint,
    )


def stage(cast: int = 2) -> Stage:
    """The floor, the crate and up to four cast members."""
    costumes = ("knight", "mage", "rogue", "barbarian")
    return Stage(tuple(CastMember(f"actor_{i}", costumes[i]) for i in range(cast)), (FLOOR, CRATE))


def state(x: float = 0.0, actors: int = 2, camera_x: float = 0.0) -> SceneState:
    """Two actors side by side, seen from the front at head height; ``x`` moves the first."""
    standing = (actor(0, x - 0.9), actor(1, 0.9))[:actors]
    lights = Lights((0.4, 0.4, 0.45), (0.0, -0.8, -0.6), (0.9, 0.85, 0.8), (0.5, 0.7, 0.9))
    return SceneState(Camera((camera_x, 1.4, 5.0), (0.0, 0.0, 0.0, 1.0), 0.8), standing, (), lights)
