"""Work on rows of a raster, shared out among threads, and how the kernels that do it are compiled."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from typing import Any

import numba

from cutscene_model.beside import beside

_BANDS = 4  # of rows; several a thread, for some rows are empty and some crowded
_FEW = 8192  # places, on which work takes no longer than sharing it out
kernel: Any = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})


def in_bands(height: int, work: Callable[[int, int], object], places: int | None = None) -> None:
    """Has ``work(first_row, last_row)`` done for bands that make up ``height`` rows, by the caller and another thread.

    The caller takes bands as well: if it slept meanwhile, two threads would be woken, which as often as not share a
    core at first (the raster of a frame took 9 or 14 ms, and takes 8.5).

    If there are few ``places`` to work on in these rows, the caller's thread does all at once.
    """
    if places is not None and places < _FEW:
        work(0, height)
        return
    bands = deque(itertools.pairwise(height * band // _BANDS for band in range(_BANDS + 1)))

    def work_on() -> None:
        while bands:
            try:
                first, last = bands.popleft()
            except IndexError:  # the other thread was quicker
                return
            work(first, last)

    finish = beside(work_on)
    try:
        work_on()
    finally:
        finish()
