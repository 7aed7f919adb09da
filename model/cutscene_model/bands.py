"""Work on rows of a raster, shared out among threads, and how the kernels that do it are compiled."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba

_WORKERS = 2  # threads that work on rows
_BANDS = 4  # of rows; several a thread, for some rows are empty and some crowded
_FEW = 8192  # places, on which work takes no longer than sharing it out
kernel: Any = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
_workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="raster")


def in_bands(height: int, work: Callable[[int, int], object], places: int | None = None) -> None:
    """Has ``work(first_row, last_row)`` done for bands that make up ``height`` rows, several at a time.

    If there are few ``places`` to work on in these rows, the caller's thread does all at once.
    """
    if places is not None and places < _FEW:
        work(0, height)
        return
    limits = [height * band // _BANDS for band in range(_BANDS + 1)]
    for done in [_workers.submit(work, first, last) for first, last in itertools.pairwise(limits)]:
        done.result()
