"""Several inference processes behind one front end: sessions are spread over them, and move when one is lost."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import grpc
import pytest

from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_server.running import run_server
from messages import lockstep_turn, open_message
from raw_client import RawStream
from synthetic_server import eventually, left_over, shared_memory_of, synthetic_config

pytestmark = pytest.mark.asyncio


async def test_sessions_are_spread_and_move_when_their_process_is_lost_with_every_frame_and_its_pixels() -> None:
    async with run_server(synthetic_config(workers=2)) as server, grpc.aio.insecure_channel(server.address) as channel:
        crew = server.runtime.crew
        blocks = shared_memory_of(os.getpid())
        assert len(blocks) == 2
        alone = RawStream(channel)
        await alone.open(open_message())
        await alone.say(turn=lockstep_turn("one", 40))
        expected = [frame.pixel_digest for frame in await alone.frames(40)]
        await alone.say(close=pb.Close())
        await alone.hear_until("closed")

        streams = [RawStream(channel) for _ in range(4)]
        for number, stream in enumerate(streams):
            message = open_message()
            if number % 2:
                message.MergeFrom(pb.Open(pacing=pb.PACING_LOCKSTEP, fps=30.0))
            await stream.open(message)
            await stream.say(turn=lockstep_turn("one", 40))
        records = [record for record in server.runtime.sessions if not record.session.closed]
        assert {record.inference for record in records} == {0, 1}
        assert {record.inference for record in records if record.session.terms.paced} == {0, 1}  # promises are shared
        started = [await stream.frames(10) for stream in streams]
        victim = crew.all[0].link.process_id
        assert victim is not None
        os.kill(victim, signal.SIGKILL)
        for stream, frames in zip(streams, started, strict=True):
            frames += await stream.frames(30)
            assert [frame.pixel_digest for frame in frames] == expected
        assert all(record.session.has_place == record.session.terms.paced for record in records)

        async def replaced() -> bool:
            return crew.all[0].at_work and crew.all[0].link.process_id not in (None, victim)

        await eventually(replaced)
        newcomer = RawStream(channel)  # goes where there is most room: to the process that is new
        await newcomer.open(open_message())
        assert {record.inference for record in records} == {1}
        assert next(iter(reversed(list(server.runtime.sessions)))).inference == 0
        blocks = shared_memory_of(os.getpid())
        assert len(blocks) == 2
    assert not left_over(blocks)


async def test_the_server_is_lost_only_when_every_process_is() -> None:
    async with run_server(synthetic_config(workers=2)) as server, grpc.aio.insecure_channel(server.address) as channel:
        crew = server.runtime.crew

        async def gone() -> bool:
            if crew.all[0].at_work and crew.all[0].link.process_id is not None:
                os.kill(crew.all[0].link.process_id, signal.SIGKILL)
                await asyncio.sleep(0.05)
            return crew.gone == {0}

        await eventually(gone, seconds=60.0)
        assert not server.runtime.lost
        stream = RawStream(channel)
        await stream.open(open_message())
        await stream.say(turn=lockstep_turn("one", 5))
        assert [frame.frame_index for frame in await stream.frames(5)] == list(range(5))
        stream.leave()


async def test_sessions_that_come_while_a_lost_process_is_replaced_are_begun_once(tmp_path: Path) -> None:
    """Begun twice, a session would end the server's own step, and all others with it."""
    async with run_server(synthetic_config(tmp_path)) as server, grpc.aio.insecure_channel(server.address) as channel:

        async def comes(number: int) -> list[int]:
            await asyncio.sleep(0.02 * number)
            stream = RawStream(channel)
            await stream.open(open_message(seed=number))
            await stream.say(turn=lockstep_turn("one", 2))
            indexes = [frame.frame_index for frame in await stream.frames(2)]
            await stream.say(close=pb.Close())
            await stream.hear_until("closed")
            return indexes

        for _ in range(3):
            lost = server.runtime.process_id
            assert lost is not None
            os.kill(lost, signal.SIGKILL)
            assert await asyncio.gather(*[comes(number) for number in range(30)]) == [[0, 1]] * 30
