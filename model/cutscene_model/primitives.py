"""The scene as boxes, capsules and shape volumes: what the greybox raster draws.

Each primitive is an affine map from the world into its own grid, in which a box is the cube [-1, 1]^3, a capsule has
unit radius and lies along y, and a volume's samples lie at whole numbers. A ray keeps its parameter under an affine
map, so all are met in their own space, and stretched bodies cost nothing extra.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from cutscene_model.scene import MAX_CAST, ActorState, CastMember, ElementClass, FloatArray, Stage
from cutscene_model.scene import SceneState as State
from cutscene_model.skeleton import BONE_ENDS, BONES, body_frames, bone_lengths, bone_rotations
from cutscene_model.vectors import frame_along, rotation_matrix, unit
from cutscene_model.volumes import Volumes

_Number = TypeVar("_Number", np.int32, np.int64, np.float32)

HEAD_PART = 1 + BONES.index("head")
BOX_PART = 1 + len(BONES)  # whatever is not a bone
SLOT_COUNT = 65  # slot 0 is "nothing here", 1 to 4 the cast, the rest the looks of the set and the props

BOX, CAPSULE, VOLUME = 0, 1, 2  # kinds

DEFAULT_RADII = (0.54, 0.38, 0.13, 0.13)  # head, torso, arms, legs: the big-headed build of the shipped costumes
_RADIUS_OF = {
    "head": 0, "headgear": 0, "hips": 1, "chest": 1, "spine": 1, "upper_arm": 2, "forearm": 2, "hand": 2,
}  # fmt: skip
# Whatever is not named is a leg: 3.
_OVERLAP = 1.003  # elements of a set are drawn a little wider, or rays would slip through between neighbouring tiles
_MIN_HALF = 1e-3  # a plane's missing thickness, so that its map stays invertible
_HEADGEAR = BONES.index("headgear")
_ONLY_VOLUMES = [BONES.index(bone) for bone in ("headgear", "spine", "hand_l", "hand_r")]  # no capsules stand for these
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


def _with_last(rows: npt.NDArray[_Number], last: object) -> npt.NDArray[_Number]:
    return np.concatenate([rows, np.asarray([last], rows.dtype)])


class SceneShapes:
    """Turns the states of one stage into primitives."""

    def __init__(self, stage: Stage, volumes: Volumes) -> None:
        self._stage = stage
        self._index = volumes.index
        _, self._element_slots, self._prop_slots = set_slots(stage)
        # A last row stands for "no volume", so that index -1 finds what suits a box or a capsule.
        unit_box = [0, 0, 0, 1, 1, 1]
        self._sizes = _with_last(volumes.sizes, [0, 0, 0])
        self._first = _with_last(volumes.first, 0)
        self._spacing = _with_last(volumes.spacing, 1)
        self._low = _with_last(volumes.low, [0, 0, 0])
        self._element_box = _with_last(volumes.element_box, unit_box)
        self._prop_box = _with_last(volumes.prop_box, unit_box)
        self._rest = volumes.rest_joints if len(volumes.names) else None
        self._rest_frames = None if self._rest is None else body_frames(self._rest)
        self._prior = volumes.pose_prior

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
            np.asarray([box.half_extent for box in boxes], np.float32).reshape(-1, 3) * _OVERLAP,
            rotation_matrix(np.asarray([box.rotation for box in boxes], np.float32).reshape(-1, 4)),
            [element.look for element, _ in chosen],
            self._element_box,
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
            self._prop_box,
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
        half = np.maximum(half, _MIN_HALF)
        which = np.asarray([self._index.get(look, -1) for look in looks], np.int64)
        has = (which >= 0)[:, None]
        # A volume's samples in the coordinates of the box that was sent, which go from -1 to 1.
        box = fitted_box[which]
        inside = np.maximum(box[:, 3:], 1e-6)
        step = (self._spacing[which, None] / inside).astype(np.float32)
        first_sample = ((self._low[which] - box[:, :3]) / inside).astype(np.float32)
        width = half * step  # metres a sample
        return Primitives(
            to_grid=(np.swapaxes(rotation, -1, -2) / width[:, :, None]).astype(np.float32),
            origin=(center + np.einsum("nij,nj->ni", rotation, half * first_sample)).astype(np.float32),
            to_world=(rotation * width[:, None, :]).astype(np.float32),
            low=np.broadcast_to(np.where(has, 0, -1), (len(slots), 3)).astype(np.float32),
            high=np.where(has, self._sizes[which] - 1, 1).astype(np.float32),
            local_step=step,
            local_low=first_sample,
            kind=np.where(has[:, 0], VOLUME, BOX).astype(np.int32),
            size=self._sizes[which],
            first=self._first[which],
            slot=np.asarray(slots, np.uint8),
            part=np.full(len(slots), BOX_PART, np.uint8),
            casts_shadow=np.asarray(shadows, np.bool_),
        )

    def _body(self, actor: ActorState, member: CastMember) -> Primitives:
        """One actor's bones: volumes where the costume has them, else capsules."""
        rest = actor.joints if self._rest is None else self._rest
        rotations = bone_rotations(actor.joints, rest, self._prior, self._rest_frames)
        radii = np.asarray(member.radii or DEFAULT_RADII, np.float32)
        found = [self._index.get(f"{member.costume}:{bone}", -1) for bone in BONES]
        numbers = np.asarray(
            [
                number
                for number, place in enumerate(found)
                if number not in _ONLY_VOLUMES or (place >= 0 and (member.headgear or number != _HEADGEAR))
            ]
        )
        which = np.asarray(found)[numbers]
        has = (which >= 0)[:, None]
        start, end = (actor.joints[joints] for joints in BONE_ENDS[numbers].T)
        turned, thickness = rotations[numbers], radii[_RADIUS_INDEX[numbers]]

        # A longer bone stretches along itself, a stouter build across.
        stretch = np.clip(bone_lengths(actor.joints) / np.maximum(bone_lengths(rest), 1e-3), 0.05, 20)[numbers]
        stout = thickness / np.asarray(DEFAULT_RADII, np.float32)[_RADIUS_INDEX[numbers]]
        along = unit(rest[BONE_ENDS[numbers, 1]] - rest[BONE_ENDS[numbers, 0]])
        outer = along[:, :, None] * along[:, None, :]
        shape = turned @ (stout[:, None, None] * (np.eye(3) - outer) + stretch[:, None, None] * outer)
        to_world_volume = shape * self._spacing[which, None, None]
        origin_volume = start + np.einsum("nij,nj->ni", shape, self._low[which])

        # Capsules end at their joints; limbs reach half a radius further, so that neighbours overlap.
        axes = frame_along(end - start, turned[:, :, 2])
        span = np.sqrt(((end - start) ** 2).sum(axis=-1)) + _IS_LIMB[numbers] * thickness
        half_length = np.maximum(span / 2 / thickness - 1, 0)
        reach = np.stack([np.ones_like(half_length), 1 + half_length, np.ones_like(half_length)], axis=1)
        to_world = np.where(has[..., None], to_world_volume, axes * thickness[:, None, None]).astype(np.float32)
        return Primitives(
            to_grid=np.linalg.inv(to_world).astype(np.float32),
            origin=np.where(has, origin_volume, (start + end) / 2).astype(np.float32),
            to_world=to_world,
            low=np.where(has, 0, -reach).astype(np.float32),
            high=np.where(has, self._sizes[which] - 1, reach).astype(np.float32),
            local_step=np.where(has[:, 0], self._spacing[which], thickness)[:, None]
            .repeat(3, axis=1)
            .astype(np.float32),
            local_low=self._low[which],
            kind=np.where(has[:, 0], VOLUME, CAPSULE).astype(np.int32),
            size=self._sizes[which],
            first=self._first[which],
            slot=np.full(len(numbers), 1 + actor.cast_index, np.uint8),
            part=(1 + numbers).astype(np.uint8),
            casts_shadow=np.ones(len(numbers), np.bool_),
        )
