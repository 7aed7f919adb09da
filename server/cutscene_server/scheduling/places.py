"""Admission: whose cadence was promised, and whether one more can be.

A place is a promise of so many frames a second at a session's lowest tier at least. Places are given as long as all of
them together take no more than ``CAPACITY`` of an inference process's time. The rest is for what no model of costs
foresees, and for the shares that the other ranks always get (see ``queue``).

What is promised can be kept: deadlines lie a frame time and the session's latency after a frame's release, so earliest
deadline first meets all of them if demand stays below what there is (Liu and Layland) and if the frames that are
already with the process, which nothing overtakes, take no longer than that latency.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

CAPACITY = 0.85  # of a process's time


@dataclass(frozen=True, slots=True)
class _Promise:
    fps: float
    lowest_tier: str


class Places(Generic[Key]):
    """The places of one inference process."""

    def __init__(self, cost_us: Callable[[str], int]) -> None:
        """``cost_us``: what a frame of a tier takes."""
        self._cost_us = cost_us
        self._promises: dict[Key, _Promise] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._promises

    def __iter__(self) -> Iterator[Key]:
        return iter(list(self._promises))

    def __len__(self) -> int:
        return len(self._promises)

    @property
    def load(self) -> float:
        """How much of the process's time is promised, were every session at its lowest tier. Above ``CAPACITY`` if
        frames have become dearer since: what was promised stays promised.
        """
        return sum(self._share(promise) for promise in self._promises.values())

    def fits(self, fps: float, lowest_tier: str) -> bool:
        """Whether another such session could be promised its cadence beside the others."""
        return self.load + self._share(_Promise(fps, lowest_tier)) <= CAPACITY

    def take(self, key: Key, fps: float, lowest_tier: str) -> bool:
        """Gives a session a place, if there is one or it has one. Returns whether it has."""
        if key not in self._promises:
            if not self.fits(fps, lowest_tier):
                return False
            self._promises[key] = _Promise(fps, lowest_tier)
        return True

    def give_back(self, key: Key) -> None:
        """A session needs its place no more."""
        self._promises.pop(key, None)

    def _share(self, promise: _Promise) -> float:
        return promise.fps * self._cost_us(promise.lowest_tier) / 1e6
