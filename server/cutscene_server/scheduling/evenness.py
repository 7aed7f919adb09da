"""When the frames of a cadence are sent, so that they come evenly although some take longer than others.

A frame that is ready early waits until most of those before it would have been ready too, counted from its time: so all
but a few have the same delay, and the time between two of them is that between their states. Those few are sent as soon
as they are ready. This is a jitter buffer at the sender's side (RFC 3550 speaks of the receiver's), with the delay that
has sufficed lately, as adaptive playout has it (Ramjee et al., INFOCOM 1994). It is forgotten within seconds, and never
more than half a frame time is waited, so that one stall does not hold up all that comes after it.
"""

from __future__ import annotations

from collections import deque

REMEMBERED_US = 3_000_000  # of frames, as near as may be
FEWEST, MOST = 8, 64  # of them
SHARE = 0.95  # of them that would have been ready in time


class Evenness:
    """Of one session. Times are microseconds of any one clock."""

    def __init__(self, period_us: int, most_us: int) -> None:
        """``period_us``: between two frames. ``most_us``: after its time, a frame waits no longer than that."""
        self._longest_us = period_us // 2
        self._most_us = most_us
        self._took_us: deque[int] = deque(maxlen=max(FEWEST, min(MOST, REMEMBERED_US // period_us)))

    def send_us(self, time_us: int, ready_us: int) -> int:
        """When the frame is sent whose time was ``time_us`` and that is ready at ``ready_us``: then, or later."""
        delay_us = 0
        if self._took_us:
            delay_us = sorted(self._took_us)[max(0, int(SHARE * len(self._took_us)) - 1)]
        self._took_us.append(ready_us - time_us)
        return max(ready_us, min(time_us + min(delay_us, self._most_us), ready_us + self._longest_us))
