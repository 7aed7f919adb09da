"""The whole step on one screen: schedule, run, deliver. Between the clients' streams and the inference process.

    _schedule   a slot is free and a session wants a frame: its order goes to the inference process
    (the inference process draws)
    _deliver    the frame comes back: it is encoded, goes to its session's log, and the session's stream wakes up

Both loops go on side by side, so that the model draws frame N + 1 while frame N is encoded and sent. Frames are drawn
as fast as the clients' credits allow; clients show them by their presentation times.

Backpressure policy, "credit": a session that its client does not acknowledge is not drawn further, so its log holds at
most ``frame_credit`` frames. Nothing is ever dropped or overwritten.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor

from cutscene_model.manifest import Manifest
from cutscene_server import picture, worker_messages
from cutscene_server.config import ServerConfig
from cutscene_server.errors import NoRoom, NotServing
from cutscene_server.registry import RETRY_AFTER_S, SessionRecord, SessionRegistry
from cutscene_server.scheduler import RoundRobin
from cutscene_server.session import Session, Turn
from cutscene_server.terms import Terms
from cutscene_server.worker_link import WorkerLink

log = logging.getLogger("cutscene_server")


class Runtime:
    """Sessions, their scheduler and the inference process. Everything here runs on one event loop."""

    def __init__(self, config: ServerConfig, on_lost: Callable[[], None]) -> None:
        self.config = config
        self.sessions = SessionRegistry(config.max_sessions)
        self.manifest: Manifest | None = None  # known once the model is loaded
        self.stopping = False
        self._on_lost = on_lost  # told once if the inference process dies
        self._link = WorkerLink(config)
        self._scheduler: RoundRobin[SessionRecord] = RoundRobin()
        self._work = asyncio.Event()  # set when some session may want a frame that wanted none before
        self._wake_ups: dict[int, Callable[[], None]] = {}  # session key -> wakes the stream attached to it
        # One thread: frames of a session must come out in order, and encoding takes a tenth of drawing.
        self._encoder = ThreadPoolExecutor(1, thread_name_prefix="encoder")
        self._beginning: set[int] = set()  # keys of sessions whose anchors the inference process has still to compute
        self._lost = False

    # ---- the step ---------------------------------------------------------------------------------------------------

    async def _schedule(self) -> None:
        while True:
            slot = await self._link.free_slot()
            record = await self._next_session()
            try:
                order = record.session.take_order()
            except Exception:
                # States were checked when they came, so this is a fault here; it costs one session, not all.
                log.exception("session %d has a frame that cannot be ordered", record.key)
                self._link.release(slot)
                self._take_fact(record.key, Session.fail)
                continue
            self._link.send(
                worker_messages.Draw(
                    record.key, order.frame_index, slot, order.tier, order.cut_before, order.packed_state
                )
            )

    async def _deliver(self) -> None:
        async for fact in self._link.facts():
            match fact:
                case worker_messages.Drawn():
                    await self._deliver_frame(fact)
                case worker_messages.Began(key):
                    self._beginning.discard(key)
                    self._take_fact(key, Session.begin)
                case worker_messages.BeginFailed(key, text):
                    self._beginning.discard(key)
                    log.error("session %d could not begin: %s", key, text)
                    self._take_fact(key, Session.fail)
                case worker_messages.DrawFailed(key, slot, text):
                    log.error("session %d could not draw: %s", key, text)
                    self._link.release(slot)
                    self._take_fact(key, Session.fail)
        self._lose_worker()

    async def _deliver_frame(self, drawn: worker_messages.Drawn) -> None:
        record = self.sessions.by_key(drawn.key)
        try:
            if record is None or record.session.closed:
                return  # it ended while this frame was being drawn
            terms = record.session.terms
            data, digest, encode_us = await asyncio.get_running_loop().run_in_executor(
                self._encoder, picture.encode, self._link.ring.view(drawn.slot), terms.codec, terms.jpeg_quality
            )
        except Exception:
            log.exception("session %d has a frame that cannot be encoded", drawn.key)
            self._take_fact(drawn.key, Session.fail)
            return
        finally:
            self._link.release(drawn.slot)
        figures = worker_messages.figures_from_plain(drawn.figures)
        self._take_fact(drawn.key, lambda session: session.add_frame(figures, data, digest, encode_us, _now_us()))

    async def _next_session(self) -> SessionRecord:
        while True:
            record = self._scheduler.pick(lambda record: record.session.wants_frame)
            if record is not None:
                return record
            self._work.clear()
            await self._work.wait()

    # ---- what clients ask for ---------------------------------------------------------------------------------------

    def open(self, terms: Terms, packed_stage: bytes) -> SessionRecord:
        """Admits a session and has its anchors computed. Raises ``NoRoom``, ``NotServing``."""
        self.check_room()
        record = self.sessions.admit(Session(terms))
        self._beginning.add(record.key)
        record.left_at = time.monotonic()
        self._scheduler.add(record)
        self._link.send(worker_messages.Begin(record.key, packed_stage, terms.seed))
        log.info("session %d opened: %s, %s, %.3g fps", record.key, terms.model, terms.tier, terms.fps)
        return record

    def check_room(self) -> Manifest:
        """The model's manifest. Raises ``NotServing`` or ``NoRoom`` if no session could be opened now."""
        manifest = self.require_serving()
        self.sessions.check_room()
        if len(self._beginning) >= self.config.max_sessions:  # opened and ended faster than anchors are computed
            raise NoRoom("too many sessions are being opened at once", RETRY_AFTER_S)
        return manifest

    def attach(self, record: SessionRecord, next_frame: int, wake: Callable[[], None]) -> int:
        """Makes a stream the session's own. The one before it is woken up, and sees that it was replaced."""
        attachment = record.session.attach(next_frame, _now_us())
        if replaced := self._wake_ups.get(record.key):
            replaced()
        self._wake_ups[record.key] = wake
        if not record.session.closed:
            record.left_at = None
        self._work.set()
        return attachment

    def detach(self, record: SessionRecord, attachment: int) -> None:
        """A stream ended. If it was the session's own, the session waits for another one."""
        if record.session.attachment != attachment:
            return
        record.session.detach(attachment)
        self._wake_ups.pop(record.key, None)
        record.left_at = time.monotonic()
        log.info("session %d detached at frame %d", record.key, record.session.ready_frame)

    def add_turn(self, record: SessionRecord, turn: Turn) -> None:
        received_us = _now_us()
        self._change(record.key, lambda session: session.add_turn(turn, received_us))

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

    def require_serving(self) -> Manifest:
        """The model's manifest. Raises ``NotServing`` while there is no model, or no more time, to play anything."""
        if self.stopping:
            raise NotServing("the server is stopping")
        if self._lost:
            raise NotServing("the inference process has ended")
        if self.manifest is None:
            raise NotServing("the model is being loaded")
        return self.manifest

    # ---- life -------------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Loads the model, then plays until the block ends. Raises ``NotServing`` if the model cannot be loaded."""
        tasks: list[asyncio.Task[None]] = []
        try:
            self.manifest = await self._link.start()
            tasks = [asyncio.create_task(step()) for step in (self._schedule, self._deliver, self._tidy)]
            for task in tasks:
                task.add_done_callback(self._note_end)
            yield
        finally:
            self.begin_stopping()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._encoder.shutdown(wait=True)
            await self._link.stop()

    def begin_stopping(self) -> None:
        """Takes nothing new; every attached stream says goodbye."""
        self.stopping = True
        for wake in list(self._wake_ups.values()):
            wake()

    @property
    def process_id(self) -> int | None:
        """The inference process's id."""
        return self._link.process_id

    def _change(self, key: int, change: Callable[[Session], None]) -> None:
        """Lets something happen to a session, then does what follows from it."""
        record = self.sessions.by_key(key)
        if record is None:
            return
        was_closed = record.session.closed
        change(record.session)
        if record.session.closed and not was_closed:
            self._scheduler.remove(record)
            self._link.send(worker_messages.End(key))
            record.left_at = time.monotonic()
            reason = record.session.close_reason
            log.info("session %d closed: %s", key, reason.name.lower() if reason else "")
        self._work.set()
        self._wake(record)

    def _take_fact(self, key: int, change: Callable[[Session], None]) -> None:
        """As ``_change``, for what the inference process tells of a session, which may have ended meanwhile."""
        record = self.sessions.by_key(key)
        if record is not None and not record.session.closed:
            self._change(key, change)

    def _wake(self, record: SessionRecord) -> None:
        if wake := self._wake_ups.get(record.key):
            wake()

    async def _tidy(self) -> None:
        """Ends sessions that nobody came back to, and forgets closed ones."""
        period = min(1.0, self.config.idle_timeout / 4, self.config.closed_linger / 4)
        while True:
            await asyncio.sleep(period)
            now = time.monotonic()
            for record in self.sessions:
                if record.left_at is None or record.session.attachment is not None:
                    continue
                if record.session.closed and now - record.left_at >= self.config.closed_linger:
                    self.sessions.forget(record)
                elif not record.session.closed and now - record.left_at >= self.config.idle_timeout:
                    self._change(record.key, Session.expire)

    def _lose_worker(self) -> None:
        if self.stopping:
            return
        self._lost = True
        log.critical("the inference process has ended (%s); every session is closed", self._link.exit_text)
        for record in self.sessions:
            if not record.session.closed:
                self._change(record.key, Session.fail)
        self._on_lost()

    def _note_end(self, task: asyncio.Task[None]) -> None:
        """A step that fails is this server's own fault: it stops serving rather than hang."""
        if task.cancelled() or task.exception() is None:
            return
        log.critical("the server's own step failed", exc_info=task.exception())
        self._lose_worker()


def _now_us() -> int:
    return time.monotonic_ns() // 1000
