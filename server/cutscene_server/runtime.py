"""Everything that clients can ask of this server, and its life from the model's loading to its end.

How frames come about stands in ``step``; who may come, in ``admission``; ``crew`` keeps the inference processes at
work, ``tidying`` memory and disk in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import Any

from cutscene_model.manifest import Manifest
from cutscene_server import clock, worker_messages
from cutscene_server.admission import Admission, TellPosition
from cutscene_server.archive import Archive
from cutscene_server.config import ServerConfig
from cutscene_server.crew import Crew
from cutscene_server.errors import NotServing, ServerError, StorageFailed, UnknownSession
from cutscene_server.inference import Inference
from cutscene_server.logs import about
from cutscene_server.observer import Observer
from cutscene_server.references import References
from cutscene_server.registry import SessionRecord, SessionRegistry, digest_of, new_session_id, new_token
from cutscene_server.replay import Replay, Replayed, environment_of
from cutscene_server.scheduling import DEFAULT_TENANT, Tenant
from cutscene_server.session import Session
from cutscene_server.step import Step
from cutscene_server.store import SessionSummary
from cutscene_server.terms import Terms
from cutscene_server.tidying import Tidying
from cutscene_server.transfers import Imported, Transfers
from cutscene_server.turns import Turn

log = logging.getLogger("cutscene_server")

REVIEW_S = 0.25  # between looks at tiers, places and who waits for room


class Runtime:
    """Sessions, and what is done for them. Everything here runs on one event loop."""

    def __init__(
        self, config: ServerConfig, on_health: Callable[[bool], None], observer: Observer | None = None
    ) -> None:
        self.config = config
        self.observer = Observer() if observer is None else observer
        self.sessions = SessionRegistry(config.max_sessions)
        self.archive = Archive(config.data_directory, environment_of(config), config.max_sessions)
        self.crew = Crew(config, self.sessions, self.archive, self, on_health, self.observer)
        self.tidying = Tidying(config, self.sessions, self.archive, self._forget, self.observer)
        self.admission = Admission(config, self.sessions, self.crew, self.tidying.park_idlest)
        self._step = Step(
            self.sessions,
            self.archive,
            self.crew,
            self.admission,
            self.change,
            self.let_go,
            on_drained=self.end_draining,
            observer=self.observer,
        )
        self.manifest: Manifest | None = None  # known once the model is loaded
        self.stopping = False
        self._stop_begun = asyncio.Event()  # set when ``stopping`` is
        self.drained = False  # whether nothing more is drawn, and every frame that was is in its session's log
        self.references = References(self.crew, self.require_serving)
        self._transfers = Transfers(self.archive, config.max_import, config.max_frames, self.spawn)
        self._on_health = on_health
        self._wake_ups: dict[int, Callable[[], None]] = {}  # session key -> wakes the stream attached to it
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failed = False  # whether this server's own step did

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
            async with record.changing:  # or it would be parked, for it has no client yet
                await self.archive.create(record)
        except BaseException:
            self._forget(record)
            self.spawn(self.archive.discard(record.session_id))  # nobody knows its token
            raise
        self.crew.begin(record)
        self.observer.session_opened()
        about(record.key, record.session_id)
        record.log.info("opened: %s, %s, %.3g fps, %s", terms.model, terms.tier, terms.fps, terms.pacing.name.lower())
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

    async def take_up(self, session_id: str) -> SessionRecord:
        """A session that is the server's own, a film's: nobody else knows its token. Raises as ``find`` does."""
        return await self._find(session_id, lambda _: True, own=True)

    async def _find(
        self, session_id: str, admits: Callable[[SessionRecord], bool], *, own: bool = False
    ) -> SessionRecord:
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
                    record.own = own
                    if self.sessions.full and not (own or record.session.closed):
                        self.tidying.park_idlest()
                    self._admit(record)
                    record.log.info("is back, at frame %d", record.session.ready_frame)
        if not admits(record):
            raise UnknownSession
        about(record.key, record.session_id)
        return record

    def attach(self, record: SessionRecord, next_frame: int, tenant: Tenant, wake: Callable[[], None]) -> int:
        """Makes a stream the session's own. The one before it is woken up, and sees that it was replaced."""
        attachment = record.session.attach(next_frame, clock.now_us())
        if replaced := self._wake_ups.get(record.key):
            replaced()
        self._wake_ups[record.key] = wake
        record.left_at, record.tenant = None, tenant
        if not record.session.begun and (not record.session.closed or record.session.has_work):
            self.crew.begin(record)
        self._step.offer(record)
        return attachment

    def detach(self, record: SessionRecord, attachment: int) -> None:
        """A stream ended. If it was the session's own, the session waits for another one."""
        if record.session.attachment != attachment:
            return
        record.session.detach(attachment)
        if record.session.left:
            record.let_go_of_pictures()
        self._wake_ups.pop(record.key, None)
        record.left_at = time.monotonic()
        record.log.info("detached at frame %d", record.session.ready_frame)

    async def add_turn(self, record: SessionRecord, turn: Turn) -> None:
        """Stores a turn, then queues it. Raises ``NoRoom`` if the session's cadence has no place any more."""
        record.require_kept()
        self.admission.check_turn(record)
        received_us = clock.now_us()

        async def add() -> None:
            async with record.changing:
                record.require_kept()
                placed = record.session.place_turn(turn)
                skips = record.session.take_skips()
                try:
                    await self.archive.add_turn(record, placed, skips)
                finally:
                    record.session.give_back_skips(skips)  # none, unless that failed
                self.change(record.key, lambda session: session.add_turn(turn, received_us))
                self.observer.turn_taken()
                record.log.debug("took a turn of %d frames", turn.run.frame_count, extra={"turn_id": turn.turn_id})

        await self._whole(add())

    async def rewind(self, record: SessionRecord, frame: int) -> None:
        """Goes back: the next frame is ``frame``, in a new epoch."""

        async def go_back() -> None:
            async with record.changing:
                record.require_kept()
                rewound = record.session.rewind(frame)
                try:
                    await self.archive.rewind(record, frame)
                except BaseException as error:  # on disk it has not gone back
                    not_done = StorageFailed("the server ended before it had gone back")
                    self.let_go(record, error if isinstance(error, Exception) else not_done)
                    raise
                record.session.announce(rewound)
                self.crew.begin(record)
                self._step.offer(record)
                self._wake(record)

        await self._whole(go_back())

    async def fork(self, record: SessionRecord, frame: int) -> tuple[str, str]:
        """The id and token of a new session that has this one's frames below ``frame``. It waits on disk. Raises
        ``OutOfRange``, ``NoRoom``.
        """
        self.tidying.check_disk()
        async with record.changing:
            fork = await self.archive.fork(record, frame)
        record.log.info("forked at frame %d", frame)
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
        self.change(record.key, lambda session: session.acknowledge(next_frame, clock.now_us()))

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
            for task in loops:
                task.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            if self._tasks:  # what clients were told, or asked for, is stored: a session's close among it
                await asyncio.wait(self._tasks, timeout=self.config.stop_grace)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self.crew.stop()
            self._transfers.close()
            self.references.close()
            await self.archive.close()

    def begin_stopping(self) -> None:
        """Takes nothing new and orders nothing more. Streams are told, and end once what is being drawn has come."""
        if self.stopping:
            return
        self.stopping = True
        self._stop_begun.set()
        for record in self.sessions:
            record.watchers.end()
        self.admission.note_change()
        self._step.stop()
        self._wake_all()

    async def stops_within(self, seconds: float) -> bool:
        """Waits for so long, but no longer than until this server stops. Returns whether it does."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop_begun.wait()
        return self.stopping

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
            self.observer.session_closed(record)
            record.log.info("closed: %s", reason.name.lower() if reason else "")
        self._step.offer(record)
        self._wake(record)

    def let_go(self, record: SessionRecord, failure: Exception) -> None:
        """What is here of a session is not what is on disk, or cannot be had from there: it leaves memory, its stream
        (which says first what is stored) and its watchers are told why, and whoever comes back finds it as it is there.
        """
        if self.sessions.by_key(record.key) is not record:
            return
        record.failure = failure
        record.session.leave()
        record.watchers.end()
        self._forget(record)
        self.tidying.freed = True
        self._wake(record)
        record.log.warning("leaves memory, as it is on disk: %s", record.failure)

    def abandon(self, record: SessionRecord) -> None:
        """Ends a session whose token nobody was told."""
        if record.session.left:
            self.spawn(self.archive.discard(record.session_id))
        else:
            self.end(record)

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
        await self.crew.supervise(inference, self._step)
        if self.crew.lost:
            self._give_up()

    async def _review(self) -> None:
        """Several times a second: are tiers as they should be, are places needed still, is there room for who waits?"""
        while True:
            await asyncio.sleep(REVIEW_S)
            for inference in self.crew.all:
                self._step.review_tiers(inference)
            self.admission.let_places_lapse()
            self.admission.note_change()

    def _admit(self, record: SessionRecord) -> None:
        self.sessions.admit(record)
        record.left_at = time.monotonic()

    def _forget(self, record: SessionRecord) -> None:
        """Lets go of a session; what is stored of it stays."""
        inference = self.crew.of(record)
        self.sessions.forget(record)
        if not record.session.left or record.session.attachment is None:  # else its stream says first what is stored
            record.let_go_of_pictures()
        self.observer.session_forgotten(record)
        self.admission.give_back(record)
        self.admission.note_change()
        inference.queue.remove(record.key)
        inference.link.send(worker_messages.End(record.key))

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
                record.log.error("is closed, but that could not be stored: %s", error)

    async def _whole(self, work: Coroutine[Any, Any, None]) -> None:
        """Does it to its end, though whoever asked may be gone before that, and does not hear what came of it."""
        task = self._keep(work)
        task.add_done_callback(_note_outcome)
        await asyncio.shield(task)

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


def _note_outcome(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        level = logging.DEBUG if isinstance(error, ServerError) else logging.ERROR
        log.log(level, "what a client asked for was not done", exc_info=error)
