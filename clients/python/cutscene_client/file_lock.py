"""One process at a time: the operating system's own lock on a file, on POSIX and on Windows.

It goes with the process that holds it, however that ends, so that no lock is ever left behind.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Holds the lock on ``path``, an empty file made if need be, which stays. Waits for another process's block to
    end; on Windows for ten seconds, then ``OSError``.
    """
    with path.open("w") as file:
        try:
            import fcntl
        except ImportError:
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined]
            try:
                yield
            finally:
                file.seek(0)  # the place from which a byte was locked
                msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined]
        else:
            fcntl.flock(file, fcntl.LOCK_EX)  # until the file is closed
            yield
