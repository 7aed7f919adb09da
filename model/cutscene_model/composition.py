"""The decoder's last step in one pass, compiled: every pixel's mixture of the colours around it, as bytes.

What ``Decoder.forward`` ends with in tensors, which training needs, this does for one picture on the CPU without
writing any of it to memory in between. The two round to the same level of 255, or to neighbours (tested).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cutscene_model.bands import in_bands, kernel
from cutscene_model.decoder import CHOICES, PLACES
from cutscene_model.grading import TERMS
from cutscene_model.scene import FloatArray
from cutscene_model.surface import CELL, LEVEL_CELL

Terms = npt.NDArray[np.float32] | npt.NDArray[np.uint16]
_SPAN = CELL * LEVEL_CELL  # pixels along a cell of the finest level
_PIXELS = _SPAN**2
_LOG2_E = np.float32(1.4426950408889634)
# 2**f for f in -0.5 to 0.5: the first terms of its Taylor series, off by 2e-6 of the value at most.
_POWERS = tuple(np.float32(np.log(2) ** n / f) for n, f in enumerate((1, 1, 2, 6, 24, 120)))
_NO_BLOCK, _NO_PIXELS = np.empty((0, 0), np.int32), np.empty((0, 3 * _PIXELS), np.float32)
_TOPS, _LEFTS = (tuple(int(p[axis]) for p in PLACES) for axis in (0, 1))


def compose(
    logits: Terms,
    detail: Terms,
    shaded: FloatArray,
    background: FloatArray,
    block: npt.NDArray[np.int32] = _NO_BLOCK,
    lacking: FloatArray = _NO_PIXELS,
    grade: FloatArray | None = None,
) -> npt.NDArray[np.uint8]:
    """Pixels (288, 512, 3) of one picture.

    ``logits`` (72, 128, CHOICES * 16) and ``detail`` (72, 128, 3 * 16) as the decoder's last layers leave them, their
    channels last: float32, or the bits of bfloat16 as uint16. ``shaded`` (3, 144, 256) and ``background`` (3,) are
    the surface's, -1 to 1; ``lacking`` (n, 3 * 16) what pixels lack in their cells' colours, by blocks, and ``block``
    (72, 128) where there each block stands, -1 where nothing is lacking. ``grade`` (3, TERMS): see ``grading``.
    """
    rows, columns = logits.shape[:2]
    pixels = np.empty((rows * _SPAN, columns * _SPAN, 3), np.uint8)
    around = np.pad(shaded, ((0, 0), (1, 1), (1, 1)), mode="edge")
    laid = np.zeros((3, TERMS), np.float32) if grade is None else grade
    given = (logits, detail, around, background, block, lacking, len(lacking) > 0, laid, grade is not None)
    in_bands(rows, lambda first, last: _compose(first, last, *given, pixels))
    return pixels


@kernel
def _compose(  # type: ignore[no-untyped-def]
    first_row, last_row, logits, detail, around, background, block, lacking, lacks, grade, has_grade, pixels
):
    weights = np.empty((CHOICES, _PIXELS), np.float32)
    whole = np.empty((CHOICES, _PIXELS), np.int32)
    powers = whole.view(np.float32)
    total = np.empty((3, _PIXELS), np.float32)
    given, added = np.empty(CHOICES * _PIXELS, np.float32), np.empty(3 * _PIXELS, np.float32)
    share = np.empty(_PIXELS, np.float32)
    for row in range(first_row, last_row):
        for column in range(logits.shape[1]):
            _widen(logits[row, column], given)
            _widen(detail[row, column], added)
            # A channel is (choice, pixel of the greybox cell, greybox cell), the last the fastest.
            for lane in range(_PIXELS):
                most = given[lane]
                for choice in range(1, CHOICES):
                    most = max(most, given[choice * _PIXELS + lane])
                share[lane] = most
            for choice in range(CHOICES):
                for lane in range(_PIXELS):
                    power = max((given[choice * _PIXELS + lane] - share[lane]) * _LOG2_E, np.float32(-80))
                    nearest = np.rint(power)
                    weights[choice, lane] = power - nearest
                    whole[choice, lane] = (np.int32(nearest) + 127) << 23  # the bits of 2**nearest
            share[:] = 0
            for choice in range(CHOICES):
                for lane in range(_PIXELS):
                    f = weights[choice, lane]
                    s = _POWERS[4] + f * _POWERS[5]
                    s = _POWERS[1] + f * (_POWERS[2] + f * (_POWERS[3] + f * s))
                    weight = powers[choice, lane] * (_POWERS[0] + f * s)
                    weights[choice, lane] = weight
                    share[lane] += weight
            for color in range(3):
                for lane in range(_PIXELS):
                    total[color, lane] = weights[CHOICES - 1, lane] * background[color]
            if lacks and block[row, column] >= 0:
                own = lacking[block[row, column]]
                for color in range(3):
                    for lane in range(_PIXELS):
                        i, j = _pixel(lane)
                        total[color, lane] += weights[0, lane] * own[_PIXELS * color + _SPAN * i + j]
            for choice in range(CHOICES - 1):
                top, left = 2 * row + _TOPS[choice], 2 * column + _LEFTS[choice]
                for color in range(3):
                    # What the four greybox cells of the cell see, one after the other; each is that of every fourth.
                    a, b = around[color, top, left], around[color, top, left + 1]
                    c, d = around[color, top + 1, left], around[color, top + 1, left + 1]
                    for lane in range(_PIXELS):
                        upper, lower = b if lane & 1 else a, d if lane & 1 else c
                        total[color, lane] += weights[choice, lane] * (lower if lane & 2 else upper)
            for color in range(3):
                for lane in range(_PIXELS):
                    total[color, lane] = total[color, lane] / share[lane] + added[color * _PIXELS + lane]
            if has_grade:
                _lay_grade(grade, total)
            for color in range(3):
                for lane in range(_PIXELS):
                    value = total[color, lane]
                    level = np.rint((min(max(value, np.float32(-1)), np.float32(1)) + 1) * np.float32(127.5))
                    i, j = _pixel(lane)
                    pixels[_SPAN * row + i, _SPAN * column + j, color] = np.uint8(level)


@kernel
def _lay_grade(grade, colors):  # type: ignore[no-untyped-def]
    """What ``grading.graded`` does to pictures, to the ``colors`` (3, n) of some pixels."""
    for lane in range(colors.shape[1]):
        r, g, b = colors[0, lane], colors[1, lane], colors[2, lane]
        for color in range(3):
            k = grade[color]
            straight = k[0] * r + k[1] * g + k[2] * b + k[9]
            squares = k[3] * (r * r) + k[4] * (g * g) + k[5] * (b * b)
            colors[color, lane] += straight + squares + k[6] * (r * g) + k[7] * (g * b) + k[8] * (b * r)


@kernel
def _widen(terms, out):  # type: ignore[no-untyped-def]
    """Numbers as float32, whose upper half bfloat16 is."""
    bits = out.view(np.uint32)
    for place in range(len(out)):
        if terms.itemsize == 2:
            bits[place] = np.uint32(terms[place]) << np.uint32(16)
        else:
            out[place] = terms[place]


@kernel
def _pixel(lane):  # type: ignore[no-untyped-def]
    """The row and column of a channel's pixel within its cell of the finest level."""
    return 2 * ((lane >> 1) & 1) + (lane >> 3), 2 * (lane & 1) + ((lane >> 2) & 1)
