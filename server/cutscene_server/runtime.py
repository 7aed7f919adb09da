"""The whole step on one screen: schedule, run, deliver. Between the clients' streams and the inference processes.

    schedule    a slot is free and a session's frame is next: its order goes to the inference process
    (the inference process draws)
    deliver     the frame comes back: it is stored and encoded, goes to its session's log, and its stream wakes up

Both loops go on side by side for each process, so that the model draws frame N + 1 while frame N is stored, encoded and
sent. Which frame is next is for ``scheduling`` to say, who may come for ``admission``; ``crew`` keeps the processes at
work, ``tidying`` memory and disk in order.

Nothing is said before it is durable: a turn's receipt follows its being stored, and so does a frame. So neither kind of
process is missed for long. If an inference process ends, another one takes up its sessions from what is stored; if this
one does, the next server on the same data directory does so as clients come back.

Backpressure policy, "credit": a session that its client does not acknowledge is not drawn further, so its log holds at
most ``frame_credit`` frames. Of these nothing is ever dropped or overwritten. What a session with pacing "live" does
not get to draw in time is skipped before it is drawn: see ``session``.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import Any

from cutscene_model.manifest import Manifest
from cutscene_server import worker_messages
from cutscene_server.admission import Admission, TellPosition
from cutscene_server.archive import Archive
from cutscene_server.config import ServerConfig
from cutscene_server.crew import Crew
from cutscene_server.errors import NotServing, ServerError, UnknownSession
from cutscene_server.inference import Inference
from cutscene_server.registry import SessionRecord, SessionRegistry, digest_of, new_session_id, new_token
from cutscene_server.replay import Replay, Replayed, environment_of
from cutscene_server.scheduling import DEFAULT_TENANT, Tenant
from cutscene_server.session import DrawOrder, Session, Turn
from cutscene_server.store import SessionSummary
from cutscene_server.terms import Terms
from cutscene_server.tidying import Tidying
from cutscene_server.transfers import Imported, Transfers
from cutscene_server.worker_link import PIPELINE_SLOTS

log = logging.getLogger("cutscene_server")

REVIEW_S = 0.25  # between looks at tiers, places and who waits for room


class Runtime:
    """Sessions, and the step that draws them. Everything here runs on one event loop."""

    def __init__(self, config: ServerConfig, on_health: Callable[[bool], None]) -> None:
        self.config = config
        self.sessions = SessionRegistry(config.max_sessions)
        self.archive = Archive(config.data_directory, environment_of(config))
        self.crew = Crew(config, self.sessions, self.archive, self, on_health)
        self.tidying = Tidying(config, self.sessions, self.archive, self._forget)
        self.admission = Admission(config, self.sessions, self.crew, self.tidying.park_idlest)
        self.manifest: Manifest | None = None  # known once the model is loaded
        self.stopping = False
        self.drained = False  # whether nothing more is drawn, and every frame that was is in its session's log
        self._transfers = Transfers(self.archive, config.max_import, config.max_frames, self.spawn)
        self._on_health = on_health
        self._wake_ups: dict[int, Callable[[], None]] = {}  # session key -> wakes the stream attached to it
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failed = False  # whether this server's own step did

    # ---- the step ---------------------------------------------------------------------------------------------------

    async def schedule(self, inference: Inference) -> None:
        """Gives the process orders for as long as it lives."""
        while True:
            slot = await inference.link.free_slot()
            record = await self._next_session(inference)
            await self._until_blame_is_clear(inference, record)
            if not record.session.wants_frame or self.stopping:  # it closed, or went back, meanwhile
                inference.link.release(slot)
                continue
            generation, latent = record.session.generation, b""
            try:
                order = self._take_order(inference, record)
                if order.stored:
                    (frame,) = await self.archive.stored_frames(record, order.frame_index, order.frame_index + 1)
                    order = dataclasses.replace(
                        order, packed_state=frame.packed_state, tier=frame.tier, pixel_digest=frame.pixel_digest
                    )
                    latent = frame.latent
            except Exception:
                # States were checked when they came, so this is a fault here; it costs one session, not all.
                inference.link.release(slot)
                if self.crew.is_current(record.key, generation):  # else it went back while its frame was being read
                    log.exception("session %d has a frame that cannot be ordered", record.key)
                    self.crew.take_fact(record.key, Session.fail)
                continue
            inference.orders[slot] = record, order
            inference.link.send(
                worker_messages.Draw(
                    record.key, order.generation, order.frame_index, slot, order.tier, order.cut_before,
                    order.packed_state, latent,
                )
            )  # fmt: skip

    async def deliver(self, inference: Inference) -> None:
        """Takes what the process tells, until it is gone."""
        async for fact in inference.link.facts():
            match fact:
                case worker_messages.Drawn():
                    await self._deliver_frame(inference, fact)
                case worker_messages.Began(key, generation):
                    self.crew.end_beginning(inference, key, generation, Session.begin)
                case worker_messages.BeginFailed(key, generation, text):
                    log.error("session %d could not begin: %s", key, text)
                    self.crew.end_beginning(inference, key, generation, Session.fail)
                case worker_messages.DrawFailed(key, generation, slot, text):
                    self._land(inference, slot)
                    inference.link.release(slot)
                    if self.crew.is_current(key, generation):
                        log.error("session %d could not draw: %s", key, text)
                        self.crew.take_fact(key, Session.fail)

    async def _deliver_frame(self, inference: Inference, drawn: worker_messages.Drawn) -> None:
        record, order = inference.orders[drawn.slot]
        figures = worker_messages.figures_from_plain(drawn.figures)
        if not order.stored:
            longest_us = max(figures.greybox_us, figures.denoise_us, figures.decode_us)
            inference.costs.observe(figures.tier, figures.started_us, figures.finished_us, longest_us)
        try:
            if not self.crew.is_current(record.key, drawn.generation):
                return  # the session ended, or went back, while this frame was being drawn
            data, digest, encode_us = await self.archive.keep_frame(
                record, order, figures, drawn.latent, inference.link.ring.view(drawn.slot),
                ends_turn=record.session.is_end_of_turn(order.frame_index), skips=record.session.take_skips(),
            )  # fmt: skip
        except Exception:
            log.exception("session %d has a frame that cannot be stored or encoded", drawn.key)
            if self.crew.is_current(drawn.key, drawn.generation):
                self.crew.take_fact(drawn.key, Session.fail)
            return
        finally:
            self._land(inference, drawn.slot)
            inference.link.release(drawn.slot)
        record.crashes = 0
        if self.crew.is_current(record.key, drawn.generation):
            now_us, misses = _now_us(), record.session.usage.deadline_misses

            def add(session: Session) -> None:
                record.watchers.show(session.add_frame(figures, data, digest, encode_us, now_us))

            self.change(record.key, add)
            if record.session.usage.deadline_misses > misses:
                inference.tiers.note_late()

    async def _next_session(self, inference: Inference) -> SessionRecord:
        """Whose frame is next, once somebody's time has come. Nobody's, once this server is stopping."""
        while True:
            now_us = _now_us()
            while not self.stopping and (key := inference.queue.take(now_us)) is not None:
                record = self.sessions.by_key(key)
                if record is not None and record.session.wants_frame:
                    return record
            inference.work.clear()
            release_us = None if self.stopping else inference.queue.next_release_us()
            alarm = None
            if release_us is not None:
                seconds = (release_us - now_us) / 1e6
                alarm = asyncio.get_running_loop().call_later(seconds, inference.work.set)
            await inference.work.wait()
            if alarm is not None:
                alarm.cancel()

    def _take_order(self, inference: Inference, record: SessionRecord) -> DrawOrder:
        """The session's next frame, at the tier that there is time for. Its next wish goes to the queue."""
        now_us, session = _now_us(), record.session
        if inference.tiers.touch(record.key, now_us):
            self._review_tiers(inference)
        ahead_us = PIPELINE_SLOTS * inference.costs.cost_us(session.tier)
        if session.is_pressed(now_us + ahead_us):
            inference.tiers.note_late()
        order = session.take_order(now_us)
        record.worked_at = now_us / 1e6
        record.tenant.frames.take(1, now_us)
        self._offer(record)
        return order

    def _offer(self, record: SessionRecord) -> None:
        """Puts what the session wishes for in the queue."""
        inference, session = self.crew.of(record), record.session
        if session.wants_frame and not session.has_place:
            self.admission.take_place(record)
        wish = session.wish(inference.costs.cost_us(session.tier))
        if wish is None:
            inference.queue.remove(record.key)
            return
        allowed_us = record.tenant.frames.ready_us(_now_us()) if record.tenant.frames.rate else 0
        if allowed_us > wish.release_us:
            wish = dataclasses.replace(wish, release_us=allowed_us)
        inference.queue.put(record.key, wish)
        inference.work.set()

    async def _until_blame_is_clear(self, inference: Inference, record: SessionRecord) -> None:
        """Sessions that were drawn for when a process ended get one frame at a time, so that the next end tells."""
        orders = inference.orders
        while orders and (record.crashes or any(other.crashes for other, _ in orders.values())):
            inference.landed.clear()
            await inference.landed.wait()

    def _land(self, inference: Inference, slot: int) -> None:
        inference.orders.pop(slot, None)
        inference.landed.set()
        if self.stopping:
            self._note_drained()

    # ---- what clients ask for ---------------------------------------------------------------------------------------

    async def open(
        self, terms: Terms, packed_stage: bytes, tenant: Tenant, tell_position: TellPosition | None = None
    ) -> tuple[SessionRecord, str]:
        """Admits a session, stores it and has its anchors computed. Returns its token too, this once.

        ``tell_position``: waits for room, and is told each position in line. Raises ``NoRoom``, ``NotServing``,
        ``StorageFailed``.
        """
        self.tidying.check_disk()
        inference = await self.admission.enter(terms, tenant, tell_position, self.require_serving)
        token = new_token()
        record = SessionRecord(
            Session(terms), self.sessions.next_key(), new_session_id(), digest_of(token), packed_stage,
            time.time_ns() // 1000, tenant, inference.number,
        )  # fmt: skip
        self._admit(record)
        self.admission.take_place(record)
        try:
            await self.archive.create(record)
        except BaseException:
            self._forget(record)
            self.spawn(self.archive.discard(record.session_id))  # nobody knows its token
            raise
        self.crew.begin(record)
        log.info("session %d opened: %s, %s, %.3g fps, %s", record.key, terms.model, terms.tier, terms.fps,
                 terms.pacing.name.lower())  # fmt: skip
        return record, token

    def check_room(self) -> Manifest:
        """The model's manifest. Raises ``NotServing`` or ``NoRoom`` if no session could be opened now."""
        manifest = self.require_serving()
        self.tidying.check_disk()
        self.admission.check_sessions()
        return manifest

    async def find(self, session_id: str, token: str) -> SessionRecord:
        """A session in memory or on disk. Raises ``UnknownSession`` alike for an unknown id and for a wrong token."""
        return await self._find(session_id, lambda record: record.holds_token(token))

    async def find_to_watch(self, session_id: str, watch_token: str) -> SessionRecord:
        """As ``find``, for somebody who may only look."""
        return await self._find(session_id, lambda record: record.admits_watcher(watch_token))

    async def _find(self, session_id: str, admits: Callable[[SessionRecord], bool]) -> SessionRecord:
        record = self.sessions.get(session_id)
        if record is None:
            manifest = self.require_serving()
            async with self.tidying.restoring:
                record = self.sessions.get(session_id)  # another call may have brought it back meanwhile
                if record is None:
                    key = self.sessions.next_key()
                    record = await self.archive.restore(
                        session_id, admits, key, manifest.digest, self.admission.tenant(DEFAULT_TENANT)
                    )
                    record.inference = self.crew.roomiest().number
                    if self.sessions.full and not record.session.closed:
                        self.tidying.park_idlest()
                    self._admit(record)
                    log.info("session %d is back, at frame %d", record.key, record.session.ready_frame)
        if not admits(record):
            raise UnknownSession
        return record

    def attach(self, record: SessionRecord, next_frame: int, tenant: Tenant, wake: Callable[[], None]) -> int:
        """Makes a stream the session's own. The one before it is woken up, and sees that it was replaced."""
        attachment = record.session.attach(next_frame, _now_us())
        if replaced := self._wake_ups.get(record.key):
            replaced()
        self._wake_ups[record.key] = wake
        record.left_at, record.tenant = None, tenant
        if not record.session.begun and (not record.session.closed or record.session.has_work):
            self.crew.begin(record)
        self._offer(record)
        return attachment

    def detach(self, record: SessionRecord, attachment: int) -> None:
        """A stream ended. If it was the session's own, the session waits for another one."""
        if record.session.attachment != attachment:
            return
        record.session.detach(attachment)
        self._wake_ups.pop(record.key, None)
        record.left_at = time.monotonic()
        log.info("session %d detached at frame %d", record.key, record.session.ready_frame)

    async def add_turn(self, record: SessionRecord, turn: Turn) -> None:
        """Stores a turn, then queues it. Raises ``NoRoom`` if the session's cadence has no place any more."""
        self.admission.check_turn(record)
        received_us = _now_us()

        async def add() -> None:
            async with record.changing:
                placed = record.session.place_turn(turn)
                await self.archive.add_turn(record, placed, record.session.take_skips())
                self.change(record.key, lambda session: session.add_turn(turn, received_us))

        await self._whole(add())

    async def rewind(self, record: SessionRecord, frame: int) -> None:
        """Goes back: the next frame is ``frame``, in a new epoch."""

        async def go_back() -> None:
            async with record.changing:
                rewound = record.session.rewind(frame)
                await self.archive.rewind(record, frame)
                record.session.announce(rewound)
                self.crew.begin(record)
                self._offer(record)
                self._wake(record)

        await self._whole(go_back())

    async def fork(self, record: SessionRecord, frame: int) -> tuple[str, str]:
        """The id and token of a new session that has this one's frames below ``frame``. It waits on disk."""
        async with record.changing:
            fork = await self.archive.fork(record, frame)
        log.info("session %d forked at frame %d", record.key, frame)
        return fork

    async def replay(self, record: SessionRecord, wanted: Replay) -> Replayed:
        """A new session, on disk, that performs part of this recording again. Raises ``OutOfRange``, ``NoRoom``."""
        self.tidying.check_disk()
        async with record.changing:
            return await self.archive.replay(record, wanted)

    def export(self, record: SessionRecord) -> AsyncGenerator[bytes, None]:
        """A session's file, to be moved to another server. See ``Transfers.export``."""
        return self._transfers.export(record, self.require_serving())

    async def import_session(self, chunks: AsyncIterator[bytes]) -> Imported:
        """A new session, on disk, that a file brings from another server. See ``Transfers.receive``."""
        self.tidying.check_disk()
        return await self._transfers.receive(chunks, self.require_serving())

    def cut(self, record: SessionRecord) -> None:
        self.change(record.key, Session.cut)

    def acknowledge(self, record: SessionRecord, next_frame: int) -> None:
        self.change(record.key, lambda session: session.acknowledge(next_frame, _now_us()))

    def close(self, record: SessionRecord) -> None:
        """Closes once what came before is drawn."""
        self.change(record.key, Session.close)

    def end(self, record: SessionRecord) -> None:
        """Closes now. A session that is closed already stays as it is."""
        if not record.session.closed:
            self.change(record.key, Session.end)

    async def page(self, after: int, size: int) -> tuple[list[tuple[SessionSummary, int]], bool]:
        """Up to ``size`` sessions in the order of their creation, each with its next frame; and whether more follow."""
        found = await self.archive.summaries(after, size + 1)
        return found[:size], len(found) > size

    def require_serving(self) -> Manifest:
        """The model's manifest. Raises ``NotServing`` while there is no model, or no more time, to play anything."""
        if self.stopping:
            raise NotServing("the server is stopping")
        if self.lost:
            raise NotServing("the inference process has ended")
        if self.manifest is None:
            raise NotServing("the model is being loaded")
        return self.manifest

    @property
    def lost(self) -> bool:
        """Whether there is no inference process, and will not be one."""
        return self.crew.lost or self._failed

    # ---- life -------------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Loads the model, then plays until the block ends. Raises ``NotServing`` if the model cannot be loaded,
        ``ConfigError`` if the data directory cannot be used.
        """
        loops: list[asyncio.Task[None]] = []
        try:
            await self.archive.open()
            self.manifest = await self.crew.start()
            work = [self._supervise(inference) for inference in self.crew.all]
            loops = [asyncio.create_task(loop) for loop in (*work, self.tidying.run(), self._review())]
            for task in loops:
                task.add_done_callback(self.note_end)
            yield
        finally:
            self.begin_stopping()
            for task in (*loops, *self._tasks):
                task.cancel()
            await asyncio.gather(*loops, *self._tasks, return_exceptions=True)
            await self.crew.stop()
            self._transfers.close()
            await self.archive.close()

    def begin_stopping(self) -> None:
        """Takes nothing new and orders nothing more. Streams are told, and end once what is being drawn has come."""
        if self.stopping:
            return
        self.stopping = True
        for record in self.sessions:
            record.watchers.end()
        self.admission.note_change()
        self._note_drained()
        self._wake_all()

    def end_draining(self) -> None:
        """What is still being drawn is not waited for any more: the next server draws it again."""
        self.drained = True
        self._wake_all()

    @property
    def process_id(self) -> int | None:
        """The first inference process's id."""
        return self.process_ids[0]

    @property
    def process_ids(self) -> list[int | None]:
        """The inference processes' ids."""
        return [inference.link.process_id for inference in self.crew.all]

    def change(self, key: int, change: Callable[[Session], None]) -> None:
        """Lets something happen to a session, then does what follows from it."""
        record = self.sessions.by_key(key)
        if record is None:
            return
        was_closed = record.session.closed
        change(record.session)
        if record.session.closed and not was_closed:
            record.watchers.end()
            self.spawn(self._store_close(record))
            self.crew.of(record).link.send(worker_messages.End(key))
            self.admission.give_back(record)
            self.admission.note_change()
            record.left_at = None if record.session.attachment else time.monotonic()
            reason = record.session.close_reason
            log.info("session %d closed: %s", key, reason.name.lower() if reason else "")
        self._offer(record)
        self._wake(record)

    def moved(self, record: SessionRecord, left: Inference) -> None:
        """A session is drawn by another process from now on, with a place there if there is one."""
        left.queue.remove(record.key)
        self.admission.give_back(record, left)
        self.admission.take_place(record)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Does what nobody waits for."""
        self._keep(work).add_done_callback(self.note_end)

    def note_end(self, task: asyncio.Task[Any]) -> None:
        """A step that fails is this server's own fault: it stops serving rather than hang."""
        if task.cancelled() or task.exception() is None:
            return
        log.critical("the server's own step failed", exc_info=task.exception())
        self._failed = True
        self._give_up()

    async def _supervise(self, inference: Inference) -> None:
        await self.crew.supervise(inference)
        if self.crew.lost:
            self._give_up()

    async def _review(self) -> None:
        """Several times a second: are tiers as they should be, are places needed still, is there room for who waits?"""
        while True:
            await asyncio.sleep(REVIEW_S)
            for inference in self.crew.all:
                self._review_tiers(inference)
            self.admission.let_places_lapse()
            self.admission.note_change()

    def _review_tiers(self, inference: Inference) -> None:
        for change in inference.tiers.review(_now_us()):
            if record := self.sessions.by_key(change.key):
                record.session.set_tier(change.tier)
                log.info("session %d goes %s to %s", record.key, "down" if change.lower else "up", change.tier)
                self._wake(record)

    def _admit(self, record: SessionRecord) -> None:
        self.sessions.admit(record)
        record.left_at = time.monotonic()

    def _forget(self, record: SessionRecord) -> None:
        """Lets go of a session; what is stored of it stays."""
        inference = self.crew.of(record)
        self.sessions.forget(record)
        self.admission.give_back(record)
        self.admission.note_change()
        inference.queue.remove(record.key)
        inference.link.send(worker_messages.End(record.key))

    def _note_drained(self) -> None:
        if not any(inference.orders for inference in self.crew.all):
            # What has just landed is still on its way into its session's log.
            asyncio.get_running_loop().call_soon(self.end_draining)

    def _wake(self, record: SessionRecord) -> None:
        if wake := self._wake_ups.get(record.key):
            wake()

    def _wake_all(self) -> None:
        for wake in list(self._wake_ups.values()):
            wake()

    async def _store_close(self, record: SessionRecord) -> None:
        async with record.changing:
            try:
                await self.archive.close_session(record)
            except ServerError as error:  # it stays open on disk, and can be closed again
                log.error("session %d is closed, but that could not be stored: %s", record.key, error)

    async def _whole(self, work: Coroutine[Any, Any, None]) -> None:
        """Does it to its end, though whoever asked for it may be gone before that."""
        await asyncio.shield(self._keep(work))

    def _keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _give_up(self) -> None:
        if self.stopping:
            return
        log.critical("this server draws no more; its sessions wait on disk for the next one")
        self._on_health(False)
        self._wake_all()


def _now_us() -> int:
    return time.monotonic_ns() // 1000
