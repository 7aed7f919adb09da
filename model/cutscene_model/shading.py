"""Deferred shading of one greybox in two passes, compiled: what ``surface`` says in tensors, which training needs.

Materials first, then, once faces are painted over them, light. They agree with the tensors to 1e-5 (tested).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from cutscene_model.bands import in_bands, kernel
from cutscene_model.primitives import HEAD_PART
from cutscene_model.raycast import Rays
from cutscene_model.scene import MAX_CAST, FloatArray
from cutscene_model.surface import GLOW
from cutscene_model.volumes import GLOWS, UNTINTED

_BRIGHTEST = 2.0  # linear, of what is brought to display values here
_STEPS = 2048
_PER_ROOT = np.float32(_STEPS / math.sqrt(_BRIGHTEST))


def _display_curve() -> FloatArray:
    """Display values (IEC 61966-2-1) by the square root of linear light: straight pieces in between are off by 3e-7."""
    linear = np.linspace(0, math.sqrt(_BRIGHTEST), _STEPS + 1) ** 2
    curve = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.append(curve, curve[-1]).astype(np.float32)


_DISPLAY = _display_curve()


def paint(
    slot: npt.NDArray[np.uint8],
    sample: npt.NDArray[np.int32],
    samples: npt.NDArray[np.uint8],
    linear: FloatArray,
    tint: FloatArray,
    plain: FloatArray,
    albedo: FloatArray,
    glows: FloatArray,
) -> None:
    """Fills ``albedo`` (n, 3), linear, and ``glows`` (n,), 0 or 1.

    ``slot`` and ``sample`` (n,) are what is shown; ``samples`` (m, 4) the volumes' paint; ``linear`` (256,) light by
    display level; ``tint`` and ``plain`` (65, 3) by slot.
    """
    given = (slot, sample, samples, linear, tint, plain)
    in_bands(len(slot), lambda first, last: _paint(first, last, *given, albedo, glows), len(slot))


def light_cells(
    slot: npt.NDArray[np.uint8],
    part: npt.NDArray[np.uint8],
    field: FloatArray,
    light_at: int,
    albedo: FloatArray,
    glows: FloatArray,
    background: FloatArray,
    shaded: FloatArray,
    cells: FloatArray,
) -> None:
    """Fills ``shaded`` (3, n), -1 to 1, and ``cells`` (n, 16), the features that the first layer reads.

    ``field`` (C, n) is the greybox's, whose irradiance begins at channel ``light_at``; ``background`` (3,) is -1 to 1.
    """
    given = (slot, part, field, light_at, albedo, glows, background, _DISPLAY)
    in_bands(len(slot), lambda first, last: _light(first, last, *given, shaded, cells))


def contrasted(shaded: FloatArray, contrast: float) -> npt.NDArray[np.bool_]:
    """(H, W): which cells differ by more than this in some colour from one of the eight around.

    ``shaded`` (3, H, W) is -1 to 1, so that colours differ by 2 at most.
    """
    cells = np.zeros(shaded.shape[1:], np.bool_)
    in_bands(len(cells), lambda first, last: _contrasted(first, last, shaded, np.float32(contrast), cells))
    return cells


def light_pixels(
    rays: Rays,
    slot: npt.NDArray[np.uint8],
    field: FloatArray,
    light_at: int,
    albedo: FloatArray,
    glows: FloatArray,
    background: FloatArray,
    coarse: FloatArray,
    coarse_slot: npt.NDArray[np.uint8],
    block: npt.NDArray[np.int32],
    lacking: FloatArray,
) -> None:
    """Fills ``lacking`` (b, 48), nil before: by how much pixels differ from their cells' colours in ``coarse``
    (3, H, W), which shows ``coarse_slot`` (H, W).

    The pixels are those of ``rays``, n of a raster of (2 H, 2 W), four for every cell that has any. Each is shaded as
    ``light_cells`` shades cells. ``block`` (H / 2, W / 2) is where in ``lacking`` a block of 4 x 4 pixels stands; there
    a pixel's channel is that of space-to-depth, colour by colour.
    """
    given = (rays.columns, rays.starts, slot, field, light_at, albedo, glows, background, _DISPLAY, coarse, coarse_slot)
    in_bands(len(block), lambda first, last: _light_pixels(first, last, *given, block, lacking), len(rays))


@kernel
def _paint(first, last, slot, sample, samples, linear, tint, plain, albedo, glows):  # type: ignore[no-untyped-def]
    for at in range(first, last):
        who, which = slot[at], sample[at]
        glows[at] = 0
        if which < 0:
            for color in range(3):
                albedo[at, color] = plain[who, color]
            continue
        flags = samples[which, 3]
        if flags & GLOWS:
            glows[at] = 1
        for color in range(3):
            value = linear[samples[which, color]]
            albedo[at, color] = value if flags & UNTINTED else value * tint[who, color]


@kernel
def _display(linear, curve):  # type: ignore[no-untyped-def]
    place = np.sqrt(linear) * _PER_ROOT
    index = np.int32(place)
    return curve[index] + (place - index) * (curve[index + 1] - curve[index])


@kernel
def _light(  # type: ignore[no-untyped-def]
    first, last, slot, part, field, light_at, albedo, glows, background, curve, shaded, cells
):
    zero, one, two = np.float32(0), np.float32(1), np.float32(2)
    for at in range(first, last):
        who = slot[at]
        cell = cells[at]
        for color in range(3):
            own = albedo[at, color]
            light = two * field[light_at + color, at] + np.float32(GLOW) * glows[at]
            seen = background[color]
            if who > 0:
                seen = _display(min(max(own * light, zero), one), curve) * two - one
            shaded[color, at] = seen
            cell[color] = seen
            cell[3 + color] = _display(min(max(own, zero), one), curve)
            cell[6 + color] = _display(min(max(light, zero), two), curve)
            cell[9 + color] = field[4 + color, at]
        cell[12] = 4 * field[0, at]
        cell[13] = who > 0
        cell[14] = 0 < who <= MAX_CAST
        cell[15] = part[at] == HEAD_PART


@kernel
def _contrasted(first_row, last_row, shaded, contrast, cells):  # type: ignore[no-untyped-def]
    """Compares every cell with four of its neighbours, and marks both; the other four compare themselves with it."""
    height, width = cells.shape
    for row in range(first_row, last_row):
        for column in range(width):
            for i, j in ((row, column + 1), (row + 1, column - 1), (row + 1, column), (row + 1, column + 1)):
                if i < height and 0 <= j < width:
                    most = np.float32(0)
                    for color in range(3):
                        most = max(most, abs(shaded[color, i, j] - shaded[color, row, column]))
                    if most > contrast:
                        cells[row, column] = cells[i, j] = True


@kernel
def _beside_nothing(slot, row, column):  # type: ignore[no-untyped-def]
    for i in range(max(row - 1, 0), min(row + 2, slot.shape[0])):
        for j in range(max(column - 1, 0), min(column + 2, slot.shape[1])):
            if slot[i, j] == 0:
                return True
    return False


@kernel
def _light_pixels(  # type: ignore[no-untyped-def]
    first_row, last_row, columns, starts, slot, field, light_at, albedo, glows, background, curve, coarse, coarse_slot,
    block, lacking,
):  # fmt: skip
    zero, one, two = np.float32(0), np.float32(1), np.float32(2)
    for i in range(2 * first_row, 2 * last_row):
        upper, lower = starts[2 * i], starts[2 * i + 1]
        for before in range(0, lower - upper, 2):
            j = columns[upper + before] >> 1
            # Past the edge of everything there is the background; a ray that found nothing within its limits, where
            # all around is something, tells nothing.
            bare = _beside_nothing(coarse_slot, i, j)
            out = lacking[block[i >> 1, j >> 1]]
            for pixel in range(4):
                ray = before + (pixel & 1) + (lower if pixel >> 1 else upper)
                place = 4 * (2 * (i & 1) + (pixel >> 1)) + 2 * (j & 1) + (pixel & 1)
                for color in range(3):
                    seen = background[color] if bare else coarse[color, i, j]
                    if slot[ray] > 0:
                        light = two * field[light_at + color, ray] + np.float32(GLOW) * glows[ray]
                        seen = _display(min(max(albedo[ray, color] * light, zero), one), curve) * two - one
                    out[16 * color + place] = seen - coarse[color, i, j]
