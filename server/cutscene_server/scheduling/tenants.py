"""What one tenant may have: sessions, frames a second, bytes a second. Rates are token buckets (as in RFC 2697)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

DEFAULT_TENANT = "default"  # of clients that name none
BURST_S = 2.0  # of a rate, that may be used at once after a pause


@dataclass(frozen=True, slots=True)
class TenantLimits:
    """Of each tenant. 0: no limit."""

    sessions: int = 0  # open and in memory at once
    frames_per_s: float = 0.0  # drawn, over all its sessions
    bytes_per_s: float = 0.0  # sent, over all its streams

    def __post_init__(self) -> None:
        for name in ("sessions", "frames_per_s", "bytes_per_s"):
            if not 0 <= getattr(self, name) < 1e15:
                raise ValueError(f"{name} is {getattr(self, name)}, which is not a number from 0")


class TokenBucket:
    """So much a second on average, and ``BURST_S`` seconds' worth of it at once; a rate of 0 has no limit.

    What is taken is taken whole, even if it is more than there is: the debt is worked off before anything else.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._burst = max(1.0, rate * BURST_S)
        self._level = self._burst
        self._at_us = 0

    def ready_us(self, now_us: int) -> int:
        """From when on there is something to be had: now, or later."""
        self._fill(now_us)
        return now_us if self._level > 0.0 or not self.rate else now_us + math.ceil(-self._level / self.rate * 1e6) + 1

    def take(self, amount: float, now_us: int) -> None:
        """Uses up so much."""
        if self.rate:
            self._fill(now_us)
            self._level -= amount

    def _fill(self, now_us: int) -> None:
        if self._at_us and now_us > self._at_us:
            self._level = min(self._burst, self._level + (now_us - self._at_us) / 1e6 * self.rate)
        self._at_us = max(self._at_us, now_us)


@dataclass(slots=True, weakref_slot=True, eq=False)
class Tenant:
    """One tenant's use of what it may have."""

    name: str
    limits: TenantLimits
    frames: TokenBucket = field(init=False)
    bytes: TokenBucket = field(init=False)

    def __post_init__(self) -> None:
        self.frames = TokenBucket(self.limits.frames_per_s)
        self.bytes = TokenBucket(self.limits.bytes_per_s)
