"""What a frame of each tier takes of an inference process, learned from the frames that it drew.

Frames overlap in the process: one is decoded while the next is drawn and those after it prepared. What another frame
costs is therefore not how long it takes but by how much it puts off the one behind it: the time from the finish before
to its own, if it was under way for long enough before that. A frame that had the process to itself does not show it: it
would have cost no less than its longest stage and no more than it took, and until overlapping frames say more the
middle of the two is believed.

The estimate is a high quantile of the last such times, since what is promised on it must hold when the machine is
having a bad minute. Before the first frame there is nothing to go by, and the prior is hopeful: a server that knows
nothing takes the first session in and knows after its first frames. Tiers that were never drawn are as much dearer than
those that were as the prior says.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Mapping

REMEMBERED = 64  # frames of each tier
ENOUGH = 8  # frames of one kind among those remembered, from which on they count beside others
QUANTILE = 0.75
PRIOR_US = 20_000  # of a frame of the default tier


class CostModel:
    """The costs of one inference process, by tier."""

    def __init__(self, work: Mapping[str, float]) -> None:
        """``work``: what a frame of each tier takes, of one of the default tier, as the model's manifest says."""
        if not work:
            raise ValueError("a cost model needs at least one tier")
        self._prior_us = {tier: PRIOR_US * share for tier, share in work.items()}
        # Whether a frame was overlapped, and its microseconds.
        self._observed: dict[str, deque[tuple[bool, int]]] = {tier: deque() for tier in work}
        self._ordered: dict[str, tuple[list[int], list[int]]] = {tier: ([], []) for tier in work}  # the same, by kind
        self._finished_us = 0
        self._known: dict[str, int] = {}

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
        observed, ordered = self._observed[tier], self._ordered[tier]
        if len(observed) == REMEMBERED:
            kind, oldest_us = observed.popleft()
            del ordered[kind][bisect_left(ordered[kind], oldest_us)]
        observed.append((overlapped, us))
        insort(ordered[overlapped], us)
        self._known.clear()

    def cost_us(self, tier: str) -> int:
        """What a frame is expected to take of the process, at least 1."""
        if tier not in self._known:
            measured = self._measured_us(tier)
            self._known[tier] = max(1, round(self._scaled_prior_us(tier) if measured is None else measured))
        return self._known[tier]

    def _measured_us(self, tier: str) -> float | None:
        kinds = self._ordered[tier]
        known = [us for us in kinds if len(us) >= ENOUGH] or [us for us in kinds if us]
        return min(map(_quantile, known), default=None)

    def _scaled_prior_us(self, tier: str) -> float:
        ratios = [
            measured / self._prior_us[other]
            for other in self._prior_us
            if (measured := self._measured_us(other)) is not None
        ]
        return self._prior_us[tier] * max(ratios, default=1.0)


def _quantile(ordered: list[int]) -> float:
    return float(ordered[min(len(ordered) - 1, math.floor(QUANTILE * len(ordered)))])
