"""What clients that stop reading cost: pictures in memory up to a limit, and no picture lost when it is passed."""

from __future__ import annotations

import grpc
import pytest

from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_server.running import RunningServer, run_server
from cutscene_server.session_log import DrawnFigures, FrameReady, SessionLog, TurnStarted
from cutscene_server.terms import Codec
from messages import lockstep_turn, open_message
from raw_client import RawStream
from synthetic_server import eventually, synthetic_config

FRAME_BYTES = 64 * 32 * 3  # of the synthetic engine's raw pictures
FRAMES, CLIENTS = 12, 6
MOST = 2 * FRAMES * FRAME_BYTES  # what two of them leave


def test_a_log_knows_what_its_pictures_take() -> None:
    log = SessionLog()
    log.append(0, TurnStarted("one", 0, 3))
    for index in range(3):
        figures = DrawnFigures(index, "draft", 1, 1, 1, 1, 1, 1, 0, 1)
        log.append(index, FrameReady("one", 0, Codec.RAW_RGB, bytes(100 + index), b"", 0, 0, 0, 0, figures))
    assert log.held_bytes == 303
    log.forget_below(1)
    assert log.held_bytes == 203
    log.forget_from(2)
    assert log.held_bytes == 101
    log.forget_below(2)
    assert (log.held_bytes, len(log)) == (0, 0)


def held(server: RunningServer) -> int:
    return sum(record.session.log.held_bytes for record in server.runtime.sessions)


@pytest.mark.asyncio
async def test_clients_that_leave_raw_frames_unread_cost_no_more_than_the_limit_and_lose_none() -> None:
    """Each could come back for minutes: its session stays in memory so long, but for the limit."""
    config = synthetic_config(max_unfetched=MOST)
    async with run_server(config) as server, grpc.aio.insecure_channel(server.address) as channel:
        message = open_message(frame_credit=64)
        message.video.codec = pb.CODEC_RAW_RGB
        left, digests = [], []
        for number in range(CLIENTS):
            stream = RawStream(channel)
            message.seed = number
            left.append(await stream.open(message))
            await stream.say(turn=lockstep_turn("one", FRAMES))
            digests.append([frame.pixel_digest for frame in await stream.frames(FRAMES, ack=False)])
            stream.leave()

        async def within() -> bool:
            away = [record for record in server.runtime.sessions if record.session.attachment is None]
            return held(server) <= MOST and len(away) == len(list(server.runtime.sessions))

        records = list(server.runtime.sessions)
        await eventually(within)
        gone = [record for record in records if server.runtime.sessions.get(record.session_id) is None]
        assert [record.session.log.held_bytes for record in gone] == [0] * (CLIENTS - 2), "whoever has it at hand still"
        kept = [server.runtime.sessions.get(opened.session_id) is not None for opened in left]
        assert kept == [False] * (CLIENTS - 2) + [True] * 2, "who left first goes first, and no more than must"
        for opened, expected in zip(left, digests, strict=True):
            again = RawStream(channel)
            await again.resume(opened, 0)
            assert [frame.pixel_digest for frame in await again.frames(FRAMES)] == expected
            again.leave()


@pytest.mark.asyncio
async def test_who_is_there_keeps_what_it_has_not_acknowledged() -> None:
    """The credit bounds that; the limit is for those who are away."""
    config = synthetic_config(max_unfetched=1)
    async with run_server(config) as server, grpc.aio.insecure_channel(server.address) as channel:
        stays, leaves = RawStream(channel), RawStream(channel)
        for stream in (stays, leaves):
            await stream.open(open_message(frame_credit=4))
            await stream.say(turn=lockstep_turn("one", 9))
            await stream.frames(4, ack=False)
        leaves.leave()

        async def gone() -> bool:
            return len(list(server.runtime.sessions)) == 1

        await eventually(gone)
        assert held(server) > 0
        await stays.say(ack=pb.Ack(next_frame=4))
        assert [frame.frame_index for frame in await stays.frames(5)] == [4, 5, 6, 7, 8]
        stays.leave()
