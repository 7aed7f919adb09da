"""What a camera cannot be in or see through: the boxes of a room, as arrays for many rays at once."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from cutscene_client import rotations
from cutscene_proto.v1 import scene_pb2 as spb

FloatArray = npt.NDArray[np.float64]

# Too small or too flat to hide an actor.
SEEN_PAST = frozenset({spb.ELEMENT_CLASS_FLOOR, spb.ELEMENT_CLASS_LAMP, spb.ELEMENT_CLASS_CLUTTER})


class Obstacles:
    """The solid boxes of a set, and the rectangle of the floor that a camera may use."""

    def __init__(
        self, elements: Iterable[spb.SetElement], camera_area: tuple[float, float, float, float] | None = None
    ) -> None:
        boxes = [e.box for e in elements if e.WhichOneof("shape") == "box" and e.element_class not in SEEN_PAST]
        self.centers = np.array([[b.center.x, b.center.y, b.center.z] for b in boxes], np.float64).reshape(-1, 3)
        self.halves = np.array([[b.half_extent.x, b.half_extent.y, b.half_extent.z] for b in boxes]).reshape(-1, 3)
        axes = [_axes(b) for b in boxes]
        self.axes = np.array(axes, np.float64).reshape(-1, 3, 3)  # (B, axis, xyz)
        self.camera_area = camera_area  # x low, z low, x high, z high

    def contains(self, point: npt.ArrayLike, margin: float = 0.0) -> bool:
        """Whether a point lies in a box grown by ``margin``, or outside the camera's area."""
        p = np.asarray(point, np.float64)
        if self.camera_area is not None:
            x_low, z_low, x_high, z_high = self.camera_area
            if not (x_low <= p[0] <= x_high and z_low <= p[2] <= z_high):
                return True
        local = np.abs(np.einsum("bij,bj->bi", self.axes, p - self.centers))
        return bool(np.any(np.all(local < self.halves + margin, axis=1)))

    def blocked_at(self, origin: npt.ArrayLike, end: npt.ArrayLike, margin: float = 0.0) -> float:
        """How far along the way from ``origin`` to ``end`` the first box begins, 0 to 1; 1 if the way is free.

        Boxes that hold the origin do not count: an actor who sits is partly inside the seat.
        """
        start = np.asarray(origin, np.float64)
        way = np.asarray(end, np.float64) - start
        if not len(self.centers):
            return 1.0
        local_start = np.einsum("bij,bj->bi", self.axes, start - self.centers)
        local_way = np.einsum("bij,j->bi", self.axes, way)
        local_way = np.where(np.abs(local_way) < 1e-9, 1e-9, local_way)
        grown = self.halves + margin
        first = (-grown - local_start) / local_way
        second = (grown - local_start) / local_way
        enter = np.minimum(first, second).max(axis=1)
        leave = np.maximum(first, second).min(axis=1)
        hits = enter[(enter <= leave) & (enter > 0.0) & (enter < 1.0)]
        return float(hits.min()) if len(hits) else 1.0

    def clear_part(self, targets: FloatArray, offsets: FloatArray, clearance: float) -> float:
        """The largest factor, 0 to 1, by which every offset may be taken so that each camera sees its target."""
        part = 1.0
        for target, offset in zip(targets, offsets, strict=True):
            part = min(part, self.blocked_at(target, target + offset, clearance), self._area_part(target, offset))
        return part if part == 1.0 else part * 0.99  # clear of the limit itself, whatever the rounding

    def _area_part(self, target: FloatArray, offset: FloatArray) -> float:
        if self.camera_area is None:
            return 1.0
        part = 1.0
        x_low, z_low, x_high, z_high = self.camera_area
        for axis, low, high in ((0, x_low, x_high), (2, z_low, z_high)):
            if offset[axis] > 1e-9:
                part = min(part, (high - target[axis]) / offset[axis])
            elif offset[axis] < -1e-9:
                part = min(part, (low - target[axis]) / offset[axis])
        return max(0.0, float(part))


def _axes(box: spb.Box) -> FloatArray:
    """The box's local axes as rows, so that ``axes @ (point - center)`` is the point in the box's frame."""
    if not box.HasField("rotation"):
        return np.eye(3)
    q = box.rotation
    return rotations.rotate((q.x, q.y, q.z, q.w), np.eye(3))
