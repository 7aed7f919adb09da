"""How long a client may leave a message unread, with one timer for many messages.

``asyncio.timeout`` around each write would make a timer for every frame of every stream, only to take it back.
"""

from __future__ import annotations

import asyncio


class WriteLimit:
    """Cancels the task that writes if a write takes too long. Belongs to one task; ``close`` it with that."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._begun: float | None = None  # when the write under way was begun, of the loop's clock
        self._task: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._exceeded = False
        self._cancelling = 0  # how often others have asked the task to end

    def begin(self) -> None:
        """A write begins, in the current task."""
        self._begun = self._loop.time()
        if self._timer is None:
            self._task = asyncio.current_task()
            self._timer = self._loop.call_later(self.seconds, self._look)

    def end(self) -> None:
        """The write is over, however it ended."""
        self._begun = None

    def was_exceeded(self) -> bool:
        """Whether it was this limit, and nothing else, that cancelled the write. To be asked once it is cancelled."""
        return self._exceeded and self._task is not None and self._task.uncancel() <= self._cancelling

    def close(self) -> None:
        """Lets go of the timer. Safe to repeat."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        if self._begun is None or self._task is None:
            return  # the next write has a timer again
        left = self._begun + self.seconds - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
            return
        self._exceeded = True
        self._cancelling = self._task.cancelling()
        self._task.cancel()
