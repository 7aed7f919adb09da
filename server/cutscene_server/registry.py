"""The sessions of one server: found by id and token, admitted up to a limit, forgotten when they are over."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from cutscene_server.errors import NoRoom, UnknownSession
from cutscene_server.session import Session

RETRY_AFTER_S = 5.0


@dataclass(slots=True, eq=False)
class SessionRecord:
    """A session and what the server, rather than the session's logic, knows of it."""

    session: Session
    key: int  # its name towards the inference process, and its place in the order of creation
    session_id: str = field(default_factory=lambda: secrets.token_hex(16))
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)  # never logged
    created_unix_us: int = field(default_factory=lambda: time.time_ns() // 1000)
    left_at: float | None = None  # monotonic seconds: since when no client is attached, or the session is closed

    def holds_token(self, token: str) -> bool:
        return hmac.compare_digest(self.token.encode(), token.encode())


class SessionRegistry:
    """Records by id, in order of creation."""

    def __init__(self, max_sessions: int) -> None:
        self._max_sessions = max_sessions
        self._by_id: dict[str, SessionRecord] = {}
        self._by_key: dict[int, SessionRecord] = {}
        self._next_key = 1

    def __iter__(self) -> Iterator[SessionRecord]:
        return iter(list(self._by_id.values()))

    def check_room(self) -> None:
        """Raises ``NoRoom`` if no session can be admitted now. Closed ones that linger take no place."""
        if sum(not record.session.closed for record in self._by_id.values()) >= self._max_sessions:
            raise NoRoom(f"this server plays at most {self._max_sessions} sessions at once", RETRY_AFTER_S)

    def admit(self, session: Session) -> SessionRecord:
        """Takes a session in. Raises ``NoRoom`` if there are too many."""
        self.check_room()
        lingering = [record for record in self._by_id.values() if record.session.closed]
        if len(lingering) >= self._max_sessions:  # they hold frames: the oldest goes first
            self.forget(lingering[0])
        record = SessionRecord(session, self._next_key)
        self._next_key += 1
        self._by_id[record.session_id] = record
        self._by_key[record.key] = record
        return record

    def find(self, session_id: str, token: str) -> SessionRecord:
        """Raises ``UnknownSession`` alike for an unknown id and for a wrong token."""
        record = self._by_id.get(session_id)
        if record is None or not record.holds_token(token):
            raise UnknownSession
        return record

    def by_key(self, key: int) -> SessionRecord | None:
        return self._by_key.get(key)

    def page(self, after_key: int, size: int) -> tuple[list[SessionRecord], bool]:
        """Up to ``size`` records created after ``after_key``, oldest first, and whether there are more."""
        later = [record for record in self._by_id.values() if record.key > after_key]
        return later[:size], len(later) > size

    def forget(self, record: SessionRecord) -> None:
        self._by_id.pop(record.session_id, None)
        self._by_key.pop(record.key, None)
