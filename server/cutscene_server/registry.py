"""The sessions of one server: found by id and token, admitted up to a limit, forgotten when they are over."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field

from cutscene_server.errors import NoRoom
from cutscene_server.logs import SessionLogger
from cutscene_server.scheduling import Tenant
from cutscene_server.session import Session
from cutscene_server.watchers import Watchers

log = logging.getLogger("cutscene_server")


@dataclass(slots=True, eq=False)
class SessionRecord:
    """A session and what the server, rather than the session's logic, knows of it."""

    session: Session
    key: int  # its name towards the inference process
    session_id: str
    token_digest: bytes = field(repr=False)
    packed_stage: bytes = field(repr=False)
    created_unix_us: int
    tenant: Tenant
    inference: int = 0  # number of the process that draws it
    worked_at: float = 0.0  # monotonic seconds: when its last frame was ordered
    left_at: float | None = None  # monotonic seconds: since when no client is attached, or the session is closed
    own: bool = False  # the server's own, a film's: it takes no place that a client could have
    crashes: int = 0  # inference processes that ended of themselves, in a row, while they drew for this session
    watchers: Watchers = field(default_factory=Watchers, repr=False)
    failure: Exception | None = None  # why something of it could not be stored, or read: nothing more is stored
    changing: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)  # held while a change becomes durable

    @property
    def log(self) -> SessionLogger:
        """For every line about this session."""
        return SessionLogger(log, self.key, self.session_id)

    def require_kept(self) -> None:
        """Raises why something of the session could not be stored, or read, if it has left memory because of that."""
        if self.session.left and self.failure is not None:
            raise self.failure

    def let_go_of_pictures(self) -> None:
        """The session has left memory. Loops that have dealt with it last may have this at hand until the next one."""
        self.session.log.clear()
        self.watchers.forget_latest()

    def holds_token(self, token: str) -> bool:
        return self.admits_watcher(watch_token_of(token))

    def admits_watcher(self, watch_token: str) -> bool:
        return hmac.compare_digest(self.token_digest, _hashed(watch_token, b"stored"))


def new_session_id() -> str:
    """Unguessable; hexadecimal, so that it may name a directory."""
    return secrets.token_hex(16)


def new_token() -> str:
    """A secret of 256 bits. The server keeps nothing but its digest."""
    return secrets.token_urlsafe(32)


def watch_token_of(token: str) -> str:
    """The token of those who may only look. It follows from the session's own token, not the other way round."""
    return _hashed(token, b"watch").hex()


def digest_of(token: str) -> bytes:
    """What is stored of a token: a hash of its watch token, so that both can be checked against it. Tokens are random,
    so a plain hash is as good as a slow one.
    """
    return _hashed(watch_token_of(token), b"stored")


def _hashed(text: str, purpose: bytes) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=32, person=purpose).digest()


class SessionRegistry:
    """The sessions in memory by id, in the order in which they came there."""

    def __init__(self, max_sessions: int) -> None:
        self._max_sessions = max_sessions
        self._by_id: dict[str, SessionRecord] = {}
        self._by_key: dict[int, SessionRecord] = {}
        self._next_key = 1

    def __iter__(self) -> Iterator[SessionRecord]:
        return iter(list(self._by_id.values()))

    @property
    def full(self) -> bool:
        """Whether no further session finds a place. Closed ones that linger take none, nor do the server's own."""
        return sum(not (record.session.closed or record.own) for record in self._by_id.values()) >= self._max_sessions

    def check_room(self) -> None:
        """Raises ``NoRoom`` if no session can be admitted now."""
        if self.full:
            raise NoRoom(f"this server plays at most {self._max_sessions} sessions at once")

    def next_key(self) -> int:
        """A key that no session of this run has had."""
        self._next_key += 1
        return self._next_key - 1

    def admit(self, record: SessionRecord) -> None:
        """Takes a session in. Raises ``NoRoom`` if there are too many."""
        if not (record.session.closed or record.own):
            self.check_room()
        self._by_id[record.session_id] = record
        self._by_key[record.key] = record

    def get(self, session_id: str) -> SessionRecord | None:
        return self._by_id.get(session_id)

    def by_key(self, key: int) -> SessionRecord | None:
        return self._by_key.get(key)

    def forget(self, record: SessionRecord) -> None:
        self._by_id.pop(record.session_id, None)
        self._by_key.pop(record.key, None)
