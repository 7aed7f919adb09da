"""Memory that was freed, back to the system.

glibc keeps what is freed for what comes next. Pictures come and go in their hundreds, and one that stays can hold all
pages below it: after a crowd of clients that left raw pictures unread, 130 MB of 200 MB were free and still the
process's. A fixed threshold for mappings of their own would give each picture back at once, but the pages of each copy
would have to be made anew: 0.3 ms for 0.4 MB, where it is 0.02 ms as they are.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable


def give_back() -> bool:
    """Gives back every page that holds nothing. Whether there was one; False also where the C library has no such call.

    Takes milliseconds, without the interpreter lock: for a thread beside the event loop's.
    """
    trim = _trim()
    return trim is not None and bool(trim(0))


@functools.cache
def _trim() -> Callable[[int], int] | None:
    """``malloc_trim`` is glibc's own (man malloc_trim)."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library; Windows has no None
        return None
    trim.argtypes, trim.restype = [ctypes.c_size_t], ctypes.c_int
    return trim
