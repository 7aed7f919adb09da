"""The whole step on one screen: schedule, run, deliver. Between the clients' streams and the inference process.

    _schedule   a slot is free and a session wants a frame: its order goes to the inference process
    (the inference process draws)
    _deliver    the frame comes back: it is stored and encoded, goes to its session's log, and its stream wakes up

Both loops go on side by side, so that the model draws frame N + 1 while frame N is stored, encoded and sent. Frames are
drawn as fast as the clients' credits allow; clients show them by their presentation times.

Nothing is said before it is durable: a turn's receipt follows its being stored, and so does a frame. So neither process
is missed for long. If the inference process ends, another one takes up every session from what is stored; if this one
does, the next server on the same data directory does so as clients come back.

Backpressure policy, "credit": a session that its client does not acknowledge is not drawn further, so its log holds at
most ``frame_credit`` frames. Nothing is ever dropped or overwritten.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import Any

from cutscene_model.manifest import Manifest
from cutscene_server import worker_messages
from cutscene_server.archive import Archive
from cutscene_server.config import ServerConfig
from cutscene_server.errors import NoRoom, NotServing, ServerError, UnknownSession
from cutscene_server.logs import about
from cutscene_server.observer import Observer
from cutscene_server.registry import (
    RETRY_AFTER_S,
    SessionRecord,
    SessionRegistry,
    digest_of,
    new_session_id,
    new_token,
)
from cutscene_server.replay import Replay, Replayed, environment_of
from cutscene_server.scheduler import RoundRobin
from cutscene_server.session import DrawOrder, Session, Turn
from cutscene_server.store import Retention, SessionSummary
from cutscene_server.terms import Terms
from cutscene_server.transfers import Imported, Transfers
from cutscene_server.worker_link import WorkerLink

log = logging.getLogger("cutscene_server")

MOST_RESTARTS = 5  # of the inference process, within RESTART_WINDOW_S: then this server gives up
RESTART_WINDOW_S = 60.0
MOST_CRASHES = 2  # inference processes that may end while they draw for one session: it is not given a third


class Runtime:
    """Sessions, their scheduler and the inference process. Everything here runs on one event loop."""

    def __init__(
        self, config: ServerConfig, on_health: Callable[[bool], None], observer: Observer | None = None
    ) -> None:
        self.config = config
        self.observer = Observer() if observer is None else observer
        self.sessions = SessionRegistry(config.max_sessions)
        self.archive = Archive(config.data_directory, environment_of(config))
        self._transfers = Transfers(self.archive, config.max_import, config.max_frames, self._spawn)
        self.manifest: Manifest | None = None  # known once the model is loaded
        self.stopping = False
        self._on_health = on_health  # told when the inference process is lost, and when there is another one
        self._link = WorkerLink(config)
        self._scheduler: RoundRobin[SessionRecord] = RoundRobin()
        self._work = asyncio.Event()  # set when some session may want a frame that wanted none before
        self._wake_ups: dict[int, Callable[[], None]] = {}  # session key -> wakes the stream attached to it
        self._orders: dict[int, tuple[SessionRecord, DrawOrder]] = {}  # by slot: what the inference process draws
        self._landed = asyncio.Event()  # set when an order is in flight no more
        self._beginning: set[tuple[int, int]] = set()  # key and generation of sessions that are being begun
        self._restoring = asyncio.Lock()
        self._restarts: deque[float] = deque(maxlen=MOST_RESTARTS)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._lost = False
        self._disk_full = False

    # ---- the step ---------------------------------------------------------------------------------------------------

    async def _schedule(self) -> None:
        while True:
            slot = await self._link.free_slot()
            record = await self._next_session()
            await self._until_blame_is_clear(record)
            if not record.session.wants_frame:  # it closed, or went back, meanwhile
                self._link.release(slot)
                continue
            generation, latent = record.session.generation, b""
            try:
                order = record.session.take_order()
                if order.stored:
                    (frame,) = await self.archive.stored_frames(record, order.frame_index, order.frame_index + 1)
                    order = dataclasses.replace(
                        order, packed_state=frame.packed_state, tier=frame.tier, pixel_digest=frame.pixel_digest
                    )
                    latent = frame.latent
            except Exception:
                # States were checked when they came, so this is a fault here; it costs one session, not all.
                self._link.release(slot)
                if self._is_current(record.key, generation):  # else it went back while its frame was being read
                    record.log.exception("has a frame that cannot be ordered")
                    self._take_fact(record.key, Session.fail)
                continue
            self._orders[slot] = record, order
            self.observer.frames_ordered(1)
            self._link.send(
                worker_messages.Draw(
                    record.key, order.generation, order.frame_index, slot, order.tier, order.cut_before,
                    order.packed_state, latent,
                )
            )  # fmt: skip

    async def _deliver(self) -> None:
        """Takes what the inference process tells, until it is gone."""
        async for fact in self._link.facts():
            match fact:
                case worker_messages.Drawn():
                    await self._deliver_frame(fact)
                case worker_messages.Began(key, generation):
                    self._end_beginning(key, generation, Session.begin)
                case worker_messages.BeginFailed(key, generation, text):
                    if record := self.sessions.by_key(key):
                        record.log.error("could not begin: %s", text)
                    self._end_beginning(key, generation, Session.fail)
                case worker_messages.DrawFailed(key, generation, slot, text):
                    record, order = self._orders.pop(slot)
                    self._landed.set()
                    self._link.release(slot)
                    if self._is_current(key, generation):
                        record.log.error("could not draw: %s", text, extra=order.log_fields)
                        self._take_fact(key, Session.fail)
                case worker_messages.Counted(counters):
                    self.observer.cache_told(counters)

    async def _deliver_frame(self, drawn: worker_messages.Drawn) -> None:
        record, order = self._orders.pop(drawn.slot)
        self._landed.set()
        figures = worker_messages.figures_from_plain(drawn.figures)
        try:
            if not self._is_current(record.key, drawn.generation):
                return  # the session ended, or went back, while this frame was being drawn
            data, digest, encode_us = await self.archive.keep_frame(
                record, order, figures, drawn.latent, self._link.ring.view(drawn.slot),
                ends_turn=record.session.is_end_of_turn(order.frame_index),
            )  # fmt: skip
        except Exception:
            record.log.exception("has a frame that cannot be stored or encoded", extra=order.log_fields)
            if self._is_current(drawn.key, drawn.generation):
                self._take_fact(drawn.key, Session.fail)
            return
        finally:
            self._link.release(drawn.slot)
        record.crashes = 0
        if self._is_current(record.key, drawn.generation):
            now_us = _now_us()

            def add(session: Session) -> None:
                frame = session.add_frame(figures, data, digest, encode_us, now_us)
                record.watchers.show(frame)
                self.observer.frame_ready(record, frame, stored=order.stored)

            self._change(record.key, add)

    async def _next_session(self) -> SessionRecord:
        while True:
            for background in (False, True):
                record = self._scheduler.pick(
                    lambda record: record.session.wants_frame and record.session.terms.background is background  # noqa: B023
                )
                if record is not None:
                    return record
            self._work.clear()
            await self._work.wait()

    async def _until_blame_is_clear(self, record: SessionRecord) -> None:
        """Sessions that were drawn for when a process ended get one frame at a time, so that the next end tells."""
        while self._orders and (record.crashes or any(other.crashes for other, _ in self._orders.values())):
            self._landed.clear()
            await self._landed.wait()

    # ---- what clients ask for ---------------------------------------------------------------------------------------

    async def open(self, terms: Terms, packed_stage: bytes) -> tuple[SessionRecord, str]:
        """Admits a session, stores it and has its anchors computed. Returns its token too, this once.

        Raises ``NoRoom``, ``NotServing``, ``StorageFailed``.
        """
        self.check_room()
        token = new_token()
        record = SessionRecord(
            Session(terms), self.sessions.next_key(), new_session_id(), digest_of(token), packed_stage,
            time.time_ns() // 1000,
        )  # fmt: skip
        self._admit(record)
        try:
            await self.archive.create(record)
        except BaseException:
            self._forget(record)
            self._spawn(self.archive.discard(record.session_id))  # nobody knows its token
            raise
        self._begin(record)
        self.observer.session_opened()
        about(record.key, record.session_id)
        record.log.info("opened: %s, %s, %.3g fps", terms.model, terms.tier, terms.fps)
        return record, token

    def check_room(self) -> Manifest:
        """The model's manifest. Raises ``NotServing`` or ``NoRoom`` if no session could be opened now."""
        manifest = self.require_serving()
        self._check_disk()
        if self.sessions.full:
            self._park_idlest()
        self.sessions.check_room()
        if len(self._beginning) >= self.config.max_sessions:  # opened and ended faster than anchors are computed
            raise NoRoom("too many sessions are being opened at once", RETRY_AFTER_S)
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
            async with self._restoring:
                record = self.sessions.get(session_id)  # another call may have brought it back meanwhile
                if record is None:
                    key = self.sessions.next_key()
                    record = await self.archive.restore(session_id, admits, key, manifest.digest)
                    if self.sessions.full and not record.session.closed:
                        self._park_idlest()
                    self._admit(record)
                    record.log.info("is back, at frame %d", record.session.ready_frame)
        if not admits(record):
            raise UnknownSession
        about(record.key, record.session_id)
        return record

    def attach(self, record: SessionRecord, next_frame: int, wake: Callable[[], None]) -> int:
        """Makes a stream the session's own. The one before it is woken up, and sees that it was replaced."""
        attachment = record.session.attach(next_frame, _now_us())
        if replaced := self._wake_ups.get(record.key):
            replaced()
        self._wake_ups[record.key] = wake
        record.left_at = None
        if not record.session.begun and (not record.session.closed or record.session.has_work):
            self._begin(record)
        self._work.set()
        return attachment

    def detach(self, record: SessionRecord, attachment: int) -> None:
        """A stream ended. If it was the session's own, the session waits for another one."""
        if record.session.attachment != attachment:
            return
        record.session.detach(attachment)
        self._wake_ups.pop(record.key, None)
        record.left_at = time.monotonic()
        record.log.info("detached at frame %d", record.session.ready_frame)

    async def add_turn(self, record: SessionRecord, turn: Turn) -> None:
        """Stores a turn, then queues it."""
        received_us = _now_us()

        async def add() -> None:
            async with record.changing:
                await self.archive.add_turn(record, record.session.place_turn(turn))
                self._change(record.key, lambda session: session.add_turn(turn, received_us))
                self.observer.turn_taken()
                record.log.debug("took a turn of %d frames", turn.run.frame_count, extra={"turn_id": turn.turn_id})

        await self._whole(add())

    async def rewind(self, record: SessionRecord, frame: int) -> None:
        """Goes back: the next frame is ``frame``, in a new epoch."""

        async def go_back() -> None:
            async with record.changing:
                rewound = record.session.rewind(frame)
                await self.archive.rewind(record, frame)
                record.session.announce(rewound)
                self._begin(record)
                self._wake(record)

        await self._whole(go_back())

    async def fork(self, record: SessionRecord, frame: int) -> tuple[str, str]:
        """The id and token of a new session that has this one's frames below ``frame``. It waits on disk."""
        async with record.changing:
            fork = await self.archive.fork(record, frame)
        record.log.info("forked at frame %d", frame)
        return fork

    async def replay(self, record: SessionRecord, wanted: Replay) -> Replayed:
        """A new session, on disk, that performs part of this recording again. Raises ``OutOfRange``, ``NoRoom``."""
        self._check_disk()
        async with record.changing:
            return await self.archive.replay(record, wanted)

    def export(self, record: SessionRecord) -> AsyncGenerator[bytes, None]:
        """A session's file, to be moved to another server. See ``Transfers.export``."""
        return self._transfers.export(record, self.require_serving())

    async def import_session(self, chunks: AsyncIterator[bytes]) -> Imported:
        """A new session, on disk, that a file brings from another server. See ``Transfers.receive``."""
        self._check_disk()
        return await self._transfers.receive(chunks, self.require_serving())

    def cut(self, record: SessionRecord) -> None:
        self._change(record.key, Session.cut)

    def acknowledge(self, record: SessionRecord, next_frame: int) -> None:
        self._change(record.key, lambda session: session.acknowledge(next_frame, _now_us()))

    def close(self, record: SessionRecord) -> None:
        """Closes once what came before is drawn."""
        self._change(record.key, Session.close)

    def end(self, record: SessionRecord) -> None:
        """Closes now. A session that is closed already stays as it is."""
        if not record.session.closed:
            self._change(record.key, Session.end)

    async def page(self, after: int, size: int) -> tuple[list[tuple[SessionSummary, int]], bool]:
        """Up to ``size`` sessions in the order of their creation, each with its next frame; and whether more follow."""
        found = await self.archive.summaries(after, size + 1)
        return found[:size], len(found) > size

    def require_serving(self) -> Manifest:
        """The model's manifest. Raises ``NotServing`` while there is no model, or no more time, to play anything."""
        if self.stopping:
            raise NotServing("the server is stopping")
        if self._lost:
            raise NotServing("the inference process has ended")
        if self.manifest is None:
            raise NotServing("the model is being loaded")
        return self.manifest

    @property
    def lost(self) -> bool:
        """Whether there is no inference process, and will not be one."""
        return self._lost

    # ---- life -------------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Loads the model, then plays until the block ends. Raises ``NotServing`` if the model cannot be loaded,
        ``ConfigError`` if the data directory cannot be used.
        """
        loops: list[asyncio.Task[None]] = []
        try:
            await self.archive.open()
            self.manifest = await self._link.start()
            loops = [asyncio.create_task(loop()) for loop in (self._supervise, self._tidy)]
            for task in loops:
                task.add_done_callback(self._note_end)
            yield
        finally:
            self.begin_stopping()
            for task in (*loops, *self._tasks):
                task.cancel()
            await asyncio.gather(*loops, *self._tasks, return_exceptions=True)
            await self._link.stop()
            self._transfers.close()
            await self.archive.close()

    def begin_stopping(self) -> None:
        """Takes nothing new; every attached stream says goodbye."""
        self.stopping = True
        for record in self.sessions:
            record.watchers.end()
        for wake in list(self._wake_ups.values()):
            wake()

    @property
    def process_id(self) -> int | None:
        """The inference process's id."""
        return self._link.process_id

    async def _supervise(self) -> None:
        """Keeps an inference process at work, and brings sessions back after one is lost."""
        while True:
            schedule = asyncio.create_task(self._schedule())
            schedule.add_done_callback(self._note_end)
            try:
                await self._deliver()
            finally:
                schedule.cancel()
                await asyncio.gather(schedule, return_exceptions=True)
            self._on_health(False)
            log.critical("the inference process has ended (%s)", self._link.exit_text)
            self._void_orders()
            await self._link.stop()
            if not await self._restart():
                self._give_up()
                return
            self._on_health(True)
            self._beginning.clear()  # what was asked of the lost process meanwhile
            for record in self.sessions:
                if record.session.attachment is not None or record.session.has_work:
                    self._begin(record)

    async def _restart(self) -> bool:
        """Another inference process. False if too many have ended in too short a time."""
        while True:
            now = time.monotonic()
            if len(self._restarts) == MOST_RESTARTS and now - self._restarts[0] < RESTART_WINDOW_S:
                return False
            self._restarts.append(now)
            self._link = WorkerLink(self.config)
            try:
                await self._link.start()
            except NotServing as error:
                log.error("%s", error)
                await self._link.stop()
            else:
                log.warning("another inference process is at work")
                self.observer.inference_restarted()
                return True

    def _void_orders(self) -> None:
        """What the lost process was drawing will be drawn again, unless it seems to be what ends these processes."""
        for key in {record.key for record, order in self._orders.values()}:
            if record := self.sessions.by_key(key):
                record.crashes += 1
        self._orders.clear()
        self._landed.set()
        self._beginning.clear()
        for record in self.sessions:
            if record.crashes >= MOST_CRASHES and not record.session.closed:
                record.log.error("has ended %d inference processes; it is closed", record.crashes)
                self._change(record.key, Session.fail)
            else:
                self._change(record.key, Session.lose)

    def _begin(self, record: SessionRecord) -> None:
        """Has the inference process take up a session from what is stored, if it is not doing so already."""
        mark = record.key, record.session.generation
        if mark not in self._beginning and not record.session.begun:
            self._beginning.add(mark)
            self._spawn(self._send_begin(record, mark))

    async def _send_begin(self, record: SessionRecord, mark: tuple[int, int]) -> None:
        session, window = record.session, self.require_serving().window
        durable = session.durable_frame
        past: list[Any] = []
        try:
            for frame in await self.archive.stored_frames(record, max(0, durable - window), durable):
                if frame.cut_before:
                    past.clear()
                past.append([frame.frame_index, frame.packed_state, frame.latent])
        except ServerError as error:
            record.log.error("cannot be taken up: %s", error)
            self._end_beginning(*mark, Session.fail)
            return
        if mark in self._beginning and self._is_current(*mark):
            key, generation = mark
            self._link.send(
                worker_messages.Begin(
                    key, generation, record.packed_stage, session.terms.seed, durable, past, record.session_id
                )
            )

    def _end_beginning(self, key: int, generation: int, change: Callable[[Session], None]) -> None:
        self._beginning.discard((key, generation))
        if self._is_current(key, generation):
            self._take_fact(key, change)

    def _is_current(self, key: int, generation: int) -> bool:
        record = self.sessions.by_key(key)
        return record is not None and record.session.generation == generation

    def _admit(self, record: SessionRecord) -> None:
        self.sessions.admit(record)
        record.left_at = time.monotonic()
        self._scheduler.add(record)

    def _forget(self, record: SessionRecord) -> None:
        """Lets go of a session; what is stored of it stays."""
        self.sessions.forget(record)
        self._scheduler.remove(record)
        self.observer.session_forgotten(record)
        self._link.send(worker_messages.End(record.key))

    def _change(self, key: int, change: Callable[[Session], None]) -> None:
        """Lets something happen to a session, then does what follows from it."""
        record = self.sessions.by_key(key)
        if record is None:
            return
        was_closed = record.session.closed
        change(record.session)
        if record.session.closed and not was_closed:
            record.watchers.end()
            self.observer.session_closed(record)
            self._spawn(self._store_close(record))
            self._link.send(worker_messages.End(key))
            record.left_at = None if record.session.attachment else time.monotonic()
            reason = record.session.close_reason
            record.log.info("closed: %s", reason.name.lower() if reason else "")
        self._work.set()
        self._wake(record)

    def _take_fact(self, key: int, change: Callable[[Session], None]) -> None:
        """As ``_change``, for what the inference process tells of a session, which may have ended meanwhile."""
        record = self.sessions.by_key(key)
        if record is not None and (not record.session.closed or change is Session.begin):
            self._change(key, change)

    def _wake(self, record: SessionRecord) -> None:
        if wake := self._wake_ups.get(record.key):
            wake()

    async def _store_close(self, record: SessionRecord) -> None:
        async with record.changing:
            try:
                await self.archive.close_session(record)
            except ServerError as error:  # it stays open on disk, and can be closed again
                record.log.error("is closed, but that could not be stored: %s", error)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._keep(work).add_done_callback(self._note_end)

    async def _whole(self, work: Coroutine[Any, Any, None]) -> None:
        """Does it to its end, though whoever asked for it may be gone before that."""
        await asyncio.shield(self._keep(work))

    def _keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _tidy(self) -> None:
        """Parks sessions that nobody came back to, lets go of closed ones, and keeps the disk within its limits."""
        period = min(1.0, self.config.idle_timeout / 4, self.config.closed_linger / 4)
        swept_at = 0.0
        while True:
            await asyncio.sleep(period)
            now = time.monotonic()
            for record in self.sessions:
                linger = self.config.closed_linger if record.session.closed else self.config.idle_timeout
                if self._may_park(record) and now - (record.left_at or now) >= linger:
                    self._park(record)
            if now - swept_at >= self.config.sweep_period:
                swept_at = now
                await self._sweep()

    async def _sweep(self) -> None:
        config = self.config
        keep = Retention(config.keep_closed, config.keep_open, config.max_disk)
        async with self._restoring:  # or a session that is just coming back could be deleted under its client's hands
            swept = await self.archive.sweep(keep, {record.session_id for record in self.sessions})
        for session_id in swept.deleted:
            log.info("deleted a stored session: too old, or no room", extra={"session_id": session_id})
        self.observer.disk_used(swept.bytes_left, config.max_disk)
        full = swept.bytes_left > config.max_disk
        if full and not self._disk_full:
            log.warning("%d bytes are stored, %d may be: no session is opened", swept.bytes_left, config.max_disk)
        self._disk_full = full

    def _check_disk(self) -> None:
        if self._disk_full:
            raise NoRoom("this server stores as much as it may (max_disk); sessions must go first", RETRY_AFTER_S)

    def _may_park(self, record: SessionRecord) -> bool:
        waiting = record.session.attachment is None and record.left_at is not None
        busy = record.session.in_flight or record.changing.locked() or len(record.watchers) > 0
        return waiting and not busy

    def _park(self, record: SessionRecord) -> None:
        record.log.info("leaves memory at frame %d", record.session.ready_frame)
        self._forget(record)

    def _park_idlest(self) -> None:
        """Makes a place for another session, if there is one without a client."""
        idle = [record for record in self.sessions if self._may_park(record) and not record.session.closed]
        if idle:
            self._park(min(idle, key=lambda record: record.left_at or 0.0))

    def _give_up(self) -> None:
        if self.stopping:
            return
        self._lost = True
        log.critical("this server draws no more; its sessions wait on disk for the next one")
        self._on_health(False)
        for wake in list(self._wake_ups.values()):
            wake()

    def _note_end(self, task: asyncio.Task[Any]) -> None:
        """A step that fails is this server's own fault: it stops serving rather than hang."""
        if task.cancelled() or task.exception() is None:
            return
        log.critical("the server's own step failed", exc_info=task.exception())
        self._give_up()


def _now_us() -> int:
    return time.monotonic_ns() // 1000
