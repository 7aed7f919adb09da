"""The arithmetic of frames' arrivals: time between frames, jitter, lateness, and how a limit is found. Pure.

Times are seconds of one clock. "Inter-frame time" is the time between two frames' arrivals at the client, as bytes
that have been read into a message and not yet as a picture: decoding is the viewer's own.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass


def percentile(values: Sequence[float], share: float) -> float:
    """By nearest rank (the smallest value that at least ``share`` of all do not exceed); NaN if there are none."""
    if not 0.0 < share <= 1.0:
        raise ValueError(f"share is {share}, which is not above 0 and at most 1")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def gaps(arrivals: Sequence[float], start: float = -math.inf, end: float = math.inf) -> list[float]:
    """The times between successive arrivals, of which both lie between ``start`` and ``end``."""
    kept = [arrival for arrival in arrivals if start <= arrival <= end]
    return [later - earlier for earlier, later in itertools.pairwise(kept)]


def jitter(between: Sequence[float]) -> float:
    """p99 over p50 of the times between frames: 1.0 is a metronome. NaN if there are none, or most are zero."""
    middle = percentile(between, 0.5) if between else 0.0
    return percentile(between, 0.99) / middle if middle > 0.0 else math.nan


def shown(arrivals: Sequence[float], first_shown: float, period: float) -> list[float]:
    """When a viewer shows the frames who holds the first one back until ``first_shown`` and then shows one each
    ``period``. A frame that is not there yet is shown when it comes, and those after it one period after another.
    """
    times: list[float] = []
    due = first_shown
    for arrival in arrivals:
        times.append(max(due, arrival))
        due = times[-1] + period
    return times


def lateness(arrivals: Sequence[float], first_time: float, period: float) -> list[float]:
    """By how much each frame came after its state's time: frame ``k``'s is ``first_time + k * period``."""
    return [arrival - (first_time + number * period) for number, arrival in enumerate(arrivals)]


@dataclass(frozen=True, slots=True)
class Ramp:
    """What became of sessions that were opened one after another."""

    taken: tuple[bool, ...]  # of each attempt, in order

    @property
    def limit(self) -> int:
        """How many were taken before the first refusal."""
        return self.taken.index(False) if False in self.taken else len(self.taken)

    @property
    def refused(self) -> int:
        return self.taken.count(False)

    @property
    def taken_late(self) -> int:
        """How many were taken after a first refusal: costs are learned, so room may turn up."""
        return sum(self.taken[self.limit :])


async def largest_that_holds(counts: Sequence[int], holds: Callable[[int], Awaitable[bool]]) -> int:
    """The largest of ``counts`` (ascending) that holds, given that those below one that does hold as well; 0: none.

    Asks log2(n) of them. Each answer is a measurement of its own: nothing is inferred but that order.
    """
    low, high = 0, len(counts)  # counts[:low] hold, counts[high:] do not
    while low < high:
        middle = (low + high) // 2
        if await holds(counts[middle]):
            low = middle + 1
        else:
            high = middle
    return counts[low - 1] if low else 0
