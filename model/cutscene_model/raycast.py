"""Rays against boxes, capsules and shape volumes, as the greybox and its shadows cast them.

Every primitive is bounded on the raster first; inside its rectangle each ray is met in the primitive's own grid.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from cutscene_model.bands import in_bands
from cutscene_model.primitives import Primitives
from cutscene_model.scene import Camera, FloatArray
from cutscene_model.tracing import NEAR, trace
from cutscene_model.vectors import frame_along, rotation_matrix
from cutscene_model.volumes import Volumes

_CORNERS = np.asarray([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float32)
_EDGES = np.asarray([(a, b) for a in range(8) for b in range(a + 1, 8) if bin(a ^ b).count("1") == 1])
_EVERYWHERE = np.zeros((2, 1), np.float32)  # stands for limits where there are none


@dataclass(frozen=True, slots=True)
class View:
    """A raster of parallel or diverging rays. A ray's parameter is its depth along the view's -Z."""

    origin: FloatArray  # (3,) metres
    rotation: FloatArray  # (3, 3), columns are right, up, back
    half_width: float  # perspective: tangent of half the horizontal angle; parallel: metres
    half_height: float
    width: int  # rays across
    height: int
    parallel: bool = False


def camera_view(camera: Camera, width: int, height: int, aspect: float) -> View:
    """The camera's rays through the middles of ``width`` x ``height`` cells of a picture of the given aspect."""
    tangent = float(np.tan(camera.vertical_fov / 2))
    rotation = rotation_matrix(np.asarray(camera.rotation, np.float32))
    return View(np.asarray(camera.position, np.float32), rotation, tangent * aspect, tangent, width, height)


def light_view(direction: FloatArray, center: FloatArray, radius: float, size: int) -> View:
    """Parallel rays along ``direction`` over a disc of ``radius`` metres about ``center``."""
    back = -np.asarray(direction, np.float32)
    frame = frame_along(np.array([0, 1, 0] if abs(back[1]) < 0.99 else [1, 0, 0], np.float32), back)
    right = frame[:, 0]
    rotation = np.stack([right, np.cross(back, right), back], axis=-1).astype(np.float32)
    return View((center + 4 * radius * back).astype(np.float32), rotation, radius, radius, size, size, True)


@dataclass(frozen=True, slots=True)
class Rays:
    """Some of a raster's rays, n of them, row after row and from left to right."""

    columns: npt.NDArray[np.int32]  # (n,)
    starts: npt.NDArray[np.int64]  # (height + 1,) where every row's begin among them; the last is n

    def __len__(self) -> int:
        return len(self.columns)


@lru_cache(maxsize=8)
def all_rays(width: int, height: int) -> Rays:
    """Every ray of a raster, which is then (height, width) row by row. Not to be written to."""
    columns = np.tile(np.arange(width, dtype=np.int32), height)
    return Rays(columns, np.arange(height + 1, dtype=np.int64) * width)


@dataclass(frozen=True, slots=True)
class Hits:
    """What each of n rays meets first. Those that meet nothing have ``primitive`` -1 and infinite depth, no more."""

    primitive: npt.NDArray[np.int32]  # (n,)
    depth: FloatArray  # (n,)
    grid: FloatArray  # (n, 3) in the primitive's grid
    normal: FloatArray  # (n, 3) world, unit
    sample: npt.NDArray[np.int32]  # (n,) the atlas sample nearest to the surface; -1 without a volume

    @staticmethod
    def nothing(count: int) -> Hits:
        """Before any ray is cast."""
        return Hits(
            np.full(count, -1, np.int32),
            np.full(count, np.inf, np.float32),
            np.empty((count, 3), np.float32),
            np.empty((count, 3), np.float32),
            np.full(count, -1, np.int32),
        )


@dataclass(frozen=True, slots=True)
class Sight:
    """Primitives as they lie in a view."""

    primitives: Primitives  # n of them
    view: View
    order: npt.NDArray[np.int64]  # the indices of those that may be seen, the nearest first
    rectangles: npt.NDArray[np.int32]  # (n, 4) raster rectangles x0 y0 x1 y1, half open, that hold each primitive
    view_to_grid: FloatArray  # (n, 3, 3) the view's axes in each primitive's grid
    eye: FloatArray  # (n, 3) the view's origin there

    def twice_as_fine(self) -> Sight:
        """The same with four rays in place of each."""
        view = replace(self.view, width=2 * self.view.width, height=2 * self.view.height)
        return replace(self, view=view, rectangles=2 * self.rectangles)


def sight(primitives: Primitives, view: View) -> Sight:
    """Looks at ``primitives`` from ``view``. Raises ValueError where one's place is no number."""
    rectangles, nearest = _bounds(primitives, view)
    if not np.isfinite(nearest).all():
        # Indices told from what is no number would lie anywhere in memory.
        raise ValueError("a scene with places that are no numbers")
    order = np.argsort(nearest, kind="stable")
    order = order[rectangles[order, 2] > rectangles[order, 0]].astype(np.int64)
    view_to_grid = np.ascontiguousarray(primitives.to_grid @ view.rotation)
    eye = np.einsum("nij,nj->ni", primitives.to_grid, view.origin - primitives.origin).astype(np.float32)
    return Sight(primitives, view, order, rectangles, view_to_grid, eye)


def cast_rays(seen: Sight, volumes: Volumes, rays: Rays, within: FloatArray | None = None) -> Hits:
    """Finds what each of ``rays`` meets first of what is seen.

    ``within`` (2, n) says between which two depths each is looked along: not at all where the second is not the
    greater.
    """
    hits = Hits.nothing(len(rays))
    out = (hits.primitive, hits.depth, hits.grid, hits.normal, hits.sample, False)
    _trace(seen, volumes, rays, out, within)
    return hits


def lower_depths(depth: FloatArray, primitives: Primitives, view: View, volumes: Volumes) -> None:
    """Lowers the ``depth`` (height, width) of rays, infinite where they meet nothing, to where they meet primitives."""
    unused = np.empty(1, np.int32), np.empty((1, 3), np.float32)
    out = (unused[0], depth.reshape(-1), unused[1], unused[1], unused[0], True)
    _trace(sight(primitives, view), volumes, all_rays(view.width, view.height), out)


def _trace(seen: Sight, volumes: Volumes, rays: Rays, out: tuple[Any, ...], within: FloatArray | None = None) -> None:
    if not len(seen.order):
        return
    primitives, view = seen.primitives, seen.view
    given = (
        view.width, view.height, view.half_width, view.half_height, view.parallel,
        rays.columns, rays.starts, _EVERYWHERE if within is None else within, within is not None,
        # What a kernel wants to know of every primitive: the view in its grid, its bounds, and its volume.
        seen.view_to_grid, seen.eye,
        primitives.low, primitives.high, np.ascontiguousarray(primitives.to_grid), primitives.kind, primitives.size,
        primitives.first, volumes.distance, volumes.normal,
    )  # fmt: skip
    in_bands(view.height, lambda first, last: trace(seen.order, seen.rectangles, first, last, *given, *out))


def _bounds(primitives: Primitives, view: View) -> tuple[npt.NDArray[np.int32], FloatArray]:
    """Raster rectangles (n, 4) x0 y0 x1 y1, half open, that hold each primitive, and how near (n,) it may come."""
    reach = primitives.low[:, None] + _CORNERS[None] * (primitives.high - primitives.low)[:, None]
    corners = reach @ np.swapaxes(primitives.to_world, -1, -2)
    local = (corners + (primitives.origin - view.origin)[:, None]) @ view.rotation  # (n, 8, 3) in view space
    nearest: FloatArray = (-local[..., 2]).min(axis=1)
    if view.parallel:
        x, y, seen = local[..., 0], local[..., 1], np.ones(local.shape[:2], np.bool_)
    else:
        # Every edge is clipped at the near plane, so that a box that reaches behind the camera keeps its true bounds.
        a, b = local[:, _EDGES[:, 0]], local[:, _EDGES[:, 1]]
        da, db = -a[..., 2] - NEAR, -b[..., 2] - NEAR
        crossing = (da > 0) != (db > 0)
        t = np.where(crossing, da / np.where(crossing, da - db, 1), 0)[..., None]
        cut = a + (b - a) * t
        ends = np.concatenate([np.where((da > 0)[..., None], a, cut), np.where((db > 0)[..., None], b, cut)], axis=1)
        seen = np.concatenate([(da > 0) | crossing, (db > 0) | crossing], axis=1)
        depth = np.maximum(-ends[..., 2], NEAR * 0.5)
        x, y = ends[..., 0] / depth, ends[..., 1] / depth
    big = np.float32(1e9)
    x0 = np.where(seen, x, big).min(axis=1) / view.half_width
    x1 = np.where(seen, x, -big).max(axis=1) / view.half_width
    y0 = np.where(seen, y, big).min(axis=1) / view.half_height
    y1 = np.where(seen, y, -big).max(axis=1) / view.half_height
    rect = np.stack(
        [
            np.floor((np.clip(x0, -1, 1) + 1) / 2 * view.width - 0.5),
            np.floor((1 - np.clip(y1, -1, 1)) / 2 * view.height - 0.5),
            np.ceil((np.clip(x1, -1, 1) + 1) / 2 * view.width + 0.5),
            np.ceil((1 - np.clip(y0, -1, 1)) / 2 * view.height + 0.5),
        ],
        axis=-1,
    )
    rect[(x0 > 1) | (x1 < -1) | (y0 > 1) | (y1 < -1)] = 0
    rect[:, 0::2] = np.clip(rect[:, 0::2], 0, view.width)
    rect[:, 1::2] = np.clip(rect[:, 1::2], 0, view.height)
    return rect.astype(np.int32), nearest
