"""Threads that encode pictures for an event loop.

What ``run_in_executor`` would do as well, at less cost for each frame: a picture takes one future and not two, and
pictures that are finished together wake the loop up once.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque

from cutscene_server import picture
from cutscene_server.frame_ring import Pixels
from cutscene_server.picture import Encoded
from cutscene_server.terms import Terms

Asked = tuple[asyncio.Future[Encoded], Terms, Pixels]


class Encoders:
    """See the module's docstring. Belongs to one event loop; ``close`` it there, or once that has ended."""

    def __init__(self, threads: int) -> None:
        self._asked: queue.SimpleQueue[Asked | None] = queue.SimpleQueue()
        self._finished: deque[tuple[asyncio.Future[Encoded], Encoded | Exception]] = deque()
        self._threads = [threading.Thread(target=self._work, name=f"encode_{n}", daemon=True) for n in range(threads)]
        self._started = self._closed = False
        self._waking = False  # whether the loop is asked to look at what is finished, and has not begun to

    def encode(self, terms: Terms, pixels: Pixels) -> asyncio.Future[Encoded]:
        """A picture as it is sent. ``pixels`` may change once this is done. Raises ``RuntimeError`` if closed."""
        if self._closed:
            raise RuntimeError("no picture is encoded any more")
        if not self._started:
            self._started = True
            for thread in self._threads:
                thread.start()
        encoding: asyncio.Future[Encoded] = asyncio.get_running_loop().create_future()
        self._asked.put((encoding, terms, pixels))
        return encoding

    def close(self) -> None:
        """Ends the threads once what was asked for is encoded. Safe to repeat."""
        if self._started and not self._closed:
            for _ in self._threads:
                self._asked.put(None)
            for thread in self._threads:
                thread.join()
        self._closed = True

    def _work(self) -> None:
        while (asked := self._asked.get()) is not None:
            encoding, terms, pixels = asked
            found: Encoded | Exception
            try:
                found = picture.encode(pixels, terms.codec, terms.jpeg_quality, terms.pixel_digest)
            except Exception as error:  # of this picture: whoever waits for it is told
                found = error
            del asked, pixels  # a view of shared memory, which is let go of before the next one is waited for
            self._finished.append((encoding, found))
            if not self._waking:  # looked at after the append, as `_tell` takes it back before it looks: none is missed
                self._waking = True
                try:
                    encoding.get_loop().call_soon_threadsafe(self._tell)
                except RuntimeError:
                    return  # the loop has ended: nobody waits

    def _tell(self) -> None:
        self._waking = False
        while self._finished:
            encoding, found = self._finished.popleft()
            if encoding.done():  # whoever waited has gone
                continue
            if isinstance(found, Exception):
                encoding.set_exception(found)
            else:
                encoding.set_result(found)
