"""The scene as boxes, capsules and shape volumes: what the greybox raster draws.

Each primitive is an affine map from the world into its own grid, in which a box is the cube [-1, 1]^3, a capsule has
unit radius and lies along y, and a volume's samples lie at whole numbers. A ray keeps its parameter under an affine
map, so all are met in their own space, and stretched bodies cost nothing extra.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from cutscene_model.scene import MAX_CAST, ActorState, CastMember, ElementClass, FloatArray, Stage
from cutscene_model.scene import SceneState as State
from cutscene_model.skeleton import BONE_JOINTS, BONES, bone_lengths, bone_rotations
from cutscene_model.vectors import frame_along, rotation_matrix
from cutscene_model.vocabulary import WITH_HEADGEAR
from cutscene_model.volumes import Volumes

HEAD_PART = 1 + BONES.index("head")
BOX_PART = 1 + len(BONES)  # whatever is not a bone
PART_COUNT = BOX_PART + 1  # part 0 is "nothing here"
SLOT_COUNT = 65  # slot 0 is "nothing here", 1 to 4 the cast, the rest the looks of the set and the props

BOX, CAPSULE, VOLUME = 0, 1, 2  # kinds

DEFAULT_RADII = (0.54, 0.38, 0.13, 0.13)  # head, torso, arms, legs: the big-headed build of the shipped costumes
_RADIUS_OF = {"head": 0, "headgear": 0, "hips": 1, "chest": 1, "upper_arm": 2, "forearm": 2}  # legs: 3
_MIN_HALF = 1e-3  # a plane's missing thickness, so that its map stays invertible
_HEADGEAR = BONES.index("headgear")
_RADIUS_INDEX = np.asarray([_RADIUS_OF.get(bone.removesuffix("_l").removesuffix("_r"), 3) for bone in BONES])
_IS_LIMB = _RADIUS_INDEX >= 2


@dataclass(frozen=True, slots=True)
class Primitives:
    """Boxes, capsules and volumes as arrays over n primitives."""

    to_grid: FloatArray  # (n, 3, 3): grid = to_grid @ (world - origin)
    origin: FloatArray  # (n, 3) metres
    to_world: FloatArray  # (n, 3, 3): the inverse of to_grid
    low: FloatArray  # (n, 3) bounds in the grid
    high: FloatArray  # (n, 3)
    local_step: FloatArray  # (n, 3): local = local_low + local_step * grid, which is what the field shows
    local_low: FloatArray  # (n, 3)
    kind: npt.NDArray[np.int32]  # (n,)
    size: npt.NDArray[np.int32]  # (n, 3) samples of a volume
    first: npt.NDArray[np.int64]  # (n,) where a volume begins in the atlas
    slot: npt.NDArray[np.uint8]  # (n,) whose look it wears
    part: npt.NDArray[np.uint8]  # (n,) which bone
    casts_shadow: npt.NDArray[np.bool_]  # (n,) floors do not

    def __len__(self) -> int:
        return len(self.slot)

    def subset(self, chosen: npt.NDArray[np.bool_]) -> Primitives:
        """The primitives where ``chosen`` (n,) is true."""
        return Primitives(*(getattr(self, f.name)[chosen] for f in fields(Primitives)))


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


class SceneShapes:
    """Turns the states of one stage into primitives."""

    def __init__(self, stage: Stage, volumes: Volumes) -> None:
        self._stage, self._volumes = stage, volumes
        self._index, self._first = volumes.index, volumes.first
        _, self._element_slots, self._prop_slots = set_slots(stage)

    def still(self) -> Primitives:
        """The set. A look with a volume is drawn whole where the first of its boxes says."""
        chosen = [
            (element, slot)
            for element, slot in zip(self._stage.elements, self._element_slots, strict=True)
            if element.part == 0 or element.look not in self._index
        ]
        boxes = [element.box for element, _ in chosen]
        return self._placed(
            np.asarray([box.center for box in boxes], np.float32).reshape(-1, 3),
            np.asarray([box.half_extent for box in boxes], np.float32).reshape(-1, 3),
            rotation_matrix(np.asarray([box.rotation for box in boxes], np.float32).reshape(-1, 4)),
            [element.look for element, _ in chosen],
            self._volumes.element_box,
            [slot for _, slot in chosen],
            [element.element_class is not ElementClass.FLOOR for element, _ in chosen],
        )

    def moving(self, state: State) -> Primitives:
        """The props and the bodies as ``state`` places them."""
        props = [self._stage.props[prop.prop_index] for prop in state.props]
        placed = self._placed(
            np.asarray([prop.position for prop in state.props], np.float32).reshape(-1, 3),
            np.asarray([prop.half_extent for prop in props], np.float32).reshape(-1, 3),
            rotation_matrix(np.asarray([prop.rotation for prop in state.props], np.float32).reshape(-1, 4)),
            [prop.look for prop in props],
            self._volumes.prop_box,
            [self._prop_slots[prop.prop_index] for prop in state.props],
            [True] * len(props),
        )
        bodies = [self._body(actor, self._stage.cast[actor.cast_index]) for actor in state.actors]
        return joined(placed, *bodies)

    def _placed(
        self,
        center: FloatArray,
        half: FloatArray,
        rotation: FloatArray,
        looks: list[str],
        fitted_box: FloatArray,
        slots: list[int],
        shadows: list[bool],
    ) -> Primitives:
        """Boxes as the engine sent them, filled with their looks' volumes where there are any."""
        count, volumes = len(slots), self._volumes
        half = np.maximum(half, _MIN_HALF)
        which = np.asarray([self._index.get(look, -1) for look in looks], np.int64)
        has = which >= 0
        safe = np.where(has, which, 0)
        step, first_sample = np.ones((count, 3), np.float32), np.zeros((count, 3), np.float32)
        if has.any():  # of a sample in the box's own coordinates, -1 to 1
            box = fitted_box[safe]
            inside = np.maximum(box[:, 3:], 1e-6)
            step = np.where(has[:, None], volumes.spacing[safe, None] / inside, 1).astype(np.float32)
            first_sample = np.where(has[:, None], (volumes.low[safe] - box[:, :3]) / inside, 0).astype(np.float32)
        sizes = volumes.sizes[safe] if has.any() else np.zeros((count, 3), np.int32)
        width = half * step  # metres a sample
        return Primitives(
            to_grid=(np.swapaxes(rotation, -1, -2) / width[:, :, None]).astype(np.float32),
            origin=(center + np.einsum("nij,nj->ni", rotation, half * first_sample)).astype(np.float32),
            to_world=(rotation * width[:, None, :]).astype(np.float32),
            low=np.where(has[:, None], np.zeros((count, 3)), -1).astype(np.float32),
            high=np.where(has[:, None], sizes - 1, 1).astype(np.float32),
            local_step=step,
            local_low=first_sample,
            kind=np.where(has, VOLUME, BOX).astype(np.int32),
            size=sizes.astype(np.int32),
            first=(self._first[safe] if has.any() else np.zeros(count)).astype(np.int64),
            slot=np.asarray(slots, np.uint8),
            part=np.full(count, BOX_PART, np.uint8),
            casts_shadow=np.asarray(shadows, np.bool_),
        )

    def _body(self, actor: ActorState, member: CastMember) -> Primitives:
        """One actor's bones: volumes where the costume has them, else capsules."""
        volumes = self._volumes
        rest = volumes.rest_joints if len(volumes.names) else actor.joints
        turned = bone_rotations(actor.joints, rest)
        lengths, rest_lengths = bone_lengths(actor.joints), np.maximum(bone_lengths(rest), 1e-3)
        radii = np.asarray(member.radii or DEFAULT_RADII, np.float32)
        rows = []
        for number, bone in enumerate(BONES):
            place = self._index.get(f"{member.costume}:{bone}", -1)
            if number == _HEADGEAR and (place < 0 or not member.headgear or member.costume not in WITH_HEADGEAR):
                continue
            rows.append((number, place))
        numbers = np.asarray([number for number, _ in rows])
        which = np.asarray([place for _, place in rows])
        ends = np.asarray([BONE_JOINTS[BONES[number]] for number in numbers])
        start, end = actor.joints[ends[:, 0]], actor.joints[ends[:, 1]]
        thickness = radii[_RADIUS_INDEX[numbers]]
        has = which >= 0
        safe = np.where(has, which, 0)

        if has.any():
            # A longer bone stretches along itself, a stouter build across.
            stretch = np.clip(lengths[numbers] / rest_lengths[numbers], 0.05, 20)
            stout = thickness / np.asarray(DEFAULT_RADII, np.float32)[_RADIUS_INDEX[numbers]]
            along = rest[ends[:, 1]] - rest[ends[:, 0]]
            along = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
            outer = along[:, :, None] * along[:, None, :]
            shape = stout[:, None, None] * (np.eye(3) - outer) + stretch[:, None, None] * outer
            to_world_volume = turned[numbers] @ shape * volumes.spacing[safe, None, None]
            origin_volume = start + np.einsum("nij,nj->ni", turned[numbers] @ shape, volumes.low[safe])
        else:
            to_world_volume, origin_volume = np.zeros((len(rows), 3, 3)), start

        # Capsules end at their joints; limbs reach half a radius further, so that neighbours overlap.
        axes = frame_along(end - start, turned[numbers][:, :, 2])
        span = np.sqrt(((end - start) ** 2).sum(axis=-1)) + _IS_LIMB[numbers] * thickness
        half_length = np.maximum(span / 2 / thickness - 1, 0)
        to_world_capsule = axes * thickness[:, None, None]
        to_world = np.where(has[:, None, None], to_world_volume, to_world_capsule).astype(np.float32)
        origin = np.where(has[:, None], origin_volume, (start + end) / 2).astype(np.float32)
        sizes = volumes.sizes[safe] if has.any() else np.zeros((len(rows), 3), np.int32)
        reach = np.stack([np.ones_like(half_length), 1 + half_length, np.ones_like(half_length)], axis=1)
        step = volumes.spacing[safe] if has.any() else np.ones(len(rows), np.float32)
        low = volumes.low[safe] if has.any() else np.zeros((len(rows), 3), np.float32)
        return Primitives(
            to_grid=np.linalg.inv(to_world).astype(np.float32),
            origin=origin,
            to_world=to_world,
            low=np.where(has[:, None], 0, -reach).astype(np.float32),
            high=np.where(has[:, None], sizes - 1, reach).astype(np.float32),
            local_step=np.where(has, step, thickness)[:, None].repeat(3, axis=1).astype(np.float32),
            local_low=np.where(has[:, None], low, 0).astype(np.float32),
            kind=np.where(has, VOLUME, CAPSULE).astype(np.int32),
            size=sizes.astype(np.int32),
            first=(self._first[safe] if has.any() else np.zeros(len(rows))).astype(np.int64),
            slot=np.full(len(rows), 1 + actor.cast_index, np.uint8),
            part=(1 + numbers).astype(np.uint8),
            casts_shadow=np.ones(len(rows), np.bool_),
        )
