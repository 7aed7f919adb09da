"""What memory the process keeps between operations: freed temporaries, and few of the operations' kernels."""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # mallopt(3)
_PRIMITIVE_CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")  # oneDNN's, and that of torch before it
PRIMITIVES_KEPT = 128


def keep_freed_memory() -> bool:
    """Has this process reuse freed memory instead of mapping it anew; returns whether the C library can do so.

    Torch on CPU allocates some megabytes for every intermediate of the greybox encoder. By default glibc maps and
    unmaps each, and the page faults cost more than the arithmetic: 17 against 10 ms a frame for that encoder, 1.76
    against 1.13 s for a training step. The process keeps its peak memory, which is what the next frame needs anyway.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl has none
        return False
    limit = 2**31 - 1
    return all(
        mallopt(parameter, value) == 1
        for parameter, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, limit), (_TOP_PAD, 64 * 2**20))
    )


def keep_few_primitives() -> None:
    """Has oneDNN, and torch's cache before it, keep ``PRIMITIVES_KEPT`` kernels and not 1024 each, unless the
    environment says how many. To be called before the first operation: both look once.

    A kernel is made for one shape and kept with memory of its own: where shapes differ from frame to frame, as those of
    marks on faces would, that is half a gigabyte in time.
    """
    for name in _PRIMITIVE_CACHES:
        os.environ.setdefault(name, str(PRIMITIVES_KEPT))
