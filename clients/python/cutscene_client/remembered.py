"""The sessions that this user's tool has opened, and the render jobs, with their tokens: what ``cutscene replay`` finds
a recording by, and ``cutscene render --resume`` a job.

A small JSON file of each kind in the user's state directory that nobody else may read. It forgets the oldest.
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
from cutscene_client.file_lock import alone

MOST_REMEMBERED = 500


SESSIONS, RENDERS = "sessions", "renders"
"""The kinds, each in a file of that name."""

_NAMED = {SESSIONS: ("session", "recordings"), RENDERS: ("render job", "renders")}  # and the command that lists them


class UnknownRecording(CutsceneError):
    """No remembered session or job, or more than one, begins with the id that was given."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """One session, or one job."""

    session_id: str  # or the job's
    token: str = dataclasses.field(repr=False)
    server: str  # host:port
    title: str
    opened_unix_s: int


def state_file(kind: str = SESSIONS) -> Path:
    """Where they are kept (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "cutscene" / f"{kind}.json"


def remembered(kind: str = SESSIONS) -> list[Remembered]:
    """All of them, oldest first. A file that cannot be read counts as empty: it is a convenience."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        return [Remembered(**plain) for plain in json.loads(state_file(kind).read_text(encoding="utf-8"))]
    return []


def remember(session_id: str, token: str, server: str, title: str, kind: str = SESSIONS) -> None:
    """Adds a session or job. A directory that cannot be written is no reason to fail."""
    path, entry = state_file(kind), Remembered(session_id, token, server, title, int(time.time()))
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with alone(path.with_suffix(".lock")):  # two at once would each write what the other has not read
            _add(path, entry, kind)


def _add(path: Path, entry: Remembered, kind: str) -> None:
    entries = [*remembered(kind), entry][-MOST_REMEMBERED:]
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump([dataclasses.asdict(entry) for entry in entries], file)
    unfinished.replace(path)


def find(beginning: str, kind: str = SESSIONS) -> Remembered:
    """The session or job whose id begins so. Raises ``UnknownRecording``."""
    found = {entry.session_id: entry for entry in remembered(kind) if entry.session_id.startswith(beginning)}
    if len(found) != 1:
        named, command = _NAMED[kind]
        how_many = f"no remembered {named} begins" if not found else f"{len(found)} remembered {named}s begin"
        raise UnknownRecording(f"{how_many} with {beginning!r}; `cutscene {command}` lists them, or give --token")
    return next(iter(found.values()))
