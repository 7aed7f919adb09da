"""A session whose stream breaks at the worst moments, against a server that is told when to break it."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import signal
import threading
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

import cutscene_client as cc
from cutscene_client import blocking
from cutscene_client.errors import ConnectionLost, ServerUnreachable
from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1.cutscene_pb2_grpc import CutsceneServiceServicer, add_CutsceneServiceServicer_to_server
from synthetic_server import eventually

Context = grpc.aio.ServicerContext[pb.PerformRequest, pb.PerformResponse]


class BreakingServer(CutsceneServiceServicer):
    """Plays nothing. Its first ``breaks`` streams end when a ``close`` comes, before it is taken."""

    def __init__(self, breaks: int) -> None:
        self.breaks = breaks
        self.heard: list[str] = []

    async def Perform(self, _stream: object, context: Context) -> None:  # noqa: N802
        while isinstance(request := await context.read(), pb.PerformRequest):
            kind = str(request.WhichOneof("request"))
            self.heard.append(kind)
            if kind in ("open", "resume"):
                opened = pb.Opened(session_id="one", token="secret", fps=24.0, frame_credit=8)  # noqa: S106
                await context.write(pb.PerformResponse(opened=opened))
            elif kind == "close":
                if self.breaks:
                    self.breaks -= 1
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "the server ends")
                await context.write(pb.PerformResponse(closed=pb.Closed(reason=pb.CLOSE_REASON_CLIENT)))


class FlickeringServer(CutsceneServiceServicer):
    """Ends the first stream once four turns have come, none of which is taken, and the next ``breaks`` as soon as the
    session is resumed on them.
    """

    def __init__(self, breaks: int) -> None:
        self.breaks = breaks
        self.heard: list[str] = []  # on the last stream
        self.resumed = 0

    async def Perform(self, _stream: object, context: Context) -> None:  # noqa: N802
        first = await context.read()
        resumes = isinstance(first, pb.PerformRequest) and first.HasField("resume")
        self.heard = []
        opened = pb.Opened(session_id="one", token="secret", fps=24.0, frame_credit=8)  # noqa: S106
        await context.write(pb.PerformResponse(opened=opened))
        if resumes:
            self.resumed += 1
            if self.resumed <= self.breaks:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the server ends")
        while isinstance(request := await context.read(), pb.PerformRequest):
            self.heard.append(str(request.WhichOneof("request")))
            if self.heard == ["turn"] * 4 and not resumes:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the server ends")
            if self.heard[-1] == "close":
                await context.write(pb.PerformResponse(closed=pb.Closed(reason=pb.CLOSE_REASON_CLIENT)))


@contextlib.asynccontextmanager
async def serving(servicer: CutsceneServiceServicer) -> AsyncIterator[str]:
    server = grpc.aio.server()
    add_CutsceneServiceServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@pytest.mark.parametrize("breaks", [0, 1, 2])
async def test_a_close_that_the_server_did_not_take_is_said_again(breaks: int) -> None:
    servicer = BreakingServer(breaks)
    async with serving(servicer) as address, cc.connect(address) as client:
        session = await client.open_request(pb.Open())
        async with asyncio.timeout(30):
            await session.close()
        assert session.resumed == breaks
    assert servicer.heard == ["open", "close"] + ["resume", "close"] * breaks


async def four_turns(session: cc.Session) -> None:
    """No frame of them ever comes."""
    turns = [pb.Turn(turn_id=f"turn-{number}") for number in range(4)]
    async for _ in session.play(turns, ahead=4):
        raise AssertionError("nobody draws here")


@pytest.mark.parametrize("breaks", [0, 1, 4])
async def test_what_is_sent_again_is_sent_once_however_often_the_stream_breaks(breaks: int) -> None:
    """A turn that came twice would be rejected, and its frames with it."""
    servicer = FlickeringServer(breaks)
    async with serving(servicer) as address, cc.connect(address) as client:
        session = await client.open_request(pb.Open())
        playing = asyncio.create_task(four_turns(session))

        async def all_came() -> bool:
            return session.resumed > breaks and len(servicer.heard) == 4

        async with asyncio.timeout(30):
            await eventually(all_came)
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)
            await session.close()
    assert servicer.heard == ["turn"] * 4 + ["close"]


async def test_streams_that_break_as_soon_as_they_are_there_are_tried_with_growing_pauses_and_not_for_ever() -> None:
    servicer = FlickeringServer(1_000_000)
    async with serving(servicer) as address, cc.connect(address) as client:
        session = await client.open_request(pb.Open(), patience=2.0)
        with pytest.raises(ConnectionLost):
            await four_turns(session)
        session.detach()
    assert 2 <= servicer.resumed <= 12


class Line(CutsceneServiceServicer):
    """Whoever opens a session waits in line, for ever."""

    def __init__(self) -> None:
        self.left = threading.Event()

    async def Perform(self, _stream: object, context: Context) -> None:  # noqa: N802
        await context.read()
        queued = pb.Notice(kind=pb.NOTICE_KIND_QUEUED, position=1)
        await context.write(pb.PerformResponse(notice=queued))
        try:
            await asyncio.Event().wait()
        finally:
            self.left.set()


async def test_what_a_caller_s_own_code_raises_while_it_waits_in_line_leaves_the_line() -> None:
    def tell(position: int) -> None:
        raise RuntimeError("the window was closed")

    line = Line()
    async with serving(line) as address, cc.connect(address) as client:
        with pytest.raises(RuntimeError, match="window"):
            await client.open_request(pb.Open(wait=True), on_position=tell)
        assert await asyncio.to_thread(line.left.wait, 30)


def test_ctrl_c_in_blocking_code_leaves_the_line_too() -> None:
    line, address, over = Line(), queue.Queue[str](), threading.Event()

    async def serve() -> None:
        async with serving(line) as at:
            address.put(at)
            await asyncio.to_thread(over.wait)

    def interrupt(position: int) -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    server = threading.Thread(target=asyncio.run, args=(serve(),))
    server.start()
    try:
        with blocking.connect(address.get(timeout=30)) as client:
            with pytest.raises(KeyboardInterrupt):
                client.open(cast=[], set=[], wait=True, on_position=interrupt)
            assert line.left.wait(30)
    finally:
        over.set()
        server.join()


async def test_a_server_that_is_gone_is_named_as_such_however_it_shows() -> None:
    class Gone(CutsceneServiceServicer):
        async def Perform(self, _stream: object, context: Any) -> None:  # noqa: N802
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the server is stopping")

    async with serving(Gone()) as address, cc.connect(address) as client:
        for _ in range(20):
            with pytest.raises(ServerUnreachable, match="stopping"):
                await client.open_request(pb.Open(model="m" * 100_000))
