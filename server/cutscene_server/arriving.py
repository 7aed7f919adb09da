"""What an inference process has told and nobody has dealt with yet, in its order; frames among it are being encoded.

Frames of different sessions that are encoded already are handed out together, to be stored together.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass

from cutscene_server.picture import Encoded
from cutscene_server.registry import SessionRecord
from cutscene_server.session_log import DrawnFigures
from cutscene_server.turns import DrawOrder
from cutscene_server.worker_messages import Fact

MOST_AT_ONCE = 32  # frames: the first of them waits until the last is stored


@dataclass(frozen=True, slots=True)
class Arrived:
    """A frame that came back from the model."""

    record: SessionRecord
    order: DrawOrder
    generation: int  # of the session's orders
    figures: DrawnFigures
    latent: bytes  # raw float16; empty if it is shown again
    encoding: asyncio.Future[Encoded] | None  # None: nobody wants it any more

    @property
    def encoded(self) -> bool:
        """Whether there is nothing to wait for any more."""
        return self.encoding is None or self.encoding.done()

    @property
    def picture(self) -> Encoded | BaseException | None:
        """Of a frame that is ``encoded``: its picture, or why there is none; None: nobody wants it any more."""
        if self.encoding is None:
            return None
        return self.encoding.exception() or self.encoding.result()


class Arriving:
    """See the module's docstring. What it holds is bounded by ``step``, which orders nothing while too much waits."""

    def __init__(self) -> None:
        self._told: deque[Fact | Arrived | None] = deque()
        self._more = asyncio.Event()

    def put(self, told: Fact | Arrived | None) -> None:
        """None: there will be no more."""
        self._told.append(told)
        self._more.set()

    async def next(self) -> Fact | list[Arrived] | None:
        """The next fact, or the next frames, at most one of each session; None at the end."""
        while not self._told:
            self._more.clear()
            await self._more.wait()
        told = self._told.popleft()
        if not isinstance(told, Arrived):
            return told
        if told.encoding is not None and not told.encoded:
            with contextlib.suppress(Exception):  # is the picture's to tell
                await told.encoding
        frames = [told]
        keys = {told.record.key}
        while self._told and len(frames) < MOST_AT_ONCE:
            following = self._told[0]
            if not isinstance(following, Arrived) or not following.encoded or following.record.key in keys:
                break
            keys.add(following.record.key)
            frames.append(following)
            self._told.popleft()
        return frames
