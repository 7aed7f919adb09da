"""A disk without room, or one that fails, for as long as a block lasts: it is the system that refuses, no double."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process can be longer than it is, nor can any new one be written to."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def failing_disk(directory: Path, session_id: str) -> Iterator[None]:
    """A session that has no frames cannot have any: there is a directory where their file would be."""
    place = directory / "sessions" / session_id / "frames-0.log"
    place.mkdir(parents=True)
    yield
    place.rmdir()
