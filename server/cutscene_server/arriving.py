"""What an inference process has told and nobody has dealt with yet, in its order.

Frames of different sessions are handed out together, to be stored together.
"""

from __future__ import annotations

import asyncio
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
    picture: Encoded


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
        frames = [told]
        keys = {told.record.key}
        while self._told and len(frames) < MOST_AT_ONCE:
            following = self._told[0]
            if not isinstance(following, Arrived) or following.record.key in keys:
                break
            keys.add(following.record.key)
            frames.append(following)
            self._told.popleft()
        return frames
