"""Clients that are slow, and clients that say what may not be said: each does one thing, and checks that it is refused.

They are made of bare stubs, for the real client would not do such things.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from collections.abc import Awaitable, Sequence
from typing import Any

import grpc
from soak_churn import Churn, Kind, Unexpected, close, pieces

import cutscene_client as cc
from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1 import render_pb2 as rpb
from cutscene_proto.v1 import scene_pb2 as spb
from cutscene_proto.v1.cutscene_pb2_grpc import CutsceneServiceStub
from cutscene_proto.v1.render_pb2_grpc import RenderServiceStub
from raw_client import RawStream
from spoiling import spoiled

PERFORM = "/cutscene_proto.v1.CutsceneService/Perform"
NARROW = [("grpc.http2.lookahead_bytes", 1 << 14), ("grpc.http2.bdp_probe", 0)]  # takes 64 KiB unread, then no more

# ---- those that are slow --------------------------------------------------------------------------------------------


async def slow_reader(churn: Churn, chance: random.Random) -> None:
    async with churn.channel() as channel:
        stream = RawStream(channel)
        await stream.open(churn.play.opening(chance, frame_credit=2))
        await stream.say(turn=churn.play.turn(chance, churn.frames, "one"))
        last = churn.frames - 1
        try:
            while True:
                message = await stream.hear()
                if message is None or message.HasField("turn_completed") or message.HasField("rejected"):
                    break
                if message.HasField("frame"):
                    last = message.frame.frame_index
                    await asyncio.sleep(0.2 + 0.3 * chance.random())
                    await stream.say(ack=pb.Ack(next_frame=last + 1))
        finally:
            with contextlib.suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
                await close(stream)


async def stops_reading(churn: Churn, chance: random.Random) -> None:
    """Leaves raw frames unread until the server ends the stream; then, or before that, it is gone."""
    message = churn.play.opening(chance, paced=False, frame_credit=64)
    message.video.codec = pb.CODEC_RAW_RGB
    async with churn.channel(NARROW) as channel:
        stream = RawStream(channel)
        opened = await stream.open(message)
        await stream.say(turn=churn.play.turn(chance, 3 * churn.frames, "one"))
        await asyncio.sleep(churn.write_timeout * chance.choice([0.3, 1.5]))
        stream.leave()
    churn.left_sessions.append((opened.session_id, opened.token))


# ---- those that say what may not be said ----------------------------------------------------------------------------


async def noise(churn: Churn, chance: random.Random) -> None:
    """Bytes flipped, cut off or put in."""
    whole = [
        pb.PerformRequest(open=churn.play.opening(chance)),
        pb.PerformRequest(turn=churn.play.turn(chance, 2, "one")),
        pb.PerformRequest(ack=pb.Ack(next_frame=1)),
    ]
    async with churn.channel() as channel:
        for _ in range(4):
            call: Any = channel.stream_stream(PERFORM)()
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
                if chance.random() < 0.5:
                    await call.write(whole[0].SerializeToString())
                for _ in range(3):
                    await call.write(spoiled(chance, chance.choice(whole).SerializeToString()))
                async with asyncio.timeout(0.5):
                    await call.read()
            call.cancel()


async def bad_values(churn: Churn, chance: random.Random) -> None:
    """Turns, acks and rewinds that are refused by name, in a session that goes on after each."""
    async with churn.channel() as channel:
        stream = RawStream(channel)
        await stream.open(churn.play.opening(chance, paced=False))
        await stream.say(turn=churn.play.turn(chance, 2, "good"))
        await stream.frames(2)
        bad = _bad_requests(churn, chance)
        chance.shuffle(bad)
        for name, request in bad[:4]:
            await stream.say(**request)
            rejected = await stream.hear_until("rejected")
            if not rejected.violations:
                raise Unexpected(f"{name} was refused without a field")
            churn.counts["requests rejected"] += 1
        await stream.say(turn=churn.play.turn(chance, 1, "after"))
        await stream.frames(1)
        await close(stream)


def _bad_requests(churn: Churn, chance: random.Random) -> list[tuple[str, dict[str, Any]]]:
    def turn(number: int) -> pb.Turn:
        return churn.play.turn(chance, 2, f"bad-{number}")

    nan, crowd, huge, backward, empty, tilted = (turn(number) for number in range(6))
    nan.lockstep.states[1].camera.position.x = chance.choice([math.nan, math.inf, -math.inf])
    for _ in range(5):
        crowd.lockstep.states[0].actors.add().CopyFrom(crowd.lockstep.states[0].actors[0])
    huge.lockstep.states.extend([spb.SceneState()] * 4096)
    run = pb.KeyframedRun()
    for offset in (0, 500_000, 400_000):
        run.keyframes.add(offset_us=offset, state=churn.play.states[0])
    backward.keyframed.CopyFrom(run)
    del empty.lockstep.states[:]
    tilted.lockstep.states[0].camera.rotation.w += 3.0
    return [
        ("NaN", {"turn": nan}), ("too many actors", {"turn": crowd}), ("too many states", {"turn": huge}),
        ("keyframes out of order", {"turn": backward}), ("no states", {"turn": empty}),
        ("no rotation", {"turn": tilted}), ("a turn said twice", {"turn": churn.play.turn(chance, 1, "good")}),
        ("ack of what was not drawn", {"ack": pb.Ack(next_frame=10**6)}),
        ("rewind to what was not drawn", {"rewind": pb.Rewind(frame=10**6)}),
        ("a second open", {"open": churn.play.open}),
    ]  # fmt: skip


async def strangers(churn: Churn, chance: random.Random) -> None:
    """Calls that name what is not there, or not theirs."""
    kept = churn.left_sessions[-1][0] if churn.left_sessions else "0" * 32
    async with churn.channel() as channel:
        stub: Any = CutsceneServiceStub(channel)  # type: ignore[no-untyped-call]
        renders: Any = RenderServiceStub(channel)  # type: ignore[no-untyped-call]
        wrong: dict[str, Any] = {
            "session_id": chance.choice([kept, "f" * 32, "../x", ""]),
            "token": "not-its-token",
        }
        job = rpb.GetRenderRequest(job_id="f" * 32, token="not-its-token")  # noqa: S106
        await _refused(stub.GetSession(pb.GetSessionRequest(**wrong)), "NOT_FOUND")
        await _refused(stub.CloseSession(pb.CloseSessionRequest(**wrong)), "NOT_FOUND")
        await _refused(stub.ForkSession(pb.ForkSessionRequest(**wrong, frame=0)), "NOT_FOUND")
        await _refused(stub.ReplaySession(pb.ReplaySessionRequest(**wrong)), "NOT_FOUND")
        await _refused(renders.GetRender(job), "NOT_FOUND")
        await _refused(stub.ListSessions(pb.ListSessionsRequest(page_size=10**6)), "INVALID_ARGUMENT")
        await _refused(stub.GetServerStats(pb.GetServerStatsRequest(max_sessions=10**6)), "INVALID_ARGUMENT")
        await _refused(_heard(RawStream(channel), resume=pb.Resume(**wrong)), "NOT_FOUND")
        await _refused(_heard(RawStream(channel), ack=pb.Ack(next_frame=1)), "FAILED_PRECONDITION")
        too_fast = churn.play.opening(chance, paced=False, fps=1e6)
        await _refused(_heard(RawStream(channel), open=too_fast), "INVALID_ARGUMENT")
        await _refused(_submitted(renders, [rpb.SubmitRenderRequest()]), "INVALID_ARGUMENT")


async def broken_file(churn: Churn, chance: random.Random) -> None:
    """Brings a session that is none, or leaves while it brings it."""
    async with churn.client() as client:
        with contextlib.suppress(cc.RequestRefused, cc.InvalidRequest):
            await client.import_session(pieces(chance.randbytes(chance.randrange(1, 200_000))))
            raise Unexpected("bytes that are no session were taken for one")
    async with churn.channel() as channel:
        stub: Any = CutsceneServiceStub(channel)  # type: ignore[no-untyped-call]
        call = stub.ImportSession()
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await call.write(pb.ImportSessionRequest(data=chance.randbytes(1000)))
        call.cancel()


async def _heard(stream: RawStream, **request: Any) -> None:
    await stream.say(**request)
    await stream.hear_to_end()


async def _submitted(renders: Any, requests: Sequence[rpb.SubmitRenderRequest]) -> None:
    await renders.SubmitRender(iter(requests))


async def _refused(call: Awaitable[Any], code: str) -> None:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        if error.code().name not in (code, "RESOURCE_EXHAUSTED"):
            raise
        return
    raise Unexpected(f"what should be answered with {code} was taken")


SLOW: dict[str, tuple[int, Kind]] = {"slow_reader": (2, slow_reader), "stops_reading": (2, stops_reading)}
"""By name: how often it is done, and what it is."""

OFFENDING: dict[str, tuple[int, Kind]] = {
    "noise": (2, noise), "bad_values": (3, bad_values), "strangers": (3, strangers), "broken_file": (2, broken_file),
}  # fmt: skip
