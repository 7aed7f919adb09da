"""Log lines on their way out: a thread writes them, and nobody who logs ever waits for whoever reads the log.

Standard error is often a pipe, and a pipe that nobody empties stops its writer. So lines wait in a queue of bounded
length, and what finds it full is dropped, counted, and told of as one line where the gap is. What comes again and again
word for word (a client may come and go in a tight loop) is told a few times a minute, and counted beyond that.
"""

from __future__ import annotations

import copy
import logging
import logging.handlers
import os
import queue
import select
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

MOST_LINES = 2000  # that wait to be written
MOST_REPEATS = 5  # of one line within REPEATS_WINDOW_S
REPEATS_WINDOW_S = 60.0
MOST_REMEMBERED = 256  # different lines: of more than these, the one that was first told longest ago is forgotten


class LineQueue(logging.handlers.QueueHandler):
    """A handler that formats lines where they are logged, and has a thread write them to a file descriptor.

    The standard library's ``QueueListener`` is not used: to stop it is to wait for its last line without a limit.
    """

    def __init__(
        self, descriptor: int, most_lines: int = MOST_LINES, now: Callable[[], float] = time.monotonic
    ) -> None:
        """``now`` is in seconds."""
        self._lines: queue.Queue[logging.LogRecord | None] = queue.Queue(most_lines)
        super().__init__(self._lines)
        self.dropped = 0  # lines that found the queue full, since the start
        self._gap = 0  # of these, the ones that have not been told of
        self._most_lines = most_lines
        self._repeats = Repeats(now)
        self._writer = threading.Thread(target=self._write, args=(descriptor,), name="log lines", daemon=True)
        self._writer.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Never waits, and never raises: as in any handler, a line that cannot be formatted is told of on its own."""
        try:
            lines = self._repeats.passed(record)
        except Exception:
            self.handleError(record)
            return
        for line in lines:
            super().emit(line)

    def enqueue(self, record: logging.LogRecord) -> None:
        """Puts a formatted line into the queue. After a gap only once half of it is written, so that a reader who is
        slow sees lines and gaps in turn, rather than as many gaps as lines.
        """
        if self._gap and self._lines.qsize() <= self._most_lines // 2:
            self._lines.put_nowait(self._gap_line())
        try:
            if self._gap:
                raise queue.Full
            self._lines.put_nowait(record)
        except queue.Full:
            self._gap += 1
            self.dropped += 1

    def stop(self, seconds: float) -> None:
        """Writes what waits, but gives up after so long. What is logged later is not written."""
        ends_s = time.monotonic() + seconds
        self.acquire()
        try:
            for line in self._repeats.rest():
                super().emit(line)
            if self._gap:
                self._lines.put(self._gap_line(), timeout=seconds)
            self._lines.put(None, timeout=max(0.0, ends_s - time.monotonic()))
        except queue.Full:
            return
        finally:
            self.release()
        self._writer.join(max(0.0, ends_s - time.monotonic()))

    def _gap_line(self) -> logging.LogRecord:
        text = f"{self._gap} lines were dropped here: whoever reads this log is too slow"
        self._gap = 0
        line = logging.LogRecord("cutscene_server.logs", logging.WARNING, __file__, 0, text, None, None)
        return cast("logging.LogRecord", self.prepare(line))

    def _write(self, descriptor: int) -> None:
        # Not through sys.stderr: its lock would be held by this thread while it waits, and be wanted at the exit.
        while (record := self._lines.get()) is not None:
            left = memoryview(f"{record.getMessage()}\n".encode("utf-8", "backslashreplace"))
            while left:
                try:
                    left = left[os.write(descriptor, left) :]
                except BlockingIOError:  # whoever started the server made the pipe so
                    select.select([], [descriptor], [])
                except OSError:
                    break  # the reader has gone, or the disk is full: the next line may fare better


@dataclass(slots=True)
class _Told:
    line: logging.LogRecord
    since_s: float
    times: int = 1


class Repeats:
    """Lets a line pass a few times in a while, and says later how often it came beyond that."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._told: OrderedDict[tuple[str, int, str], _Told] = OrderedDict()  # the one first told longest ago first

    def passed(self, record: logging.LogRecord) -> list[logging.LogRecord]:
        """The lines to be written when this one is logged."""
        now_s, key = self._now(), (record.name, record.levelno, record.getMessage())
        lines = []
        while self._told and now_s - next(iter(self._told.values())).since_s >= REPEATS_WINDOW_S:
            lines += self._summary(self._told.popitem(last=False)[1])
        if told := self._told.get(key):
            told.times += 1
            return [*lines, record] if told.times <= MOST_REPEATS else lines
        if len(self._told) >= MOST_REMEMBERED:
            lines += self._summary(self._told.popitem(last=False)[1])
        kept = copy.copy(record)
        kept.exc_info = None  # it holds on to all that its frames know
        self._told[key] = _Told(kept, now_s)
        return [*lines, record]

    def rest(self) -> list[logging.LogRecord]:
        """What is still to be said of lines that were held back."""
        lines = [line for told in self._told.values() for line in self._summary(told)]
        self._told.clear()
        return lines

    def _summary(self, told: _Told) -> list[logging.LogRecord]:
        held_back = told.times - MOST_REPEATS
        if held_back <= 0:
            return []
        line = told.line
        line.msg = f"{line.getMessage()} ({held_back} times more within {self._now() - told.since_s:.0f} s)"
        line.args, line.created = None, time.time()
        return [line]
