"""The clients of hosts without sessions: HTTP for LitServe and Ray Serve, a WebSocket for FastAPI."""

from __future__ import annotations

import asyncio
import base64
import importlib
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

from peers_hosts.figures import TurnTimes
from peers_hosts.playing import Material
from peers_hosts.turn import MOST_REQUEST_BYTES, FrameReader, HostedFrame, Past, TurnRequest

ANSWER_S = 120.0  # until the next frame: a host that takes longer has failed

Answers = Callable[[TurnRequest], AsyncIterator[HostedFrame]]


@dataclass
class PeerPlayer:
    """A client of a host without sessions: it holds what the model has to know again, and sends it with each turn."""

    answers: Answers
    material: Material
    seed: int
    fps: float
    redraw: bool = False  # the window is drawn again from its states; else its latents go back and forth
    leave: Callable[[], Awaitable[None]] | None = None  # ends a connection of its own
    pictures: list[bytes] = field(default_factory=list)
    next_frame: int = 0
    past: deque[Past] = field(default_factory=deque)

    async def turn(self, frames: int) -> TurnTimes:
        """See ``Player``."""
        material = self.material
        states = [material.plain_states[place] for place in material.places(self.next_frame, frames)]
        self.pictures, latents = [], []
        arrivals, sent = [], time.perf_counter()
        request = TurnRequest(
            material.stage, self.seed, material.tier, material.jpeg_quality, self.fps, self.next_frame,
            0 if self.redraw else material.window, tuple(self.past), tuple(states),
        )  # fmt: skip
        async for frame in self.answers(request):
            arrivals.append(time.perf_counter())
            self.pictures.append(frame.picture)
            latents.append(frame.latent)
        if len(arrivals) != frames:
            raise RuntimeError(f"{len(arrivals)} frames came of {frames}")
        self.past.extend(
            Past(self.next_frame + position, state, latent)
            for position, (state, latent) in enumerate(zip(states, latents, strict=True))
        )
        while len(self.past) > material.window:
            self.past.popleft()
        self.next_frame += frames
        return TurnTimes(sent, tuple(arrivals))

    async def close(self) -> None:
        """See ``Player``. A host without sessions need not be told."""
        if self.leave is not None:
            await self.leave()


class HttpClient:
    """One HTTP client for all players of LitServe or Ray Serve: connections are kept and used again."""

    def __init__(self, port: int, as_json: bool) -> None:
        aiohttp = importlib.import_module("aiohttp")
        self._as_json = as_json
        self._url = f"http://127.0.0.1:{port}/perform"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=ANSWER_S)
        self._http: Any = aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0))

    async def answers(self, request: TurnRequest) -> AsyncIterator[HostedFrame]:
        """Sends one turn and yields its frames. Raises ``OSError`` if there is no such host yet."""
        body, kind = request.pack(), "application/octet-stream"
        if self._as_json:
            body, kind = json.dumps({"turn": base64.b64encode(body).decode()}).encode(), "application/json"
        reader = FrameReader()
        async with self._http.post(self._url, data=body, headers={"Content-Type": kind}) as response:
            if response.status != 200:
                raise ConnectionError(f"{self._url} answered {response.status}")
            async for data in response.content.iter_any():
                for frame in reader.feed(data):
                    yield frame
        reader.finish()

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.close()


class WebSocketClient:
    """One WebSocket, for one player."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket

    @classmethod
    async def connect(cls, port: int) -> Self:
        """Raises ``OSError`` if there is no such host yet."""
        websockets = importlib.import_module("websockets")
        url = f"ws://127.0.0.1:{port}/perform"
        return cls(await websockets.connect(url, compression=None, max_size=MOST_REQUEST_BYTES))

    async def answers(self, request: TurnRequest) -> AsyncIterator[HostedFrame]:
        """Sends one turn and yields its frames."""
        await self._socket.send(request.pack())
        reader = FrameReader()
        while data := await asyncio.wait_for(self._socket.recv(), ANSWER_S):
            for frame in reader.feed(data):
                yield frame

    async def close(self) -> None:
        """Closes the connection."""
        await self._socket.close()
