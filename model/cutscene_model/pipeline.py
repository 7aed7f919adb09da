"""Frames that follow one another, made side by side: one is decoded, the next drawn, and the two after it prepared.

Each runs on a thread of its own and does its arithmetic there, so that four frames keep two cores busy where one
frame's small operations, each shared out among two cores, would leave them waiting for one another. Preparing is the
longest stage, and depends on no other frame, so two are prepared at a time. Every frame comes out as it would alone:
the stages share nothing but what the frame before left in the timeline.

A stage that takes hardly longer than waking a thread up is done by whoever asks for it; so is one beside which whoever
asks would have as little to do.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from cutscene_model.engine import Pixels, Timeline
from cutscene_model.scene import SceneState

AHEAD = 2  # frames that are prepared at a time
Result = TypeVar("Result")


QUICK_US = 250  # what a stage may take that is not worth a thread's waking up
SURE = 8  # times, of which the middle says how quick it is: one that had to wait for a core says nothing


@dataclass(frozen=True, slots=True)
class Prepared:
    """A frame's first stage, done."""

    value: Any  # for ``Timeline.draw`` and ``decode``
    started_us: int  # of the machine's monotonic clock
    took_us: int


class Pipeline:
    """The threads of the first and the last stage. The caller's own does what is between them."""

    def __init__(self) -> None:
        self._first = ThreadPoolExecutor(AHEAD, thread_name_prefix="prepare")
        self._last = ThreadPoolExecutor(1, thread_name_prefix="decode")
        self._preparing: deque[Future[Prepared]] = deque(maxlen=AHEAD)  # what was asked for last
        self._finishing: Future[Any] | None = None
        self._prepare_us: deque[int] = deque(maxlen=SURE)  # what it took
        self._finish_us: deque[int] = deque(maxlen=SURE)
        self._beside_us: deque[int] = deque(maxlen=SURE)

    def prepare(self, timeline: Timeline, state: Callable[[], SceneState], tier: str) -> Future[Prepared]:
        """Prepares a frame of ``state()``, beside one that was asked for before."""
        if _is_quick(self._prepare_us) and self._nothing_prepares():
            return _done(partial(self._prepare, timeline, state, tier))
        self._preparing.append(self._first.submit(self._prepare, timeline, state, tier))
        return self._preparing[-1]

    def prepare_now(self, timeline: Timeline, state: Callable[[], SceneState], tier: str) -> Prepared:
        """The same for a caller who would wait for it: on its own thread, if nothing else is being prepared."""
        if self._nothing_prepares():
            return self._prepare(timeline, state, tier)
        return self.prepare(timeline, state, tier).result()

    def finish(self, work: Callable[[], Result], beside_us: int | None = None) -> Future[Result]:
        """Does ``work``, a decode and what follows from it, once all that was handed over before is done.
        ``beside_us``: what the caller itself does for a frame, and could do meanwhile for another; None: not known.
        """
        if beside_us is not None:
            self._beside_us.append(beside_us)
        quick = _is_quick(self._finish_us) or _is_quick(self._beside_us)
        if quick and (self._finishing is None or self._finishing.done()):
            return _done(partial(self._timed, work))
        self._finishing = finishing = self._last.submit(self._timed, work)
        return finishing

    def play(self, timeline: Timeline, states: Sequence[SceneState], tier: str) -> Iterator[Pixels]:
        """Draws ``states`` one after the other as the timeline's next frames; yields their pixels in order."""
        waiting = deque(partial(states.__getitem__, place) for place in range(len(states)))
        preparing: deque[Future[Prepared]] = deque()
        decoding: Future[Pixels] | None = None
        for _ in states:
            while waiting and len(preparing) < AHEAD:
                preparing.append(self.prepare(timeline, waiting.popleft(), tier))
            prepared = preparing.popleft().result().value
            if waiting:
                preparing.append(self.prepare(timeline, waiting.popleft(), tier))
            latent = timeline.draw(prepared, tier).latent
            decoded, decoding = decoding, self.finish(partial(timeline.decode, prepared, latent))
            timeline.commit()
            if decoded is not None:
                yield decoded.result()
        if decoding is not None:
            yield decoding.result()

    def close(self) -> None:
        """Ends the threads once what was asked of them is done."""
        self._first.shutdown()
        self._last.shutdown()

    def _nothing_prepares(self) -> bool:
        return all(asked.done() for asked in self._preparing)

    def _prepare(self, timeline: Timeline, state: Callable[[], SceneState], tier: str) -> Prepared:
        started_us = now_us()
        value = timeline.prepare(state(), tier)
        took_us = now_us() - started_us
        self._prepare_us.append(took_us)
        return Prepared(value, started_us, took_us)

    def _timed(self, work: Callable[[], Result]) -> Result:
        started_us = now_us()
        result = work()
        self._finish_us.append(now_us() - started_us)
        return result


def _done(work: Callable[[], Result]) -> Future[Result]:
    """What came of work that is done here and now."""
    done: Future[Result] = Future()
    try:
        done.set_result(work())
    except Exception as error:
        done.set_exception(error)
    return done


def _is_quick(took_us: deque[int]) -> bool:
    # A copy: another thread may add to it meanwhile.
    return len(took_us) == SURE and sorted(took_us.copy())[SURE // 2] < QUICK_US


def now_us() -> int:
    """Microseconds of the machine's monotonic clock, which all processes share."""
    return time.monotonic_ns() // 1000
