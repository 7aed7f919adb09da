"""The clock that the server's times are of: the machine's monotonic one, which all of its processes share."""

from __future__ import annotations

import time


def now_us() -> int:
    """Microseconds since some moment before this machine's processes began. It never goes back."""
    return time.monotonic_ns() // 1000
