"""Rays against boxes, capsules and shape volumes: the kernels under the greybox and its shadows, compiled by Numba.

Every primitive is bounded on the raster first; inside its rectangle each ray is met in the primitive's own grid.
Volumes are sphere-traced (Hart 1996): a stored distance says how far a ray may go without meeting anything.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from cutscene_model.primitives import Primitives
from cutscene_model.scene import Camera, FloatArray
from cutscene_model.vectors import frame_along, rotation_matrix
from cutscene_model.volumes import DISTANCE_STEPS, Volumes

NEAR = 0.05  # metres; nothing nearer to the camera is drawn
_CORNERS = np.asarray([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float32)
_EDGES = np.asarray([(a, b) for a in range(8) for b in range(a + 1, 8) if bin(a ^ b).count("1") == 1])
_BANDS = 2  # of rows, traced side by side
_STEPS = 96  # at most, along one ray through one volume
_TOUCH = 0.04  # spacings from the surface at which it counts as met
_LEAST_STEP = 0.2  # spacings that a ray goes on at least
_kernel = numba.njit(nogil=True, cache=True)
_workers = ThreadPoolExecutor(_BANDS, thread_name_prefix="raycast")


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
class Hits:
    """What every ray meets first. Rays that meet nothing have ``primitive`` -1 and infinite depth."""

    primitive: npt.NDArray[np.int32]  # (height, width)
    depth: FloatArray  # (height, width)
    grid: FloatArray  # (height, width, 3) in the primitive's grid
    normal: FloatArray  # (height, width, 3) world, unit
    sample: npt.NDArray[np.int32]  # (height, width) the atlas sample nearest to the surface; -1 without a volume

    @staticmethod
    def nothing(height: int, width: int) -> Hits:
        """Before any ray is cast."""
        return Hits(
            np.full((height, width), -1, np.int32),
            np.full((height, width), np.inf, np.float32),
            np.zeros((height, width, 3), np.float32),
            np.zeros((height, width, 3), np.float32),
            np.full((height, width), -1, np.int32),
        )


def cast_rays(primitives: Primitives, view: View, volumes: Volumes, only_depth: bool = False) -> Hits:
    """Finds what every ray of ``view`` meets first; without grid, normal and sample if ``only_depth``."""
    hits = Hits.nothing(view.height, view.width)
    if len(primitives):
        rectangles, nearest = _bounds(primitives, view)
        order = np.argsort(nearest, kind="stable")
        order = order[rectangles[order, 2] > rectangles[order, 0]].astype(np.int64)
        limits = np.linspace(0, view.height, _BANDS + 1).astype(int)
        bands = [
            _workers.submit(_cast, primitives, view, volumes, rectangles, order, int(a), int(b), hits, only_depth)
            for a, b in zip(limits[:-1], limits[1:], strict=True)
        ]
        for band in bands:
            band.result()
    return hits


def _cast(
    primitives: Primitives,
    view: View,
    volumes: Volumes,
    rectangles: npt.NDArray[np.int32],
    order: npt.NDArray[np.int64],
    first_row: int,
    last_row: int,
    hits: Hits,
    only_depth: bool,
) -> None:
    _trace(
        order, rectangles, first_row, last_row, view.width, view.height,
        view.origin, np.ascontiguousarray(view.rotation), view.half_width, view.half_height, view.parallel,
        primitives.to_grid, primitives.origin, primitives.low, primitives.high, primitives.kind,
        primitives.size, primitives.first, volumes.distance, volumes.normal,
        hits.primitive, hits.depth, hits.grid, hits.normal, hits.sample, only_depth,
    )  # fmt: skip


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


@_kernel  # type: ignore[untyped-decorator]
def _trace(  # type: ignore[no-untyped-def]
    order, rectangles, first_row, last_row, width, height,
    eye, rotation, half_width, half_height, parallel,
    to_grid, origin, low, high, kind, size, first, distance, normal,
    out_primitive, out_depth, out_grid, out_normal, out_sample, only_depth,
):  # fmt: skip
    """Traces the rows from ``first_row`` to ``last_row`` (excluded), nearest primitives first."""
    for n in order:
        m = to_grid[n]
        for row in range(max(rectangles[n, 1], first_row), min(rectangles[n, 3], last_row)):
            v = (1 - (row + 0.5) / height * 2) * half_height
            for column in range(rectangles[n, 0], rectangles[n, 2]):
                u = ((column + 0.5) / width * 2 - 1) * half_width
                if parallel:
                    wx = eye[0] + rotation[0, 0] * u + rotation[0, 1] * v - origin[n, 0]
                    wy = eye[1] + rotation[1, 0] * u + rotation[1, 1] * v - origin[n, 1]
                    wz = eye[2] + rotation[2, 0] * u + rotation[2, 1] * v - origin[n, 2]
                    rx, ry, rz = -rotation[0, 2], -rotation[1, 2], -rotation[2, 2]
                else:
                    wx, wy, wz = eye[0] - origin[n, 0], eye[1] - origin[n, 1], eye[2] - origin[n, 2]
                    rx = rotation[0, 0] * u + rotation[0, 1] * v - rotation[0, 2]
                    ry = rotation[1, 0] * u + rotation[1, 1] * v - rotation[1, 2]
                    rz = rotation[2, 0] * u + rotation[2, 1] * v - rotation[2, 2]
                ox = m[0, 0] * wx + m[0, 1] * wy + m[0, 2] * wz
                oy = m[1, 0] * wx + m[1, 1] * wy + m[1, 2] * wz
                oz = m[2, 0] * wx + m[2, 1] * wy + m[2, 2] * wz
                dx = m[0, 0] * rx + m[0, 1] * ry + m[0, 2] * rz
                dy = m[1, 0] * rx + m[1, 1] * ry + m[1, 2] * rz
                dz = m[2, 0] * rx + m[2, 1] * ry + m[2, 2] * rz

                enter, leave, axis = _cross(ox, oy, oz, dx, dy, dz, low[n], high[n])
                near = 0.0 if parallel else NEAR
                leave = min(leave, out_depth[row, column])
                if leave <= max(enter, near):
                    continue
                gx, gy, gz = 0.0, 0.0, 0.0
                if kind[n] == 0:
                    if enter <= near:  # a box around the camera is not drawn
                        continue
                    t = enter
                    if axis == 0:
                        gx = -np.sign(dx)
                    elif axis == 1:
                        gy = -np.sign(dy)
                    else:
                        gz = -np.sign(dz)
                elif kind[n] == 1:
                    half = high[n, 1] - 1
                    t = _capsule(ox, oy, oz, dx, dy, dz, half)
                    if t <= near or t >= leave:
                        continue
                    gx, gz = ox + t * dx, oz + t * dz
                    y = oy + t * dy
                    gy = y - min(max(y, -half), half)
                else:
                    t = _march(ox, oy, oz, dx, dy, dz, max(enter, near), leave, size[n], first[n], distance)
                    if t < 0:
                        continue
                out_depth[row, column] = t
                if only_depth:
                    continue
                x, y, z = ox + t * dx, oy + t * dy, oz + t * dz
                sample = -1
                if kind[n] == 2:
                    gx, gy, gz = _slope(x, y, z, size[n], first[n], distance)
                    # A little outside the surface, where the closest triangle is one that can be seen.
                    length = 0.4 / max(np.sqrt(gx * gx + gy * gy + gz * gz), 1e-12)
                    px, py, pz = x + gx * length, y + gy * length, z + gz * length
                    i = min(max(int(px + 0.5), 0), size[n, 0] - 1)
                    j = min(max(int(py + 0.5), 0), size[n, 1] - 1)
                    k = min(max(int(pz + 0.5), 0), size[n, 2] - 1)
                    sample = first[n] + (i * size[n, 1] + j) * size[n, 2] + k
                    ax, ay, az = _normal(px, py, pz, size[n], first[n], normal)
                    if abs(ax) + abs(ay) + abs(az) > 40:
                        gx, gy, gz = ax, ay, az
                # Normals map by the transpose of the inverse, which is here the transpose of the map to the grid.
                nx = m[0, 0] * gx + m[1, 0] * gy + m[2, 0] * gz
                ny = m[0, 1] * gx + m[1, 1] * gy + m[2, 1] * gz
                nz = m[0, 2] * gx + m[1, 2] * gy + m[2, 2] * gz
                if nx * rx + ny * ry + nz * rz > 0:
                    nx, ny, nz = -nx, -ny, -nz
                scale = 1 / max(np.sqrt(nx * nx + ny * ny + nz * nz), 1e-12)
                out_primitive[row, column] = n
                out_grid[row, column, 0] = x
                out_grid[row, column, 1] = y
                out_grid[row, column, 2] = z
                out_normal[row, column, 0] = nx * scale
                out_normal[row, column, 1] = ny * scale
                out_normal[row, column, 2] = nz * scale
                out_sample[row, column] = sample


@_kernel  # type: ignore[untyped-decorator]
def _cross(ox, oy, oz, dx, dy, dz, low, high):  # type: ignore[no-untyped-def]
    """Where a ray enters and leaves a box, and through which axis it enters."""
    enter, leave, axis = -np.inf, np.inf, 0
    for k in range(3):
        o = ox if k == 0 else (oy if k == 1 else oz)
        d = dx if k == 0 else (dy if k == 1 else dz)
        inverse = 1 / d if abs(d) > 1e-12 else 1e12
        a, b = (low[k] - o) * inverse, (high[k] - o) * inverse
        if a > b:
            a, b = b, a
        if a > enter:
            enter, axis = a, k
        leave = min(leave, b)
    return enter, leave, axis


@_kernel  # type: ignore[untyped-decorator]
def _capsule(ox, oy, oz, dx, dy, dz, half):  # type: ignore[no-untyped-def]
    """Where a ray enters a capsule of unit radius along y; -1 if it misses (Quilez, "capsule intersection")."""
    a = max(dx * dx + dz * dz, 1e-12)
    b = ox * dx + oz * dz
    h = b * b - a * (ox * ox + oz * oz - 1)
    side = (-b - np.sqrt(max(h, 0.0))) / a
    y = oy + side * dy
    if h >= 0 and abs(y) <= half:
        return side
    # Past the ends of the side, only the cap on that end can be met first.
    cy = oy - half if y >= 0 else oy + half
    dd = a + dy * dy
    b = b + cy * dy
    h = b * b - dd * (ox * ox + cy * cy + oz * oz - 1)
    return (-b - np.sqrt(h)) / dd if h >= 0 else -1.0


@_kernel  # type: ignore[untyped-decorator]
def _distance(x, y, z, size, first, distance):  # type: ignore[no-untyped-def]
    """The distance at a place in a volume's grid, in spacings, interpolated between the eight samples around."""
    x = min(max(x, 0.0), size[0] - 1.001)
    y = min(max(y, 0.0), size[1] - 1.001)
    z = min(max(z, 0.0), size[2] - 1.001)
    i, j, k = int(x), int(y), int(z)
    x, y, z = x - i, y - j, z - k
    row, slab = size[2], size[1] * size[2]
    at = first + i * slab + j * row + k
    a = distance[at] * (1 - z) + distance[at + 1] * z
    b = distance[at + row] * (1 - z) + distance[at + row + 1] * z
    c = distance[at + slab] * (1 - z) + distance[at + slab + 1] * z
    d = distance[at + slab + row] * (1 - z) + distance[at + slab + row + 1] * z
    a = a * (1 - y) + b * y
    c = c * (1 - y) + d * y
    return (a * (1 - x) + c * x) / DISTANCE_STEPS


@_kernel  # type: ignore[untyped-decorator]
def _march(ox, oy, oz, dx, dy, dz, start, end, size, first, distance):  # type: ignore[no-untyped-def]
    """Where a ray meets the surface between two depths, coming from outside; -1 if it does not."""
    step = 1 / max(np.sqrt(dx * dx + dy * dy + dz * dz), 1e-12)  # depth a spacing
    t, outside, last, last_t = start, False, 0.0, start
    for _ in range(_STEPS):
        d = _distance(ox + t * dx, oy + t * dy, oz + t * dz, size, first, distance)
        if d < _TOUCH:
            if outside:
                if d < 0:  # it went a little too far: the surface lies between this place and the last
                    t = last_t + (t - last_t) * last / (last - d)
                return t if t < end else -1.0
            d = max(-d, 0.3)  # inside from the start, as a camera in a wall: go on until outside
        else:
            outside, last, last_t = True, d, t
        t += max(d, _LEAST_STEP) * step
        if t >= end:
            return -1.0
    return -1.0


@_kernel  # type: ignore[untyped-decorator]
def _slope(x, y, z, size, first, distance):  # type: ignore[no-untyped-def]
    """The gradient of the distance."""
    e = 0.5
    gx = _distance(x + e, y, z, size, first, distance) - _distance(x - e, y, z, size, first, distance)
    gy = _distance(x, y + e, z, size, first, distance) - _distance(x, y - e, z, size, first, distance)
    gz = _distance(x, y, z + e, size, first, distance) - _distance(x, y, z - e, size, first, distance)
    return gx, gy, gz


@_kernel  # type: ignore[untyped-decorator]
def _normal(x, y, z, size, first, normal):  # type: ignore[no-untyped-def]
    """The stored normal at a place in a volume's grid, mixed between the eight samples around; not of unit length."""
    x = min(max(x, 0.0), size[0] - 1.001)
    y = min(max(y, 0.0), size[1] - 1.001)
    z = min(max(z, 0.0), size[2] - 1.001)
    i, j, k = int(x), int(y), int(z)
    x, y, z = x - i, y - j, z - k
    nx, ny, nz = 0.0, 0.0, 0.0
    for a in range(2):
        for b in range(2):
            for c in range(2):
                at = first + ((i + a) * size[1] + j + b) * size[2] + k + c
                share = (x if a else 1 - x) * (y if b else 1 - y) * (z if c else 1 - z)
                nx += share * normal[at, 0]
                ny += share * normal[at, 1]
                nz += share * normal[at, 2]
    return nx, ny, nz
