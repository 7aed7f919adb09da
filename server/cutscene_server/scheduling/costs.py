"""What a frame of each tier takes of an inference process, learned from the frames that it drew.

Frames overlap in the process: one is decoded while the next is drawn and those after it prepared. What another frame
costs is therefore not how long it takes but by how much it puts off the one behind it: the time from the finish before
to its own, if it was under way for long enough before that. A frame that had the process to itself does not show it: it
would have cost no less than its longest stage and no more than it took, and until overlapping frames say more the
middle of the two is believed.

The estimate is a high quantile of the last such times, since what is promised on it must hold when the machine is
having a bad minute. What was learned in one does not stand for ever, though: a tier that was left for a cheaper one
because the machine was slow is drawn no more, and would never be seen to have become faster. So it holds for
``FRESH_US``. After that a tier is expected to cost what it did at its best, times as much as the tiers that are being
drawn now cost over what they did at theirs. If none is, all is as it was last, but no slower than ``USUAL`` allows: a
process that is refused everybody is not measured either. Before a tier's first frame, its best is what the process
found out when it rehearsed, times the model's own word for that tier. What is expected stands for the frames that are
missing to ``ENOUGH``, so that a process's first ones do not decide alone.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

REMEMBERED = 64  # frames of each tier
ENOUGH = 8  # frames of one kind among those remembered, from which on they speak for themselves
QUANTILE = 0.75
USUAL = 1.25  # of what it did at its best: as much as a frame may well cost of a machine that has no bad minute
FRESH_US = 30_000_000  # since a tier's last frame: how long what was learned of it holds


@dataclass(slots=True)
class _Learned:
    """What is known of a tier's frames."""

    observed: deque[tuple[bool, int]] = field(default_factory=deque)  # whether overlapped, and its microseconds
    ordered: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))  # the same, by kind
    last_us: int = 0  # when the last of them was finished
    best_us: float = math.inf  # the lowest estimate of enough frames that there ever was

    def add(self, overlapped: bool, us: int, finished_us: int) -> None:
        if not self.is_fresh(finished_us):
            self.observed.clear()
            self.ordered = [], []
        if len(self.observed) == REMEMBERED:
            kind, oldest_us = self.observed.popleft()
            del self.ordered[kind][bisect_left(self.ordered[kind], oldest_us)]
        self.observed.append((overlapped, us))
        insort(self.ordered[overlapped], us)
        self.last_us = finished_us
        self.best_us = min(self.best_us, self.measured_us())

    def is_fresh(self, now_us: int) -> bool:
        return bool(self.observed) and now_us - self.last_us < FRESH_US

    def measured_us(self) -> float:
        """What the frames themselves say; infinite if there are not enough of them."""
        return min((_quantile(us) for us in self.ordered if len(us) >= ENOUGH), default=math.inf)


class CostModel:
    """The costs of one inference process, by tier."""

    def __init__(self, work: Mapping[str, float], prior_us: int) -> None:
        """``work``: what a frame of each tier takes, of one of the default tier, as the model's manifest says;
        ``prior_us``: what one of that tier took when nobody was there.
        """
        if not work:
            raise ValueError("a cost model needs at least one tier")
        self._prior_us = {tier: prior_us * share for tier, share in work.items()}
        self._learned = {tier: _Learned() for tier in work}
        self._finished_us = 0
        self._known: dict[str, tuple[int, int]] = {}  # a cost, and until when it holds if nothing is observed

    def observe(self, tier: str, started_us: int, finished_us: int, longest_us: int) -> None:
        """A frame was begun and finished then, and its longest stage took ``longest_us``.

        Frames are told in the order in which they were finished.
        """
        before_us, self._finished_us = self._finished_us, finished_us
        if finished_us <= max(started_us, before_us):
            return  # shown again, or clocks that do not say anything
        took_us = finished_us - max(started_us, before_us)
        overlapped = 2 * (before_us - started_us) >= took_us  # less than that, and much of it was not put off
        us = took_us if overlapped else (took_us + min(took_us, longest_us)) // 2
        self._learned[tier].add(overlapped, us, finished_us)
        self._known.clear()

    def cost_us(self, tier: str, now_us: int) -> int:
        """What a frame is expected to take of the process, at least 1. ``now_us``: of the clock of ``observe``."""
        known = self._known.get(tier)
        if known is None or now_us >= known[1]:
            fresh = [learned.last_us + FRESH_US for learned in self._learned.values() if learned.is_fresh(now_us)]
            cost_us = max(1, round(self._estimate_us(tier, now_us)))
            self._known[tier] = known = cost_us, min(fresh, default=now_us + FRESH_US)
        return known[0]

    def _estimate_us(self, tier: str, now_us: int) -> float:
        learned = self._learned[tier]
        if not learned.is_fresh(now_us):
            return self._expected_us(tier, now_us)
        if (measured_us := learned.measured_us()) < math.inf:
            return measured_us
        missing = [self._expected_us(tier, now_us)] * (ENOUGH - len(learned.observed))
        return _quantile(sorted([us for _, us in learned.observed] + missing))

    def _expected_us(self, tier: str, now_us: int) -> float:
        """What the tier would cost by what is known of others, and of its own past."""
        slowness = [self._slowness(other) for other, learned in self._learned.items() if learned.is_fresh(now_us)]
        if not any(slowness):  # nothing is drawn now, or hardly anything yet
            past = self._slowness(tier) or max(map(self._slowness, self._learned))
            slowness = [min(past, USUAL)]
        return self._base_us(tier) * (max(slowness) or 1.0)

    def _slowness(self, tier: str) -> float:
        """What the last frames of a tier cost over what it did at its best; 0: there are not enough of them."""
        measured_us = self._learned[tier].measured_us()
        return measured_us / self._base_us(tier) if measured_us < math.inf else 0.0

    def _base_us(self, tier: str) -> float:
        """The tier's cost at its best: its own, or by the model's word what those that were drawn say it would be."""
        if (best_us := self._learned[tier].best_us) < math.inf:
            return best_us
        bests = [
            learned.best_us / self._prior_us[other]
            for other, learned in self._learned.items()
            if learned.best_us < math.inf
        ]
        return self._prior_us[tier] * max(bests, default=1.0)


def _quantile(ordered: list[float] | list[int]) -> float:
    return float(ordered[math.floor(QUANTILE * (len(ordered) - 1))])
