"""Whether an inference process hangs: it has been asked for something, and nothing comes of it. No I/O, no clock.

A process takes what it is asked for in order. So what it was asked for first of all that it has not answered is what it
is at, however much lies behind that, and a process that answers this, late or not, does not hang. Answers to what came
later say nothing: one of its threads may go on while another one stands still for ever.

Only time in which somebody looked counts. If the front end itself was stopped, or came late to its looks, then answers
may lie there unread, and the process may have been stopped as well.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

LOOKS = 8  # within the limit, so that a hung process is noticed no later than a quarter of it after its end
MOST_PERIOD_US = 1_000_000


class Question(NamedTuple):
    """What a process was asked for, as far as its answer tells."""

    kind: Literal["draw", "begin", "encode"]
    number: int  # the slot of a frame, the key of a session that is begun, the number of a picture
    generation: int = 0  # of a session that is begun


class HangWatch:
    """What one process was asked for and has not answered. To be looked at once in ``period_us``."""

    def __init__(self, limit_us: int) -> None:
        """``limit_us``: how long a process may be at one thing; 0: for ever."""
        self.period_us = min(limit_us // LOOKS, MOST_PERIOD_US)
        self._limit_us = limit_us
        self._asked: dict[Question, None] = {}  # in their order
        self._first: Question | None = None  # as the last look found it
        self._looked_us = 0
        self._waited_us = 0  # for an answer to that one

    def ask(self, question: Question) -> None:
        """The process is asked for something that it will answer."""
        self._asked[question] = None

    def answer(self, question: Question) -> None:
        """The process has answered. Whether for good or ill is all the same."""
        self._asked.pop(question, None)
        if question == self._first:  # the same may be asked for again before the next look
            self._first = None

    def look(self, now_us: int) -> Question | None:
        """What the process hangs at; None: it does not hang, as far as one can see."""
        passed_us, self._looked_us = now_us - self._looked_us, now_us
        first = next(iter(self._asked), None)
        if first is None or first != self._first:
            self._first, self._waited_us = first, 0
            return None
        self._waited_us += min(passed_us, 2 * self.period_us)
        return first if 0 < self._limit_us <= self._waited_us else None
