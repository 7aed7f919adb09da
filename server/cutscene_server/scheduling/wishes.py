"""What a session asks of the scheduler."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Rank(IntEnum):
    """Who comes first. Lower ranks get what is left, and a share that they always get: see ``queue``."""

    PACED = 0  # a cadence was promised: each frame has a deadline
    UNPACED = 1  # somebody waits, but nothing was promised
    BACKGROUND = 2  # nobody waits: replays and batch renders


@dataclass(frozen=True, slots=True)
class Wish:
    """One frame that a session would have drawn."""

    rank: Rank
    release_us: int = 0  # not to be drawn before
    due_us: int = 0  # when it is to be ready; of paced frames only
    cost_us: int = 1  # what drawing it is expected to take
