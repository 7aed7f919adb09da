"""A session's clock: when each state's time comes, and when its frame is due.

State ``k`` of a turn has its time at ``start + k / fps``, where a turn starts when it is received, or, if the turn
before it is not over by then, when that one is. A frame is not begun before its state's time, and it is due one frame
time and ``latency`` after it: what a client that shows frames at a steady rate must hold back is ``latency`` plus one
frame, and a frame that is later than that is a miss.

A viewer who had to wait does not get the time back. So where every state is drawn, the clock stands still with them:
whatever comes after a late frame is due that much later, and deadlines never pile up behind one another. (Where the
latest state wins, the clock goes on and states are passed over instead: see ``passed_over``.)
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Cadence:
    """The clock of one session. Times are microseconds of any one clock."""

    fps: float
    latency_us: int
    next_us: int = 0  # the time of the next state, if its turn was received before that
    period_us: int = field(init=False)

    def __post_init__(self) -> None:
        if not self.fps > 0.0:
            raise ValueError(f"fps is {self.fps}, which is not positive")
        if self.latency_us < 0:
            raise ValueError(f"latency_us is {self.latency_us}, which is negative")
        self.period_us = round(1e6 / self.fps)

    def release_us(self, known_us: int) -> int:
        """When the next state's time comes, given since when it could be drawn at all."""
        return max(self.next_us, known_us)

    def due_us(self, known_us: int) -> int:
        """When the next state's frame is due."""
        return self.release_us(known_us) + self.period_us + self.latency_us

    def take(self, known_us: int, now_us: int) -> None:
        """The next state is drawn now. If that is after its frame was due, the clock has stood still meanwhile."""
        late_us = max(0, now_us - self.due_us(known_us))
        self.next_us = self.release_us(known_us) + late_us + self.period_us

    def passed_over(self, known_us: int, now_us: int) -> int:
        """How many states have been overtaken: those after which another one's time has come as well."""
        return max(0, now_us - self.release_us(known_us)) // self.period_us

    def skip(self, known_us: int, states: int) -> None:
        """So many states are not drawn; the next one's time is that much later."""
        self.next_us = self.release_us(known_us) + states * self.period_us
