"""Many live streams in one client process, made of the generated stubs alone: no picture is decoded, none is kept."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from typing import Any

import grpc

from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1 import scene_pb2 as spb
from cutscene_proto.v1.cutscene_pb2_grpc import CutsceneServiceStub

CREDIT = 48
ACK_EVERY = 6  # frames, as the Python client does it: an eighth of the credit
OPENED_AT_ONCE = 16


def channels(address: str, count: int) -> list[grpc.aio.Channel]:
    """Connections of their own, as many clients would have them."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    return [grpc.aio.insecure_channel(address, options=options) for _ in range(count)]


class Stream:
    """One Perform call."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = CutsceneServiceStub(channel)  # type: ignore[no-untyped-call]
        self._call: Any = self._stub.Perform()
        self._opened = pb.Opened()
        self._numbers = itertools.count()
        self.begun = 0.0  # when the first turn was sent
        self.arrivals: list[float] = []  # of every frame, by its number
        self.encode_us: list[int] = []  # of every frame, as the server says
        self.last = pb.PerformResponse()

    async def open(self, request: pb.Open) -> bool:
        """Whether the session was taken. Raises ``grpc.aio.AioRpcError`` if it failed otherwise."""
        await self._call.write(pb.PerformRequest(open=request))
        try:
            answer = await self._call.read()
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
            return False
        self._opened = answer.opened
        return True

    async def play(self, states: Sequence[spb.SceneState], delay: float = 0.0) -> None:
        """Has the states drawn over and over, from ``delay`` seconds on. Two turns are always with the server."""
        await asyncio.sleep(delay)
        run = pb.LockstepRun(states=states)
        self.begun = time.perf_counter()
        await self._send(run)
        await self._send(run)
        while (answer := await self._call.read()) is not grpc.aio.EOF:
            kind = answer.WhichOneof("response")
            if kind == "frame":
                self.arrivals.append(time.perf_counter())
                self.encode_us.append(answer.frame.timings.encode_us)
                self.last = answer
                if len(self.arrivals) % ACK_EVERY == 0:
                    await self._call.write(pb.PerformRequest(ack=pb.Ack(next_frame=len(self.arrivals))))
            elif kind == "turn_completed":
                await self._send(run)
            elif kind == "rejected":
                raise SystemExit(f"a turn was rejected: {answer.rejected}")
        raise SystemExit(f"a stream has ended: {await self._call.details()}")

    def leave(self) -> None:
        """Ends the call; its session stays with the server until that parks it."""
        self._call.cancel()

    async def end(self) -> None:
        """Ends the session now, whatever it has still to draw, and the call."""
        await self._stub.CloseSession(
            pb.CloseSessionRequest(session_id=self._opened.session_id, token=self._opened.token)
        )
        self.leave()

    async def _send(self, run: pb.LockstepRun) -> None:
        await self._call.write(pb.PerformRequest(turn=pb.Turn(turn_id=f"turn-{next(self._numbers)}", lockstep=run)))


async def opened(connections: Sequence[grpc.aio.Channel], request: pb.Open, count: int) -> list[Stream]:
    """Streams with a session each, as many as were taken of ``count``."""
    at_once = asyncio.Semaphore(OPENED_AT_ONCE)

    async def one(number: int) -> Stream | None:
        async with at_once:
            stream = Stream(connections[number % len(connections)])
            return stream if await stream.open(request) else None

    return [stream for stream in await asyncio.gather(*map(one, range(count))) if stream is not None]


class Playing:
    """Streams that are played for as long as a block lasts."""

    def __init__(self, streams: Sequence[Stream], states: Sequence[spb.SceneState], delays: Sequence[float]) -> None:
        self._streams = streams
        self._plays = [(stream, delay) for stream, delay in zip(streams, delays, strict=True)]
        self._states = states
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> None:
        self._tasks = [asyncio.create_task(stream.play(self._states, delay)) for stream, delay in self._plays]

    async def __aexit__(self, *_: object) -> None:
        failed = [task.exception() for task in self._tasks if task.done()]
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*[stream.end() for stream in self._streams])
        if failed:
            raise SystemExit(f"{len(failed)} streams failed: {failed[0]}")
