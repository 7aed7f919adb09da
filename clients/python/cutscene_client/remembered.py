"""The sessions that this user's tool has opened, with their tokens: what ``cutscene replay`` finds a recording by.

A small JSON file in the user's state directory that nobody else may read. It forgets the oldest.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from cutscene_client.errors import CutsceneError

MOST_REMEMBERED = 500


class UnknownRecording(CutsceneError):
    """No remembered session, or more than one, begins with the id that was given."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """One session."""

    session_id: str
    token: str = dataclasses.field(repr=False)
    server: str  # host:port
    title: str
    opened_unix_s: int


def state_file() -> Path:
    """Where they are kept (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "cutscene" / "sessions.json"


def remembered() -> list[Remembered]:
    """All of them, oldest first. A file that cannot be read counts as empty: it is a convenience."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        return [Remembered(**plain) for plain in json.loads(state_file().read_text(encoding="utf-8"))]
    return []


def remember(session_id: str, token: str, server: str, title: str) -> None:
    """Adds a session. A directory that cannot be written is no reason to fail."""
    entries = [*remembered(), Remembered(session_id, token, server, title, int(time.time()))][-MOST_REMEMBERED:]
    path = state_file()
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump([dataclasses.asdict(entry) for entry in entries], file)
        unfinished.replace(path)


def find(beginning: str) -> Remembered:
    """The session whose id begins so. Raises ``UnknownRecording``."""
    found = {entry.session_id: entry for entry in remembered() if entry.session_id.startswith(beginning)}
    if len(found) != 1:
        how_many = "no remembered session begins" if not found else f"{len(found)} remembered sessions begin"
        raise UnknownRecording(f"{how_many} with {beginning!r}; `cutscene recordings` lists them, or give --token")
    return next(iter(found.values()))
