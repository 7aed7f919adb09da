"""The scene as boxes and capsules: what the greybox raster draws.

Each primitive is an affine map from the world into its own space, where a box is the cube [-1, 1]^3 and a capsule is
a unit-radius capsule along y. A ray keeps its parameter under an affine map, so both are met in their own space and
flattened bodies cost nothing extra.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, fields
from importlib import resources

import numpy as np
import numpy.typing as npt

from cutscene_model.scene import JOINT_INDEX, MAX_CAST, ActorState, CastMember, ElementClass, FloatArray, Stage
from cutscene_model.scene import SceneState as State
from cutscene_model.vectors import frame_along, rotation_matrix

BONES: tuple[str, ...] = (
    "head", "headgear", "torso", "upper_arm_l", "upper_arm_r", "forearm_l", "forearm_r",
    "thigh_l", "thigh_r", "shin_l", "shin_r", "foot_l", "foot_r", "cape", "brim",
)  # fmt: skip
HEAD_PART = 1 + BONES.index("head")
BOX_PART = 1 + len(BONES)  # a box's hits are told apart by face: -X, +X, -Y, +Y, -Z, +Z of its first part
FURTHER_PART = BOX_PART + 6  # the other parts of furniture that is several boxes are told apart from the first only
PART_COUNT = FURTHER_PART + 2  # part 0 is "nothing here"
SLOT_COUNT = 65  # slot 0 is "nothing here", 1 to 4 the cast, the rest the looks of the set and the props

DEFAULT_RADII = (0.54, 0.38, 0.13, 0.13)  # head, torso, arms, legs: the big-headed build of the shipped costumes
_MIN_HALF = 1e-3  # a plane's missing thickness, so that its map stays invertible


@dataclass(frozen=True, slots=True)
class Primitives:
    """Boxes and capsules as arrays over n primitives."""

    to_local: FloatArray  # (n, 3, 3): local = to_local @ (world - center)
    center: FloatArray  # (n, 3) metres
    to_world: FloatArray  # (n, 3, 3): the inverse of to_local
    half_length: FloatArray  # (n,) capsules: half length of the axis over the radius; 0 is an ellipsoid; boxes: 0
    is_capsule: npt.NDArray[np.bool_]  # (n,)
    slot: npt.NDArray[np.uint8]  # (n,) whose look it wears
    part: npt.NDArray[np.uint8]  # (n,) which bone or which box
    casts_shadow: npt.NDArray[np.bool_]  # (n,) floors do not
    shape_center: FloatArray  # (n, 3): where this box lies in the one that the engine sent, in whose own frame
    shape_half: FloatArray  # (n, 3): ... and its half size there; 0 and 1 for a box as it was sent, and for capsules

    def __len__(self) -> int:
        return len(self.slot)


def joined(*parts: Primitives) -> Primitives:
    """All primitives of several lists, in order."""
    return Primitives(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Primitives)))


def set_slots(stage: Stage) -> tuple[list[tuple[ElementClass, str, tuple[float, float, float]]], list[int], list[int]]:
    """Numbers the distinct looks of the set and the props in order of appearance.

    Returns the looks, and the slot (5 and up) of each element and of each prop.
    """
    looks: dict[tuple[ElementClass, str, tuple[float, float, float]], int] = {}
    first = 1 + MAX_CAST
    elements = [looks.setdefault((e.element_class, e.look, e.tint), first + len(looks)) for e in stage.elements]
    props = [looks.setdefault((p.element_class, p.look, p.tint), first + len(looks)) for p in stage.props]
    return list(looks), elements, props


@functools.cache
def look_shapes() -> dict[str, FloatArray]:
    """The boxes (n, 6) that a look's box stands for, by name: centres and half sizes in that box's frame, -1 to 1.

    Fitted to the meshes that the model was trained on (``training.shapes``). A look that is not in it is its box.
    """
    text = resources.files("cutscene_model").joinpath("shapes.json").read_text(encoding="utf-8")
    return {look: np.asarray(boxes, np.float32) for look, boxes in json.loads(text).items()}


_WHOLE = np.asarray([[0, 0, 0, 1, 1, 1]], np.float32)


def _boxes(
    center: FloatArray,
    half: FloatArray,
    rotation: FloatArray,
    slots: list[int],
    parts: list[int],
    looks: list[str],
    floors: list[bool],
) -> Primitives:
    """Boxes by look; ``parts`` are the engine's, 0 for all but furniture that it sends as several boxes."""
    shapes = [look_shapes().get(look, _WHOLE) if part == 0 else _WHOLE for look, part in zip(looks, parts, strict=True)]
    counts = [len(shape) for shape in shapes]
    owner = np.repeat(np.arange(len(slots)), counts)
    shape = np.concatenate([np.zeros((0, 6), np.float32), *shapes])
    shape_center, shape_half = shape[:, :3], shape[:, 3:]
    rotation, whole = rotation[owner], half[owner]
    center = center[owner] + np.einsum("nij,nj->ni", rotation, whole * shape_center)
    half = np.maximum(whole * shape_half, _MIN_HALF)
    return Primitives(
        to_local=(np.swapaxes(rotation, -1, -2) / half[:, :, None]).astype(np.float32),
        center=center.astype(np.float32),
        to_world=(rotation * half[:, None, :]).astype(np.float32),
        half_length=np.zeros(len(owner), np.float32),
        is_capsule=np.zeros(len(owner), np.bool_),
        slot=np.asarray(slots, np.uint8)[owner],
        part=np.asarray([BOX_PART if part == 0 else FURTHER_PART + part % 2 for part in parts], np.uint8)[owner],
        casts_shadow=~np.asarray(floors, np.bool_)[owner],
        shape_center=shape_center,
        shape_half=shape_half,
    )


def set_primitives(stage: Stage) -> Primitives:
    """The static boxes of the set."""
    _, slots, _ = set_slots(stage)
    elements = stage.elements
    return _boxes(
        np.asarray([e.box.center for e in elements], np.float32).reshape(-1, 3),
        np.asarray([e.box.half_extent for e in elements], np.float32).reshape(-1, 3),
        rotation_matrix(np.asarray([e.box.rotation for e in elements], np.float32).reshape(-1, 4)),
        slots,
        [e.part for e in elements],
        [e.look for e in elements],
        [e.element_class is ElementClass.FLOOR for e in elements],
    )


def moving_primitives(stage: Stage, state: State, prop_slots: list[int]) -> Primitives:
    """The props and the bodies as ``state`` places them. ``prop_slots`` are those of ``set_slots``."""
    props = [stage.props[p.prop_index] for p in state.props]
    boxes = _boxes(
        np.asarray([p.position for p in state.props], np.float32).reshape(-1, 3),
        np.asarray([p.half_extent for p in props], np.float32).reshape(-1, 3),
        rotation_matrix(np.asarray([p.rotation for p in state.props], np.float32).reshape(-1, 4)),
        [prop_slots[p.prop_index] for p in state.props],
        [0] * len(props),
        [p.look for p in props],
        [False] * len(props),
    )
    return joined(boxes, *(_body(actor, stage.cast[actor.cast_index]) for actor in state.actors))


def _body(actor: ActorState, member: CastMember) -> Primitives:
    """One actor's capsules, from the joints and the build."""
    head_radius, torso_radius, arm_radius, leg_radius = member.radii or DEFAULT_RADII

    def joint(name: str) -> FloatArray:
        return np.asarray(actor.joints[JOINT_INDEX[name]], np.float32)

    hips, neck, head_top = joint("hips"), joint("neck"), joint("head_top")
    torso_side = joint("shoulder_l") - joint("shoulder_r")
    forward: FloatArray = np.cross(torso_side, neck - hips).astype(np.float32)
    hip_forward: FloatArray = np.cross(joint("hip_l") - joint("hip_r"), neck - hips).astype(np.float32)
    face_forward: FloatArray = joint("face") - (neck + head_top) / np.float32(2)
    up = neck - hips

    # (bone, from, to, radii x y z, forward). The capsule is shortened so that its caps end at the two points.
    rows: list[tuple[str, FloatArray, FloatArray, tuple[float, float, float], FloatArray]] = [
        ("head", neck, head_top, (head_radius, head_radius, head_radius), face_forward),
        ("torso", hips, neck, (torso_radius, torso_radius, 0.9 * torso_radius), forward),
    ]
    for side in ("l", "r"):
        shoulder, elbow, hand = (joint(f"{name}_{side}") for name in ("shoulder", "elbow", "hand"))
        hip, knee, ankle, toe = (joint(f"{name}_{side}") for name in ("hip", "knee", "ankle", "toe"))
        rows += [
            (f"upper_arm_{side}", shoulder, elbow, (arm_radius,) * 3, forward),
            (f"forearm_{side}", elbow, hand, (1.1 * arm_radius,) * 3, forward),
            (f"thigh_{side}", hip, knee, (1.1 * leg_radius,) * 3, hip_forward),
            (f"shin_{side}", knee, ankle, (leg_radius,) * 3, hip_forward),
            (f"foot_{side}", ankle, toe, (leg_radius,) * 3, up),
        ]
    scale = head_radius / DEFAULT_RADII[0]
    if member.headgear:
        crown = frame_along(head_top - neck, face_forward)
        top, out = crown[:, 1] * scale, crown[:, 2] * scale
        if member.costume == "mage":
            brim = neck + 0.72 * (head_top - neck)
            rows.append(("brim", brim - 0.1 * top, brim + 0.1 * top, (1.0 * scale, 0.1 * scale, 1.0 * scale), out))
            rows.append(("headgear", brim, brim + 0.95 * top, (0.42 * scale,) * 3, out))
        elif member.costume in ("knight", "barbarian"):
            low, high = neck - 0.02 * top + 0.03 * out, head_top + 0.14 * top + 0.03 * out
            rows.append(("headgear", low, high, (0.57 * scale,) * 3, out))
    behind = frame_along(up, forward)
    cape_low, cape_high = hips - 0.12 * behind[:, 1], neck + 0.02 * behind[:, 1]
    shift = behind[:, 2] * np.float32(0.9 * torso_radius)
    rows.append(("cape", cape_low - shift, cape_high - shift, (1.2 * torso_radius, 0.3, 0.2 * torso_radius), forward))

    start = np.stack([row[1] for row in rows])
    end = np.stack([row[2] for row in rows])
    radii = np.asarray([row[3] for row in rows], np.float32)
    # Limbs reach half a radius past their joints, so that neighbouring bones overlap instead of leaving gaps.
    reach = np.asarray([0.5 if row[0] not in ("head", "torso", "headgear", "brim", "cape") else 0.0 for row in rows])
    span = np.sqrt(((end - start) ** 2).sum(axis=-1)) + 2 * reach * radii[:, 1]
    axes = frame_along(end - start, np.stack([row[4] for row in rows]).astype(np.float32))
    return Primitives(
        to_local=(np.swapaxes(axes, -1, -2) / radii[:, :, None]).astype(np.float32),
        center=((start + end) / 2).astype(np.float32),
        to_world=(axes * radii[:, None, :]).astype(np.float32),
        half_length=np.maximum(span / 2 / radii[:, 1] - 1, 0).astype(np.float32),
        is_capsule=np.ones(len(rows), np.bool_),
        slot=np.full(len(rows), 1 + actor.cast_index, np.uint8),
        part=np.asarray([1 + BONES.index(row[0]) for row in rows], np.uint8),
        casts_shadow=np.ones(len(rows), np.bool_),
        shape_center=np.zeros((len(rows), 3), np.float32),
        shape_half=np.ones((len(rows), 3), np.float32),
    )
