"""Those who only look at a session: each has a short queue of frames, and none of them can hold anything up.

Backpressure policy, "latest wins": a frame that finds a watcher's queue full takes the place of the oldest one in it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from cutscene_server.errors import NoRoom
from cutscene_server.session_log import FrameReady

MOST_WATCHERS = 64  # of one session
MOST_WAITING = 8  # frames that a watcher may be behind


class Watchers:
    """The watchers of one session."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[FrameReady | None]] = set()
        self._latest: FrameReady | None = None

    def __len__(self) -> int:
        return len(self._queues)

    def show(self, frame: FrameReady) -> None:
        """A frame is finished."""
        self._latest = frame
        for queue in self._queues:
            _put(queue, frame)

    def end(self) -> None:
        """No more frames will come."""
        for queue in self._queues:
            _put(queue, None)

    def forget_latest(self) -> None:
        """Nobody will come to see it."""
        self._latest = None

    @contextlib.contextmanager
    def joined(self) -> Iterator[asyncio.Queue[FrameReady | None]]:
        """The latest frame, if there is one, then every further one that there is time for, then None. Whoever watches
        has joined before the first of them is taken, however long that is. Raises ``NoRoom``.
        """
        if len(self._queues) >= MOST_WATCHERS:
            raise NoRoom(f"at most {MOST_WATCHERS} watch one session")
        queue: asyncio.Queue[FrameReady | None] = asyncio.Queue(MOST_WAITING)
        self._queues.add(queue)
        if self._latest is not None:
            _put(queue, self._latest)
        try:
            yield queue
        finally:
            self._queues.discard(queue)


def _put(queue: asyncio.Queue[FrameReady | None], frame: FrameReady | None) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(frame)
