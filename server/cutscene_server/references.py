"""Reference pictures to what a session keeps of them, a part of its stage.

Pictures are decoded in a thread and seen by the model in an inference process. From there on there is only what it sees
in them, which is stored, forked, replayed and moved with the stage: no other server has to see a picture alike.

Backpressure policy, "one at a time": one session's pictures are in hand, a few more sessions wait, others are refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from cutscene_model.manifest import Manifest
from cutscene_server import reference_picture, worker_messages
from cutscene_server.crew import Crew
from cutscene_server.errors import EngineFailed, NoRoom, NotServing

MOST_WAITING = 16  # sessions, with up to 4 MiB of pictures each
MOST_CRASHES = 2  # inference processes that may end while they see a picture: it is not shown to a third
POLL_S = 0.05


class References:
    """See the module's docstring."""

    def __init__(self, crew: Crew, require_serving: Callable[[], Manifest]) -> None:
        """``require_serving`` raises ``NotServing`` if nothing is played here any more."""
        self._crew = crew
        self._require_serving = require_serving
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="references")
        self._in_hand = asyncio.Lock()
        self._waiting = 0

    def close(self) -> None:
        """Begins nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def added(self, packed_stage: bytes, pictures: Sequence[bytes], path: str = "open.references") -> bytes:
        """The stage with what the model sees in ``pictures``. ``path``: where a client said them.

        Raises ``InvalidRequest``, ``NoRoom``, ``NotServing``, ``EngineFailed``.
        """
        if not pictures:
            return packed_stage
        if self._waiting == MOST_WAITING:
            raise NoRoom(f"{MOST_WAITING} sessions with reference pictures are being opened already")
        self._waiting += 1
        try:
            async with self._in_hand:
                fields = [f"{path}[{index}].data" for index in range(len(pictures))]
                seen = [await self._seen(data, field) for data, field in zip(pictures, fields, strict=True)]
        finally:
            self._waiting -= 1
        return worker_messages.with_references(packed_stage, seen)

    async def _seen(self, data: bytes, field: str) -> bytes:
        model, loop = self._require_serving(), asyncio.get_running_loop()
        pixels = await loop.run_in_executor(
            self._thread, reference_picture.decode, data, model.width, model.height, field
        )
        seen = await self._encoded(pixels)
        if len(seen) != model.reference_bytes or not np.isfinite(np.frombuffer(seen, "<f2")).all():
            raise EngineFailed(f"{field}: the model can make nothing of this picture")
        return seen

    async def _encoded(self, pixels: bytes) -> bytes:
        for _ in range(MOST_CRASHES):
            while not (inference := self._crew.roomiest()).at_work:
                self._require_serving()
                await asyncio.sleep(POLL_S)  # until another process is at work: rare, and takes seconds
            try:
                return await inference.encode(pixels)
            except NotServing:  # the process ended, for this picture or for another reason
                self._require_serving()
        raise EngineFailed("inference processes ended while they saw a reference picture")
