"""Light on the greybox, by the stage's own formula: ambient, one sun with its shadows, and small point lights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cutscene_model.bands import in_bands, kernel
from cutscene_model.primitives import Primitives
from cutscene_model.raycast import Hits, Rays, View, light_view, lower_depths
from cutscene_model.scene import FloatArray, Lights
from cutscene_model.volumes import Volumes

LIGHT_CHANNELS = (
    "sun",  # cosine to the sun where it is not shadowed
    "shadow",  # 1 where the sun reaches
    "irradiance_r", "irradiance_g", "irradiance_b",  # all lights together, linear, halved; the background's own colour
)  # fmt: skip
SHADOW_SIZE = 448
SHADOW_BIAS = 0.05  # metres
AMBIENT_UP, AMBIENT_SIDE = 0.3, 0.7  # how much of the ambient light depends on facing up
# In the kernels all is single precision: one double among their numbers would make all of it double.
_ZERO, _ONE, _TWO, _HALF, _NEAREST = (np.float32(number) for number in (0, 1, 2, 0.5, 1e-8))
_BIAS, _UP, _SIDE = np.float32(SHADOW_BIAS), np.float32(AMBIENT_UP), np.float32(AMBIENT_SIDE)


@dataclass(frozen=True, slots=True)
class Sunlight:
    """How far the sun's parallel rays reach."""

    view: View
    depth: FloatArray  # (SHADOW_SIZE, SHADOW_SIZE) metres along the view


class ShadowMap:
    """The depths of a set seen from its sun, kept for as long as the sun stands still."""

    def __init__(self, still: Primitives, volumes: Volumes) -> None:
        self._casters, self._volumes = still.subset(still.casts_shadow), volumes
        low, high = _extent(still)
        self._center = ((low + high) / 2).astype(np.float32)
        self._radius = max(float(np.linalg.norm(high - low)) / 2, 1.0)
        # The sun's direction, and the set's depths from there: one value, for several threads may ask.
        self._kept: tuple[tuple[float, float, float], FloatArray] | None = None

    def cast(self, moving: Primitives, lights: Lights) -> Sunlight:
        """The shadows of the set and of what moves."""
        view = light_view(np.asarray(lights.sun_direction, np.float32), self._center, self._radius, SHADOW_SIZE)
        kept = self._kept
        if kept is None or kept[0] != lights.sun_direction:
            still = np.full((SHADOW_SIZE, SHADOW_SIZE), np.inf, np.float32)
            lower_depths(still, self._casters, view, self._volumes)
            self._kept = kept = lights.sun_direction, still
        depth = kept[1].copy()
        lower_depths(depth, moving, view, self._volumes)
        return Sunlight(view, depth)


def _extent(primitives: Primitives) -> tuple[FloatArray, FloatArray]:
    """The lowest and highest corner of the set; a metre around the origin where there is none."""
    if not len(primitives):
        return np.full(3, -1, np.float32), np.full(3, 1, np.float32)
    middle, half = (primitives.low + primitives.high) / 2, (primitives.high - primitives.low) / 2
    center = primitives.origin + np.einsum("nij,nj->ni", primitives.to_world, middle)
    reach = (np.abs(primitives.to_world) * half[:, None]).sum(axis=-1)
    return (center - reach).min(axis=0), (center + reach).max(axis=0)


def linear_from_srgb(color: FloatArray) -> FloatArray:
    """Display values, 0 to 1, to linear light (IEC 61966-2-1)."""
    curve: FloatArray = np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4).astype(np.float32)
    return curve


def shade(
    channels: FloatArray,
    sheet: FloatArray,
    hits: Hits,
    rays: Rays,
    sheets: FloatArray,
    view: View,
    lights: Lights,
    sun: Sunlight | None,
) -> None:
    """Fills the channels (5, n) of ``LIGHT_CHANNELS``, of what n ``rays`` of ``view`` hit and where they hit nothing.

    ``sheets`` (m, 3) are world normals of sheets before primitives, nil where there is none. What light falls on them
    goes to ``sheet`` (3, n), linear, halved; elsewhere that is left as it is.
    """
    points = np.zeros((max(len(lights.points), 1), 7), np.float32)
    for row, point in enumerate(lights.points):
        points[row] = (*point.position, *point.color, point.range)
    shadow_view = view if sun is None else sun.view
    depth = np.zeros((1, 1), np.float32) if sun is None else sun.depth
    background = linear_from_srgb(np.asarray(lights.background, np.float32)) / 2
    light = (
        np.asarray(lights.ambient, np.float32), np.asarray(lights.sun_direction, np.float32),
        np.asarray(lights.sun_color, np.float32), background, points, len(lights.points),
        sun is not None, depth, shadow_view.origin, np.ascontiguousarray(shadow_view.rotation), shadow_view.half_width,
    )  # fmt: skip
    seen = (
        channels, sheet, hits.primitive, hits.depth, hits.normal, rays.columns, rays.starts, sheets,
        view.origin, np.ascontiguousarray(view.rotation), view.half_width, view.half_height, view.width,
    )  # fmt: skip
    in_bands(view.height, lambda first, last: _shade(first, last, *seen, *light), len(rays))


@kernel
def _shade(  # type: ignore[no-untyped-def]
    first_row, last_row, channels, sheet, primitive, depth, normal, columns, starts, sheets,
    eye, rotation, half_width, half_height, width, ambient, sun_direction, sun_color, background, points, point_count,
    sunny, sun_depth, sun_eye, sun_rotation, sun_half,
):  # fmt: skip
    height = len(starts) - 1
    for row in range(first_row, last_row):
        v = (_ONE - (np.float32(row) + _HALF) / np.float32(height) * _TWO) * np.float32(half_height)
        for ray in range(starts[row], starts[row + 1]):
            who = primitive[ray]
            channels[0, ray], channels[1, ray] = 0, 0
            if who < 0:
                for color in range(3):
                    channels[2 + color, ray] = background[color]
                continue
            u = ((np.float32(columns[ray]) + _HALF) / np.float32(width) * _TWO - _ONE) * np.float32(half_width)
            t = depth[ray]
            x = eye[0] + t * (rotation[0, 0] * u + rotation[0, 1] * v - rotation[0, 2])
            y = eye[1] + t * (rotation[1, 0] * u + rotation[1, 1] * v - rotation[1, 2])
            z = eye[2] + t * (rotation[2, 0] * u + rotation[2, 1] * v - rotation[2, 2])
            for layer in range(2):
                if layer == 0:
                    nx, ny, nz = normal[ray, 0], normal[ray, 1], normal[ray, 2]
                else:
                    nx, ny, nz = sheets[who, 0], sheets[who, 1], sheets[who, 2]
                    if nx == 0 and ny == 0 and nz == 0:
                        break
                level = _SIDE + _UP * ny
                r, g, b = ambient[0] * level, ambient[1] * level, ambient[2] * level
                if sunny:
                    facing = -(nx * sun_direction[0] + ny * sun_direction[1] + nz * sun_direction[2])
                    if facing > 0:  # only what faces the sun can be in its light
                        px, py, pz = x + _BIAS * nx, y + _BIAS * ny, z + _BIAS * nz
                        lit = _reached(px, py, pz, sun_depth, sun_eye, sun_rotation, np.float32(sun_half))
                        if layer == 0:
                            channels[0, ray] = facing * lit
                            channels[1, ray] = lit
                        r += facing * lit * sun_color[0]
                        g += facing * lit * sun_color[1]
                        b += facing * lit * sun_color[2]
                for p in range(point_count):
                    lx, ly, lz = points[p, 0] - x, points[p, 1] - y, points[p, 2] - z
                    squared = lx * lx + ly * ly + lz * lz
                    distance = np.sqrt(max(squared, _NEAREST))
                    fade = max(_ONE - distance / points[p, 6], _ZERO)
                    cosine = max(nx * lx + ny * ly + nz * lz, _ZERO) / distance
                    strength = fade * fade / (_ONE + squared) * cosine
                    r += strength * points[p, 3]
                    g += strength * points[p, 4]
                    b += strength * points[p, 5]
                if layer == 0:
                    channels[2, ray], channels[3, ray], channels[4, ray] = (
                        r * _HALF, g * _HALF, b * _HALF
                    )  # fmt: skip
                else:
                    sheet[0, ray], sheet[1, ray], sheet[2, ray] = (
                        r * _HALF, g * _HALF, b * _HALF
                    )  # fmt: skip


@kernel
def _reached(x, y, z, depth, eye, rotation, half):  # type: ignore[no-untyped-def]
    """How much of the sun reaches a place, 0 to 1, mixed between the four nearest of its rays."""
    size = depth.shape[0]
    x, y, z = x - eye[0], y - eye[1], z - eye[2]
    u = rotation[0, 0] * x + rotation[1, 0] * y + rotation[2, 0] * z
    v = rotation[0, 1] * x + rotation[1, 1] * y + rotation[2, 1] * z
    near = -(rotation[0, 2] * x + rotation[1, 2] * y + rotation[2, 2] * z) - _BIAS
    across, last = np.float32(size) * _HALF, np.float32(size) - np.float32(1.001)
    u = min(max((u / half + _ONE) * across - _HALF, _ZERO), last)
    v = min(max((_ONE - v / half) * across - _HALF, _ZERO), last)
    i, j = np.int32(v), np.int32(u)
    u, v = u - np.float32(j), v - np.float32(i)
    a, b = _ONE if near <= depth[i, j] else _ZERO, _ONE if near <= depth[i, j + 1] else _ZERO
    c, d = _ONE if near <= depth[i + 1, j] else _ZERO, _ONE if near <= depth[i + 1, j + 1] else _ZERO
    top, bottom = a + (b - a) * u, c + (d - c) * u
    return top + (bottom - top) * v
