"""The inference processes: started, replaced when they end, and given the sessions that they draw.

A session is drawn by one process. If that one ends, of itself or because it hangs and is killed (``worker_link``), its
sessions move to the others at once, or, if it was the only one, wait for the next; either way they are taken up from
what is stored, and nobody misses a frame. A session that seems to be what ends processes, or hangs them, is closed. It
is suspected if its frame was being drawn, unless somebody else killed the process: a fault in drawing does not do that,
and whoever does may well hit the same session's frame twice.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from cutscene_model.manifest import Manifest
from cutscene_server import worker_messages
from cutscene_server.archive import Archive
from cutscene_server.config import ServerConfig
from cutscene_server.errors import NotServing, ServerError
from cutscene_server.hang_watch import Question
from cutscene_server.inference import Inference
from cutscene_server.observer import Observer
from cutscene_server.registry import SessionRecord, SessionRegistry
from cutscene_server.session import Session

log = logging.getLogger("cutscene_server")

MOST_RESTARTS = 5  # of one inference process, within RESTART_WINDOW_S: then it is not started again
RESTART_WINDOW_S = 60.0
MOST_CRASHES = 2  # inference processes that may end of themselves, or hang, at one session's work: it gets no third
MOST_NAMED = 8  # things that a hung process had been given, in the log


class Work(Protocol):
    """What is done with a process while it lives: see ``step``."""

    async def schedule(self, inference: Inference) -> None:
        """Gives the process orders for as long as it lives."""

    async def deliver(self, inference: Inference) -> None:
        """Takes what the process tells, until it is gone."""


class Host(Protocol):
    """What the crew needs of whoever owns the sessions."""

    def change(self, key: int, change: Callable[[Session], None]) -> None:
        """Lets something happen to a session."""

    def let_go(self, record: SessionRecord, failure: Exception) -> None:
        """A session leaves memory, for what is stored of it could not be read."""

    def moved(self, record: SessionRecord, left: Inference) -> None:
        """A session is drawn by another process from now on."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Does what nobody waits for."""

    def note_end(self, task: asyncio.Task[Any]) -> None:
        """A task of the step has ended."""


class Crew:
    """See the module's docstring."""

    def __init__(
        self,
        config: ServerConfig,
        sessions: SessionRegistry,
        archive: Archive,
        host: Host,
        on_health: Callable[[bool], None],
        observer: Observer,
    ) -> None:
        """``on_health`` is told when no process is at work any more, and when one is again."""
        self.all = [Inference(number, config) for number in range(config.workers)]
        self.lost = False  # whether there is no process at work, and will not be one
        self._sessions = sessions
        self._archive = archive
        self._host = host
        self._on_health = on_health
        self._observer = observer
        self._window = 0
        self.gone: set[int] = set()  # numbers of processes that are not started again

    async def start(self) -> Manifest:
        """Starts every process. Raises ``NotServing`` if one cannot load the model."""
        log.info("loading the model; at its first start on a machine it is compiled, which takes a minute")
        manifests = await asyncio.gather(*[inference.start() for inference in self.all])
        self._window = manifests[0].window
        for inference in self.all:
            inference.at_work = True
        return manifests[0]

    async def stop(self) -> None:
        await asyncio.gather(*[inference.link.stop() for inference in self.all])

    def of(self, record: SessionRecord) -> Inference:
        """Who draws for a session."""
        return self.all[record.inference]

    def roomiest(self) -> Inference:
        """Who has promised least, and of those who draws for the fewest sessions."""
        counts = [0] * len(self.all)
        for record in self._sessions:
            counts[record.inference] += not record.session.closed
        able = [inference for inference in self.all if inference.at_work] or self.all
        return min(able, key=lambda inference: (round(inference.places.load, 3), counts[inference.number]))

    async def supervise(self, inference: Inference, work: Work) -> None:
        """Keeps a process at work, and brings its sessions back after it is lost."""
        restarts: deque[float] = deque(maxlen=MOST_RESTARTS)
        while True:
            schedule = asyncio.create_task(work.schedule(inference))
            schedule.add_done_callback(self._host.note_end)
            try:
                await work.deliver(inference)
            finally:
                schedule.cancel()
                await asyncio.gather(schedule, return_exceptions=True)
            inference.at_work = False
            if not any(other.at_work for other in self.all):
                self._on_health(False)
            self._tell_end(inference)
            self._void_orders(inference)
            self._move_away(inference)
            await inference.link.stop()
            if not await self._replace(inference, restarts):
                self.gone.add(inference.number)
                if len(self.gone) == len(self.all):
                    self.lost = True
                return
            inference.at_work = True
            self._on_health(True)
            self._take_up_all(inference)

    def _tell_end(self, inference: Inference) -> None:
        number, link = inference.number, inference.link
        if link.hang is None:
            log.critical("inference process %d has ended (%s)", number, link.exit_text)
            return
        self._observer.inference_hung()
        log.critical(
            "inference process %d hung and was killed: %s; it had been given %s (%s)",
            number, link.hang, self._at_hand(inference), link.exit_text,
        )  # fmt: skip

    def _at_hand(self, inference: Inference) -> str:
        """What a process was asked for and had not done; what it hung at comes first."""
        things = {
            Question("draw", slot): f"frame {order.frame_index} of session {record.session_id}"
            for slot, (record, order) in inference.orders.items()
        }
        for key, generation in inference.beginning:
            if record := self._sessions.by_key(key):
                things[Question("begin", key, generation)] = f"taking up session {record.session_id}"
        texts = ["a reference picture"] * inference.encoding
        if inference.link.hung_at in things:
            texts.insert(0, things.pop(inference.link.hung_at))
        texts += things.values()
        more = [f"{len(texts) - MOST_NAMED} things more"] * (len(texts) > MOST_NAMED)
        return ", ".join(texts[:MOST_NAMED] + more) or "nothing"

    async def _replace(self, inference: Inference, restarts: deque[float]) -> bool:
        """Another process. False if too many have ended in too short a time."""
        while True:
            now = time.monotonic()
            if len(restarts) == MOST_RESTARTS and now - restarts[0] < RESTART_WINDOW_S:
                return False
            restarts.append(now)
            try:
                await inference.replace()
            except NotServing as error:
                if inference.link.hang is not None:
                    self._observer.inference_hung()
                log.critical("%s", error)
                await inference.link.stop()
            else:
                self._observer.inference_restarted(inference.number)
                log.warning("another inference process %d is at work", inference.number)
                return True

    def _void_orders(self, inference: Inference) -> None:
        """What the lost process was drawing will be drawn again, unless it seems to be what ends these processes."""
        for key in self._suspects(inference):
            if record := self._sessions.by_key(key):
                record.crashes += 1
        inference.void_orders()
        for record in self._sessions:
            if record.inference != inference.number:
                continue
            if record.crashes >= MOST_CRASHES and not record.session.closed:
                record.log.error("has ended %d inference processes, or hung them; it is closed", record.crashes)
                self._host.change(record.key, Session.fail)
            else:
                self._host.change(record.key, Session.lose)

    def _suspects(self, inference: Inference) -> set[int]:
        """The sessions, by their keys, of which one may be what ended a process."""
        link = inference.link
        if link.hung_at is not None and link.hung_at.kind != "draw":
            return {link.hung_at.number} if link.hung_at.kind == "begin" else set()
        # A picture that it saw meanwhile is as likely the cause, and is given up by itself (``references``).
        if link.ended_from_outside or inference.encoding:
            return set()
        return {record.key for record, _ in inference.orders.values()}

    def _move_away(self, inference: Inference) -> None:
        """Sessions of a lost process go to the others, if there are any."""
        if not any(other.at_work for other in self.all):
            return
        for record in self._sessions:
            if record.inference == inference.number:
                other = self.roomiest()
                record.inference = other.number
                self._host.moved(record, inference)
                record.log.warning("moves to inference process %d", other.number)
        for other in self.all:
            if other.at_work:
                self._take_up_all(other)

    def _take_up_all(self, inference: Inference) -> None:
        for record in self._sessions:
            if record.inference == inference.number and (
                record.session.attachment is not None or record.session.has_work
            ):
                self.begin(record)

    # ---- taking up a session ----------------------------------------------------------------------------------------

    def begin(self, record: SessionRecord) -> None:
        """Has the process take up a session from what is stored, if it is not doing so already. While it is being
        replaced nothing is asked of it: then its successor takes up whoever is there, and would do so twice.
        """
        inference, mark = self.of(record), (record.key, record.session.generation)
        if not inference.at_work:
            return
        if mark not in inference.beginning and not record.session.begun:
            inference.beginning.add(mark)
            self._host.spawn(self._send_begin(inference, record, mark))

    def end_beginning(self, inference: Inference, key: int, generation: int, change: Callable[[Session], None]) -> None:
        """The process has taken up a session, or could not."""
        inference.beginning.discard((key, generation))
        if self.is_current(key, generation):
            self.take_fact(key, change)

    def take_fact(self, key: int, change: Callable[[Session], None]) -> None:
        """Lets something happen to a session that a process told of, and that may have ended meanwhile."""
        record = self._sessions.by_key(key)
        if record is not None and (not record.session.closed or change is Session.begin):
            self._host.change(key, change)

    def is_current(self, key: int, generation: int) -> bool:
        """Whether the session is there, and has neither gone back nor lost its process since that generation."""
        record = self._sessions.by_key(key)
        return record is not None and record.session.generation == generation

    async def _send_begin(self, inference: Inference, record: SessionRecord, mark: tuple[int, int]) -> None:
        """Reads what is stored and sends it, a few sessions at a time and only as fast as the process reads: it is by
        far the most that a process is ever sent, and is not to wait in memory here.
        """
        async with inference.begins:
            await inference.link.taken()
            if self.is_current(*mark) and mark in inference.beginning:
                await self._read_and_send(inference, record, mark)
            else:
                inference.beginning.discard(mark)

    async def _read_and_send(self, inference: Inference, record: SessionRecord, mark: tuple[int, int]) -> None:
        session = record.session
        durable = session.durable_frame
        past: list[Any] = []
        try:
            for frame in await self._archive.stored_frames(record, max(0, durable - self._window), durable):
                if frame.cut_before:
                    past.clear()
                past.append([frame.frame_index, frame.packed_state, frame.latent])
        except ServerError as error:
            record.log.error("cannot be taken up: %s", error)
            inference.beginning.discard(mark)
            if self.is_current(*mark):
                self._host.let_go(record, error)
            return
        if not self.is_current(*mark):  # it left memory, or went back: the process is not told, and will not answer
            inference.beginning.discard(mark)
        elif mark in inference.beginning:
            terms = session.terms
            inference.link.send(
                worker_messages.Begin(
                    *mark, record.packed_stage, terms.seed, durable, past, record.session_id,
                    terms.codec.value, terms.jpeg_quality, terms.pixel_digest.value,
                )
            )  # fmt: skip
