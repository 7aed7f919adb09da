"""Which session's frame is drawn next. Pure logic: it sees sessions only through the question "do you want a frame?".

The policy is round robin by frame: each session that has a frame to draw gets one before any gets its second, so one
long turn never holds up another session's first frame by more than the number of sessions. Replays come after all live
sessions: whoever schedules asks for those first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")


class RoundRobin(Generic[Key]):
    """Keys in turn, starting after the one picked last."""

    def __init__(self) -> None:
        self._keys: deque[Key] = deque()

    def add(self, key: Key) -> None:
        self._keys.append(key)

    def remove(self, key: Key) -> None:
        self._keys.remove(key)

    def pick(self, wants_frame: Callable[[Key], bool]) -> Key | None:
        """The first key in turn that wants a frame; it goes to the end of the row. None if no key wants one."""
        for _ in range(len(self._keys)):
            key = self._keys[0]
            self._keys.rotate(-1)
            if wants_frame(key):
                return key
        return None
