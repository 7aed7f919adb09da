"""Where things stand in a room: which floor is free, what a camera would bump into, what hides what."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cutscene_model.scene import ElementClass, SetElement
from cutscene_model.training.transforms import Array, quaternion_matrix


class Space:
    """The boxes of a set, ready for point, segment and footprint tests."""

    def __init__(self, elements: Sequence[SetElement], area: tuple[float, float, float, float]) -> None:
        solid = [element for element in elements if element.element_class is not ElementClass.FLOOR]
        self.area = area
        self._centers = np.array([element.box.center for element in solid])
        self._halves = np.array([element.box.half_extent for element in solid])
        self._rotations = quaternion_matrix(np.array([element.box.rotation for element in solid]))
        # What hangs above a head or on a wall does not keep anyone from standing there.
        bottoms = self._centers[:, 1] - self._halves[:, 1]
        hanging = [element.element_class in (ElementClass.BANNER, ElementClass.LAMP) for element in solid]
        self._on_floor = (bottoms < 1.9) & ~np.array(hanging)

    def _local(self, point: npt.ArrayLike) -> Array:
        """(B, 3): the point in each box's frame."""
        local: Array = np.einsum("bji,bj->bi", self._rotations, np.asarray(point, np.float64) - self._centers)
        return local

    def touches(self, point: npt.ArrayLike, margin: float) -> bool:
        """Whether a point lies in a box, or within ``margin`` of it."""
        return bool((np.abs(self._local(point)) < self._halves + margin).all(axis=1).any())

    def blocked(self, start: npt.ArrayLike, end: npt.ArrayLike, margin: float = 0.0) -> bool:
        """Whether a box lies on the segment."""
        a, b = self._local(start), self._local(end)
        direction = np.where(np.abs(b - a) < 1e-9, 1e-9, b - a)
        halves = self._halves + margin
        near, far = (-halves - a) / direction, (halves - a) / direction
        enter = np.minimum(near, far).max(axis=1)
        leave = np.maximum(near, far).min(axis=1)
        return bool(((enter <= leave) & (leave >= 0.0) & (enter <= 1.0)).any())

    def standable(self, x: float, z: float, radius: float = 0.45) -> bool:
        """Whether an actor fits on the floor there."""
        x0, z0, x1, z1 = self.area
        if not (x0 + 0.1 <= x <= x1 - 0.1 and z0 + 0.1 <= z <= z1 - 0.1):
            return False
        local = np.abs(self._local((x, 0.0, z)))[:, ::2]
        near = (local < self._halves[:, ::2] + radius).all(axis=1)
        return not bool((near & self._on_floor).any())

    def walkable(self, start: npt.ArrayLike, end: npt.ArrayLike, radius: float = 0.35) -> bool:
        """Whether an actor can walk straight from one place to the other."""
        a, b = np.asarray(start, np.float64), np.asarray(end, np.float64)
        steps = max(2, int(np.linalg.norm(b - a) / 0.3) + 1)
        points = a + (b - a) * np.linspace(0.0, 1.0, steps)[:, None]
        return all(self.standable(float(point[0]), float(point[2]), radius) for point in points)

    def contains_camera(self, point: npt.ArrayLike, margin: float = 0.25) -> bool:
        """Whether a camera may be there: in the room and clear of everything in it."""
        x, y, z = np.asarray(point, np.float64)
        x0, z0, x1, z1 = self.area
        return bool(x0 <= x <= x1 and z0 <= z <= z1 and 0.25 <= y <= 3.7) and not self.touches(point, margin)
