"""A second thread for whoever has work that may go on beside its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")

_THREADS = 2  # one for each frame that is prepared at a time: see ``pipeline``
_threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="beside")


def beside(work: Callable[[], Result]) -> Callable[[], Result]:
    """Has ``work`` begun by another thread. What is returned gives its result, and is to be called once.

    Nobody waits for a thread that has not begun by then: where there is no core to spare, the caller does it then.
    """
    begun = _threads.submit(work)

    def finish() -> Result:
        return work() if begun.cancel() else begun.result()

    return finish
