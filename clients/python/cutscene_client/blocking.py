"""The same client for code without an event loop: the names of ``cutscene_client``, each call waiting for its answer.

An event loop runs in one thread of its own; this module only hands calls to it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

import cutscene_client.client as live
import cutscene_client.session as live_session
from cutscene_client.client import CONNECT_TIMEOUT_S, DEFAULT_ADDRESS, ModelInfo, SessionInfo
from cutscene_client.frames import Frame, TurnFigures, Usage
from cutscene_client.moving import ImportedSession, Source
from cutscene_client.stats import ServerStats
from cutscene_proto.v1 import cutscene_pb2 as pb

T = TypeVar("T")


class _LoopThread:
    """One event loop in one thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cutscene-client", daemon=True)
        self._thread.start()

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:  # Ctrl-C, say: what nobody waits for any more must not go on
            future.cancel()
            raise

    def iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        async def step() -> T | None:
            return await anext(items, None)

        while (item := self.wait(step())) is not None:
            yield item

    def stop(self) -> None:
        self.wait(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def connect(address: str = DEFAULT_ADDRESS, *, timeout: float = CONNECT_TIMEOUT_S, tenant: str = "") -> Client:
    """A client for the server at ``address``: ``with connect(address) as client``."""
    return Client(address, timeout=timeout, tenant=tenant)


class Client:
    """``cutscene_client.Client``, blocking."""

    def __init__(self, address: str, *, timeout: float = CONNECT_TIMEOUT_S, tenant: str = "") -> None:
        self._client = live.Client(address, timeout=timeout, tenant=tenant)
        self._thread: _LoopThread | None = None

    def __enter__(self) -> Self:
        self._thread = _LoopThread()
        try:
            self._thread.wait(self._client.__aenter__())
        except BaseException:
            self._thread.stop()
            self._thread = None
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._thread.wait(self._client.__aexit__(kind, error, trace))
            self._thread.stop()
            self._thread = None

    def open(self, **said: Any) -> Session:
        """Begins a session; takes what ``cutscene_client.Client.open`` takes."""
        return Session(self._loop, self._loop.wait(self._client.open(**said)))

    def open_request(self, request: pb.Open) -> Session:
        """Begins a session from a ready-made ``Open`` message."""
        return Session(self._loop, self._loop.wait(self._client.open_request(request)))

    def resume(self, session_id: str, token: str, next_frame: int) -> Session:
        """Continues a session whose stream is gone."""
        return Session(self._loop, self._loop.wait(self._client.resume(session_id, token, next_frame)))

    def export_session(self, session_id: str, token: str) -> Iterator[bytes]:
        """A session's file, piece by piece."""
        return self._loop.iterate(self._client.export_session(session_id, token))

    def import_session(self, source: Source) -> ImportedSession:
        """Brings a session from a file: a path, or its bytes in pieces."""
        return self._loop.wait(self._client.import_session(source))

    def close_session(self, session_id: str, token: str) -> Usage:
        """Ends a session whether or not a client is attached to it."""
        return self._loop.wait(self._client.close_session(session_id, token))

    def session(self, session_id: str, token: str) -> SessionInfo:
        """One session's figures."""
        return self._loop.wait(self._client.session(session_id, token))

    def models(self) -> list[ModelInfo]:
        """The models this server can play."""
        return self._loop.wait(self._client.models())

    def sessions(self) -> list[SessionInfo]:
        """Every session of this server, oldest first."""
        return self._loop.wait(self._client.sessions())

    def stats(self, max_sessions: int = 0) -> ServerStats:
        """What the server does now and did in the last seconds."""
        return self._loop.wait(self._client.stats(max_sessions))

    @property
    def _loop(self) -> _LoopThread:
        if self._thread is None:
            raise RuntimeError("the client is not connected: use `with connect(address) as client`")
        return self._thread


class Session:
    """``cutscene_client.Session``, blocking."""

    def __init__(self, loop: _LoopThread, session: live_session.Session) -> None:
        self._loop = loop
        self._session = session
        self.id = session.id
        self.token = session.token
        self.model = session.model
        self.model_digest = session.model_digest
        self.video = session.video
        self.fps = session.fps
        self.seed = session.seed
        self.tier = session.tier

    @property
    def next_frame(self) -> int:
        """The next frame that this stream will carry."""
        return self._session.next_frame

    @property
    def turn_figures(self) -> TurnFigures | None:
        """Of the turn that was completed last."""
        return self._session.turn_figures

    def perform(self, turn: pb.Turn) -> Iterator[Frame]:
        """Sends one turn and yields its frames as they come."""
        return self._loop.iterate(self._session.perform(turn))

    def play(self, steps: Iterable[live_session.Step], *, ahead: int = 2) -> Iterator[Frame]:
        """Sends turns and cuts in order and yields all their frames."""
        return self._loop.iterate(self._session.play(steps, ahead=ahead))

    def remaining(self) -> Iterator[Frame]:
        """After a resume: the frames of every turn that the server already has."""
        return self._loop.iterate(self._session.remaining())

    def cut(self) -> None:
        """A shot change."""
        self._loop.wait(self._session.cut())

    def close(self) -> Usage:
        """Ends the session once the turns already sent are drawn."""
        return self._loop.wait(self._session.close())

    def detach(self) -> None:
        """Leaves the stream without ending the session."""

        async def leave() -> None:
            self._session.detach()

        self._loop.wait(leave())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.wait(self._session.__aexit__(kind, error, trace))
