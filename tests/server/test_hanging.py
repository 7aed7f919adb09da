"""Inference processes that stand still: noticed, ended and replaced, while the front end goes on."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from pathlib import Path

import grpc
import pytest

from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1.cutscene_pb2_grpc import CutsceneServiceStub
from cutscene_server import worker_messages
from cutscene_server.crew import MOST_CRASHES
from cutscene_server.errors import NotServing
from cutscene_server.running import RunningServer, run_server
from cutscene_server.worker_link import MOST_HELD
from messages import lockstep_turn, open_message
from pictures import png, top_row
from raw_client import RawStream
from scraping import samples_of, value
from server_program import serving
from synthetic_server import eventually, process_lives, shared_memory_of, synthetic_config

pytestmark = pytest.mark.asyncio

LIMIT_S = 1.5  # far more than the synthetic engine takes on a machine that is busy
LOAD_LIMIT_S = 8.0  # and than it takes to start
SLOW = ("actor-0", "slow")  # takes 50 ms a frame, so that some are being drawn when something happens
BLUE = png(top_row((0, 0, 255)))  # see ``SyntheticEngine.encode``


def times(directory: Path, count: int) -> Path:
    """A model's directory that lets an engine hang so often."""
    directory.mkdir()
    for number in range(count):
        (directory / str(number)).touch()
    return directory


async def expected_digests(channel: grpc.aio.Channel, count: int, *cast: str) -> list[bytes]:
    stream = RawStream(channel)
    await stream.open(open_message(cast=cast) if cast else open_message())
    await stream.say(turn=lockstep_turn("one", count))
    frames = [frame.pixel_digest for frame in await stream.frames(count)]
    await stream.say(close=pb.Close())
    await stream.hear_until("closed")
    return frames


def process_id(server: RunningServer) -> int:
    found = server.runtime.process_id
    assert found is not None
    return found


@pytest.mark.parametrize("where", ["hang_frame_3", "hang_begin", "hang_decode"])
async def test_a_process_that_hangs_once_is_replaced_and_its_client_gets_every_frame(
    tmp_path: Path, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    cast = ("actor-0", where)
    async with run_server(synthetic_config()) as server, grpc.aio.insecure_channel(server.address) as channel:
        expected = await expected_digests(channel, 8, *cast)
    config = synthetic_config(model=times(tmp_path / "once", 1), frame_timeout=LIMIT_S, metrics_listen="127.0.0.1:0")
    async with run_server(config) as server, grpc.aio.insecure_channel(server.address) as channel:
        hung = process_id(server)
        stream = RawStream(channel)
        opened = await stream.open(open_message(cast=cast))
        with caplog.at_level(logging.CRITICAL, "cutscene_server"):
            await stream.say(turn=lockstep_turn("one", 8))
            assert [frame.pixel_digest for frame in await stream.frames(8)] == expected
        assert not process_lives(hung)
        samples = await samples_of(server)
        assert value(samples, "cutscene_inference_hangs_total") == 1
        assert value(samples, "cutscene_inference_restarts_total") == 1
        assert len(shared_memory_of(os.getpid())) == 1
    (line,) = [record.getMessage() for record in caplog.records if "hung" in record.getMessage()]
    assert f"session {opened.session_id}" in line
    assert "no answer within 1.5 s" in line
    thing = {"hang_frame_3": "frame 3 of", "hang_begin": "taking up", "hang_decode": "frame 0 of"}[where]
    assert f"{thing} session {opened.session_id}" in line


@pytest.mark.parametrize("where", ["hang_frame_3", "hang_begin", "hang_decode"])
async def test_a_session_that_hangs_processes_is_closed_and_the_others_go_on(tmp_path: Path, where: str) -> None:
    model = times(tmp_path / "often", MOST_CRASHES + 2)
    config = synthetic_config(model=model, frame_timeout=LIMIT_S)
    async with run_server(config) as server, grpc.aio.insecure_channel(server.address) as channel:
        expected = await expected_digests(channel, 24, *SLOW)
        bad, good = RawStream(channel), RawStream(channel)
        await good.open(open_message(cast=SLOW))
        await good.say(turn=lockstep_turn("one", 24))
        if where == "hang_begin":
            with pytest.raises(grpc.aio.AioRpcError, match="could not begin this session"):
                await bad.open(open_message(cast=("actor-0", where)))
        else:
            await bad.open(open_message(cast=("actor-0", where)))
            await bad.say(turn=lockstep_turn("one", 6))
            assert (await bad.hear_until("closed")).reason == pb.CLOSE_REASON_ERROR
        assert [frame.pixel_digest for frame in await good.frames(24)] == expected
    assert len(list(model.iterdir())) == 2


async def test_a_picture_that_hangs_processes_is_given_up_and_no_session_is_blamed() -> None:
    config = synthetic_config(frame_timeout=LIMIT_S)
    async with run_server(config) as server, grpc.aio.insecure_channel(server.address) as channel:
        playing = RawStream(channel)
        expected = await expected_digests(channel, 24, *SLOW)
        await playing.open(open_message(cast=SLOW))
        await playing.say(turn=lockstep_turn("one", 24))
        message = open_message()
        message.references.append(pb.ReferencePicture(data=BLUE))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await RawStream(channel).open(message)
        assert raised.value.code() is grpc.StatusCode.INTERNAL
        assert [frame.pixel_digest for frame in await playing.frames(24)] == expected


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_process_that_is_stopped_is_replaced_and_nobody_misses_a_frame(workers: int) -> None:
    config = synthetic_config(frame_timeout=LIMIT_S, workers=workers)
    async with run_server(config) as server, grpc.aio.insecure_channel(server.address) as channel:
        expected = await expected_digests(channel, 24, *SLOW)
        streams = [RawStream(channel) for _ in range(4)]
        for stream in streams:
            await stream.open(open_message(cast=SLOW))
            await stream.say(turn=lockstep_turn("one", 24))
        started = [await stream.frames(10) for stream in streams]
        stopped = process_id(server)
        os.kill(stopped, signal.SIGSTOP)
        for stream, frames in zip(streams, started, strict=True):
            frames += await stream.frames(14)
            assert [frame.pixel_digest for frame in frames] == expected

        async def replaced() -> bool:
            return server.runtime.crew.all[0].at_work and process_id(server) != stopped

        await eventually(replaced)
        assert not process_lives(stopped)


async def test_the_program_notices_it_as_well(tmp_path: Path) -> None:
    turn = lockstep_turn("one", 30)
    async with serving(tmp_path, "--frame-timeout", str(LIMIT_S)) as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            stream = RawStream(channel)
            opened = await stream.open(open_message(cast=SLOW))
            await stream.say(turn=turn)
            frames = await stream.frames(5)
            server.kill_inference(signal.SIGSTOP)
            frames += await stream.frames(25)
            assert [frame.frame_index for frame in frames] == list(range(30))
        log = await server.stop()
    assert "CRITICAL cutscene_server: inference process 0 hung and was killed: no answer within 1.5 s" in log
    assert f"of session {opened.session_id}" in log


async def test_without_a_limit_a_stopped_process_is_left_alone_and_its_full_pipe_stops_nobody() -> None:
    """As for somebody who looks into it with a debugger. Then it goes on where it was."""
    async with (
        run_server(synthetic_config(frame_timeout=0.0)) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        stub = CutsceneServiceStub(channel)  # type: ignore[no-untyped-call]
        expected = await expected_digests(channel, 40)
        stream = RawStream(channel)
        await stream.open(open_message())
        await stream.say(turn=lockstep_turn("one", 40))
        frames = await stream.frames(10)
        stopped, link = process_id(server), server.runtime.crew.all[0].link
        os.kill(stopped, signal.SIGSTOP)
        for number in range(20_000):
            link.send(worker_messages.End((1 << 40) + number))  # of nobody: it takes room, and changes nothing
            if number % 100 == 0:
                assert (await stub.ListModels(pb.ListModelsRequest())).models
        reads = asyncio.create_task(link.taken())
        await asyncio.sleep(0)
        assert not reads.done()
        coming = RawStream(channel)
        await coming.say(open=open_message())  # is not begun before the process goes on
        assert (await stub.GetServerStats(pb.GetServerStatsRequest())).stats.sessions
        os.kill(stopped, signal.SIGCONT)
        await reads
        assert [frame.pixel_digest for frame in [*frames, *await stream.frames(30)]] == expected
        await coming.hear_until("opened")
        await coming.say(turn=lockstep_turn("one", 40))
        assert [frame.pixel_digest for frame in await coming.frames(40)] == expected
        assert process_id(server) == stopped


async def test_a_process_that_reads_nothing_is_hung_once_too_much_waits_for_it() -> None:
    """Even without a limit of time, for memory has one."""
    async with (
        run_server(synthetic_config(frame_timeout=0.0)) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        stub = CutsceneServiceStub(channel)  # type: ignore[no-untyped-call]
        expected = await expected_digests(channel, 24, *SLOW)
        stream = RawStream(channel)
        await stream.open(open_message(cast=SLOW))
        await stream.say(turn=lockstep_turn("one", 24))
        frames = await stream.frames(10)
        stopped, link = process_id(server), server.runtime.crew.all[0].link
        os.kill(stopped, signal.SIGSTOP)
        for number in range((MOST_HELD >> 20) + 3):
            link.send(worker_messages.Encode((1 << 40) + number, bytes(1 << 20)))
            assert (await stub.ListModels(pb.ListModelsRequest())).models
        assert [frame.pixel_digest for frame in [*frames, *await stream.frames(14)]] == expected
        assert process_id(server) != stopped
        assert not process_lives(stopped)


async def test_a_model_that_is_never_loaded_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "slow").mkdir()
    with pytest.raises(NotServing, match=r"had not loaded its model within 0\.2 s"):
        async with run_server(synthetic_config(model=tmp_path / "slow", load_timeout=0.2)):
            raise AssertionError
    assert not shared_memory_of(os.getpid())


async def test_a_model_that_hangs_at_its_first_frame_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "hangs").mkdir()
    with pytest.raises(NotServing, match=r"had not drawn a frame within 8 s"):
        async with run_server(synthetic_config(model=tmp_path / "hangs", load_timeout=LOAD_LIMIT_S)):
            raise AssertionError
    assert not shared_memory_of(os.getpid())


async def test_a_process_that_hangs_while_it_loads_the_model_is_replaced_in_turn(tmp_path: Path) -> None:
    config = synthetic_config(model=tmp_path, load_timeout=LOAD_LIMIT_S, metrics_listen="127.0.0.1:0")
    async with run_server(config) as server, grpc.aio.insecure_channel(server.address) as channel:
        stream = RawStream(channel)
        await stream.open(open_message(cast=SLOW))
        await stream.say(turn=lockstep_turn("one", 20))
        frames = await stream.frames(2)
        (tmp_path / "hang_load").touch()
        os.kill(process_id(server), signal.SIGKILL)
        frames += await stream.frames(18)
        assert [frame.frame_index for frame in frames] == list(range(20))
        samples = await samples_of(server)
        assert value(samples, "cutscene_inference_hangs_total") >= 1
        assert value(samples, "cutscene_inference_restarts_total") == 1
