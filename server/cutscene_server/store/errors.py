"""What a store fails at, as one tree. A call that makes no sense (a frame out of order) is a ``ValueError`` instead.

StoreError
    StoreFormatError      the directory is of another version, or not a store's
    StoreInUseError       another process has the store open
    StoreLostError        another owner took the store over; this one must stop
    StoreFailedError      the disk or the catalogue refused (input/output error): the call did not take place
        StoreFullError    as there is no room
    StoreDamagedError     what is read is not what was written; other sessions go on
    UnknownSessionError   there is no such session, or no longer
"""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # the disk is full, or a quota, or what one file may have


class StoreError(Exception):
    """The root of what a store fails at."""


class StoreFormatError(StoreError):
    """The directory was written in another version of the format."""


class StoreInUseError(StoreError):
    """Another process has the store open."""


class StoreLostError(StoreError):
    """Another owner opened the store since: nothing more is written through this one."""


class StoreFailedError(StoreError):
    """The disk or the catalogue refused. The call did not take place and may be tried again."""


class StoreFullError(StoreFailedError):
    """There is no room on the disk."""


def refused(place: Path, error: OSError | sqlite3.Error) -> StoreFailedError:
    """What to raise where the disk or the catalogue refused."""
    if isinstance(error, OSError):
        full = error.errno in NO_ROOM
    else:  # sqlite3's own errors, of its misuse, have no code
        full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return (StoreFullError if full else StoreFailedError)(f"{place}: {error}")


class StoreDamagedError(StoreError):
    """A session's frame, which was durable once, cannot be read."""

    def __init__(self, session_id: str, frame_index: int, path: Path, reason: str) -> None:
        super().__init__(f"session {session_id}, frame {frame_index}: {reason} ({path})")
        self.session_id = session_id
        self.frame_index = frame_index
        self.path = path


class UnknownSessionError(StoreError):
    """There is no session with this id."""
