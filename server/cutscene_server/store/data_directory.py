"""A data directory's lock, which keeps a second process out, and its format, which keeps another version out."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from cutscene_server.store.errors import StoreFormatError, StoreInUseError

FORMAT = 1


def sync_directory(directory: Path) -> None:
    """Makes the names in a directory durable, as fsync(2) asks for."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def empty_directory(directory: Path) -> None:
    """Makes the directory, or removes the files that a crash left in it."""
    directory.mkdir(mode=0o700, exist_ok=True)
    for left in directory.iterdir():
        left.unlink()


def lock(directory: Path) -> int:
    """Takes the directory for this process. The lock is held until the descriptor that is returned is closed, by
    whoever or whatever closes it; the file stays."""
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise StoreInUseError(f"{directory} is open in process {owner or '(unknown)'}") from None
    except OSError:
        os.close(descriptor)
        raise
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def check_format(directory: Path) -> None:
    """Writes the format into a new directory; raises ``StoreFormatError`` for a directory of another one."""
    path = directory / "format"
    if path.exists():
        found = path.read_bytes()[:80].decode("ascii", "replace").strip()
    elif (directory / "catalogue.sqlite").exists():
        found = "none"
    else:
        written = directory / "format.new"
        with written.open("wb") as file:
            file.write(f"{FORMAT}\n".encode())
            file.flush()
            os.fsync(file.fileno())
        written.rename(path)
        sync_directory(directory)
        return
    if found != str(FORMAT):
        raise StoreFormatError(f"{directory} has format {found}; this server reads and writes format {FORMAT}")
