"""Samples how late the event loop comes to its timers: what any delivery waits beyond its own work."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable

from cutscene_server.observer import Observer
from cutscene_server.registry import SessionRecord

PERIOD_S = 0.025  # uvloop's timers count whole milliseconds, so a sample may be off by one
TICKS_A_COUNT = 200  # every session is looked at once in so many samples, which is 5 s


@contextlib.asynccontextmanager
async def sampling(observer: Observer, sessions: Iterable[SessionRecord]) -> AsyncIterator[None]:
    """Tells the observer the loop's lag, and every now and then the sessions, while the block lasts."""
    task = asyncio.create_task(_sample(observer, sessions))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _sample(
    observer: Observer, sessions: Iterable[SessionRecord], clock: Callable[[], int] = time.monotonic_ns
) -> None:
    while True:
        if observer.counts_sessions:
            observer.sessions_counted(sessions)
        for _ in range(TICKS_A_COUNT):
            due_ns = clock() + round(1e9 * PERIOD_S)  # the loop's own clock stands still while a callback runs
            await asyncio.sleep(PERIOD_S)
            observer.loop_lagged(max(0, clock() - due_ns) // 1000)
