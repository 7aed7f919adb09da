"""What nobody asks for: sessions that nobody came back to leave memory, and the disk is kept within its limits."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection

from cutscene_server import heap
from cutscene_server.archive import SWEPT_AT_ONCE, Archive
from cutscene_server.config import ServerConfig
from cutscene_server.errors import NoRoom, ServerError
from cutscene_server.observer import Observer
from cutscene_server.registry import SessionRecord, SessionRegistry
from cutscene_server.store import Retention

log = logging.getLogger("cutscene_server")

GIVE_BACK_S = 10.0  # between givings back of memory: most of what went in between is free by then


class Tidying:
    """See the module's docstring."""

    def __init__(
        self,
        config: ServerConfig,
        sessions: SessionRegistry,
        archive: Archive,
        forget: Callable[[SessionRecord], None],
        observer: Observer,
    ) -> None:
        """``forget`` lets go of a session in memory."""
        self.restoring = asyncio.Lock()  # held while a session comes back from disk
        self._config = config
        self._sessions = sessions
        self._archive = archive
        self._forget = forget
        self._observer = observer
        self.disk_full = False  # whether more is stored than may be
        self._awaited: Callable[[], Collection[str] | None] = tuple
        self.freed = False  # whether sessions have left memory since it was last given back

    def spare(self, awaited: Callable[[], Collection[str] | None]) -> None:
        """Sessions of these ids are not deleted, although they are not in memory: the server itself waits for its time
        to draw them. None: it does not know them yet, and nothing is deleted.
        """
        self._awaited = awaited

    async def run(self) -> None:
        """Parks sessions that nobody came back to, lets go of closed ones, and keeps the disk within its limits."""
        config = self._config
        period = min(1.0, config.idle_timeout / 4, config.closed_linger / 4)
        swept_at, more, given_back_at = 0.0, False, 0.0
        while True:
            await asyncio.sleep(period)
            now = time.monotonic()
            for record in self._sessions:
                if record.left_at is None:
                    continue  # a client is there: of most sessions that is all there is to ask
                linger = config.closed_linger if record.session.closed else config.idle_timeout
                if now - record.left_at >= linger and self._may_park(record):
                    self._park(record)
            self.park_unfetched()
            if self.freed and now - given_back_at >= GIVE_BACK_S:
                given_back_at, self.freed = now, False
                await asyncio.to_thread(heap.give_back)
            if more or now - swept_at >= config.sweep_period:
                swept_at = now
                more = await self._sweep()

    def park_idlest(self) -> None:
        """Makes a place for another session, if there is one without a client."""
        idle = [record for record in self._sessions if self._may_park(record) and not record.session.closed]
        if idle:
            self._park(min(idle, key=lambda record: record.left_at or 0.0))

    def park_unfetched(self) -> None:
        """Keeps what is in memory for clients that are away within its limit: their sessions wait on disk, those first
        whose clients are away longest. No picture is lost: who comes back is shown what was drawn.
        """
        away = [record for record in self._sessions if record.session.attachment is None]
        over = sum(record.session.log.held_bytes for record in away) - self._config.max_unfetched
        if over <= 0:
            return
        for record in sorted(away, key=lambda record: record.left_at or 0.0):
            if (held := record.session.log.held_bytes) and self._may_park(record):
                self._park(record)
                over -= held
                if over <= 0:
                    return

    def check_disk(self) -> None:
        """Raises ``NoRoom`` if nothing more may be stored."""
        if self.disk_full:
            raise NoRoom("this server stores as much as it may (max_disk); sessions must go first")

    async def _sweep(self) -> bool:
        """Deletes as many as are deleted in one go. Returns whether there are more: they go soon, or a server whose
        sessions are many would never be done.
        """
        config = self._config
        if (awaited := self._awaited()) is None:
            return False
        keep = Retention(config.keep_closed, config.keep_open, config.max_disk)
        async with self.restoring:  # or a session that is just coming back could be deleted under its client's hands
            in_use = {*(record.session_id for record in self._sessions), *awaited}
            try:
                swept = await self._archive.sweep(keep, in_use)
            except ServerError as error:  # a disk that is full, say: the next look may fare better
                log.error("stored sessions could not be looked through: %s", error)
                return False
        for session_id in swept.deleted:
            log.info("deleted a stored session: too old, or no room", extra={"session_id": session_id})
        self._observer.disk_used(swept.bytes_left, config.max_disk)
        full = swept.bytes_left > config.max_disk
        if full and not self.disk_full:
            log.warning("%d bytes are stored, %d may be: no session is opened", swept.bytes_left, config.max_disk)
        self.disk_full = full
        return len(swept.deleted) >= SWEPT_AT_ONCE

    def _may_park(self, record: SessionRecord) -> bool:
        waiting = record.session.attachment is None and record.left_at is not None
        busy = record.session.in_flight or record.changing.locked() or len(record.watchers) > 0
        return waiting and not busy

    def _park(self, record: SessionRecord) -> None:
        record.log.info("leaves memory at frame %d", record.session.ready_frame)
        self._forget(record)
        self.freed = True
