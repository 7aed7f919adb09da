"""Who waits for a place, in the order they came. Nobody is overtaken: whoever is first is asked first, and alone."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class LineFull(Exception):
    """No more may wait."""


class WaitingLine(Generic[Key]):
    """A bounded first-come-first-served line."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._line: dict[Key, None] = {}  # in order of joining

    def __len__(self) -> int:
        return len(self._line)

    def __iter__(self) -> Iterator[Key]:
        return iter(list(self._line))

    def join(self, key: Key) -> None:
        """Goes to the end. Raises ``LineFull``."""
        if key in self._line:
            raise ValueError(f"{key!r} waits already")
        if len(self._line) >= self._most:
            raise LineFull
        self._line[key] = None

    def leave(self, key: Key) -> None:
        """Waits no more, because it has a place or because it gave up."""
        self._line.pop(key, None)

    @property
    def first(self) -> Key | None:
        """Whose turn it is to be asked whether there is a place."""
        return next(iter(self._line), None)

    def position(self, key: Key) -> int:
        """1 for the first. Raises ``KeyError`` for one who does not wait."""
        for position, waiting in enumerate(self._line, 1):
            if waiting == key:
                return position
        raise KeyError(key)
