"""One inference process as the front end sees it: what is ordered of it, and which sessions are drawn there and how.

The process may end and be replaced (``crew`` sees to that). What was learned of its costs, and who has a place with it,
outlives it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from cutscene_model.engine import TIERS
from cutscene_model.manifest import Manifest
from cutscene_server import clock, worker_messages
from cutscene_server.config import ServerConfig
from cutscene_server.errors import NotServing, ServerError
from cutscene_server.scheduling import CostModel, FrameQueue, Places, TierControl
from cutscene_server.worker_link import MOST_SLOTS, PIPELINE_SLOTS, WorkerLink

if TYPE_CHECKING:
    from cutscene_server.registry import SessionRecord
    from cutscene_server.turns import DrawOrder


log = logging.getLogger("cutscene_server")

AHEAD_US = 8_000  # what orders beyond those that keep the pipeline busy may take the process
GATHER_US = 4_000  # how long frames whose time comes may wait for others, to be dealt with in one go
MOST_BEGINS = 4  # sessions whose past is read and sent at a time
GATHER_FROM = 32  # sessions that wish for a frame: of fewer, too few would come together
PRIOR_US = 20_000  # what a frame takes of a process that does not say
QUICK_US = 1_000  # what a frame's longest stage takes less than, of a process that has enough of them in that time


class Inference:
    """See the module's docstring. Sessions go by their keys."""

    costs: CostModel
    places: Places[int]
    tiers: TierControl[int]

    def __init__(self, number: int, config: ServerConfig) -> None:
        self.number = number  # of the server's inference processes, from 0
        self.link = WorkerLink(config)
        self.at_work = False
        self.queue: FrameQueue[int] = FrameQueue()
        self.work = asyncio.Event()  # set when there may be a frame to draw where there was none
        self.depth = PIPELINE_SLOTS  # orders that the process may have at once
        self.drawing = 0  # orders that it has not answered yet
        self._longest_us = QUICK_US  # what the last frame's longest stage took
        self.orders: dict[int, tuple[SessionRecord, DrawOrder]] = {}  # by slot: what is being drawn
        self._freed = asyncio.Event()  # set when there may be room for an order where there was none
        self.unlanded = 0  # orders whose frames are not in their sessions' logs yet
        self.landed = asyncio.Event()  # set when an order is in flight no more
        self.beginning: set[tuple[int, int]] = set()  # key and generation of sessions that are being begun
        self.begins = asyncio.Semaphore(MOST_BEGINS)
        self._config = config
        self._encodings: dict[int, asyncio.Future[bytes]] = {}  # reference pictures that it was given, by number
        self._encoded = 0  # how many it was given

    async def encode(self, pixels: bytes) -> bytes:
        """What the model sees in a reference picture. Raises ``NotServing`` if the process ends before that,
        ``EngineFailed``.
        """
        self._encoded += 1
        number = self._encoded
        seen: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._encodings[number] = seen
        try:
            self.link.send(worker_messages.Encode(number, pixels))
            return await seen
        finally:
            del self._encodings[number]

    def end_encoding(self, number: int, answer: bytes | ServerError) -> None:
        """The process has encoded a picture, or could not. Whoever asked may have gone."""
        seen = self._encodings.get(number)
        if seen is None or seen.done():
            return
        if isinstance(answer, ServerError):
            seen.set_exception(answer)
        else:
            seen.set_result(answer)

    @property
    def encoding(self) -> bool:
        """Whether the process has a picture to encode."""
        return any(not seen.done() for seen in self._encodings.values())

    def void_encodings(self) -> None:
        """The process has ended: what it was encoding is not known."""
        for number in list(self._encodings):
            self.end_encoding(number, NotServing("the inference process ended while it saw a reference picture"))

    async def start(self) -> Manifest:
        """Starts the process and waits until its model is loaded, and it is known what it can promise. Raises
        ``NotServing`` if it ends before that.
        """
        manifest = await self.link.start()
        frame_us = await self.link.rehearse()
        if frame_us:
            log.info(
                "%s %s is loaded; a small scene's frame takes inference process %d %.1f ms at the %s tier",
                manifest.name, manifest.version, self.number, frame_us / 1000, manifest.default_tier,
            )  # fmt: skip
        self.costs = CostModel(manifest.relative_work, frame_us or PRIOR_US)
        self.places = Places(self.cost_us)
        tiers = sorted(manifest.tiers, key=TIERS.index)
        self.tiers = TierControl(tiers, self.cost_us)
        return manifest

    def cost_us(self, tier: str) -> int:
        """What a frame is expected to take of the process now."""
        return self.costs.cost_us(tier, clock.now_us())

    async def take_slot(self) -> int:
        """A slot for one more order, once the process has few enough of them."""
        while self.drawing >= self.depth or (slot := self.link.take_slot()) is None:
            self._freed.clear()
            await self._freed.wait()
        return slot

    def order(self, slot: int, record: SessionRecord, order: DrawOrder, command: worker_messages.Draw) -> None:
        """Has the process draw a frame into the slot."""
        self.orders[slot] = record, order
        self.unlanded += 1
        self.drawing += 1
        self.link.send(command)

    def note_answer(self, longest_us: int | None = None) -> None:
        """The process has drawn a frame that was ordered, whose longest stage took so long; None: it could not.

        Orders wait with a process that is quick, so that neither side waits for the other at each of them. How many
        is found out from frame to frame, for a slow one is to have no more than keep it busy: nothing overtakes them.
        """
        self.drawing -= 1
        self._longest_us = QUICK_US if longest_us is None else longest_us
        if self.drawing == 0 or longest_us is None:
            self.depth = PIPELINE_SLOTS
        else:
            can_wait = AHEAD_US // max(1, longest_us)
            self.depth = max(PIPELINE_SLOTS, min(self.depth + 1, can_wait, MOST_SLOTS))
        self._freed.set()

    @property
    def gather_us(self) -> int:
        """How long to wait at least, once every frame whose time has come is ordered, before those are that follow.

        A frame alone wakes up as many threads as several together. Where frames are quick and sessions many, that is
        the larger part of what a frame costs; elsewhere it is not worth a moment's delay.
        """
        many = self._longest_us < QUICK_US and len(self.queue) >= GATHER_FROM
        return GATHER_US if many else 0

    def free(self, slot: int) -> None:
        """The slot is another order's to take."""
        self.orders.pop(slot, None)
        self.landed.set()
        self.link.release(slot)
        self._freed.set()

    def void_orders(self) -> None:
        """The process has ended: it draws nothing of what was ordered, and has encoded nothing that it was to."""
        self.orders.clear()
        self.unlanded = self.drawing = 0
        self.depth = PIPELINE_SLOTS
        self.void_encodings()
        self.landed.set()
        self.beginning.clear()

    async def replace(self) -> None:
        """Starts another process in place of one that has ended. Raises ``NotServing`` if that one ends as well."""
        self.link = WorkerLink(self._config)
        await self.link.start()
