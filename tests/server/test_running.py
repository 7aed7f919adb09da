"""A server's life: health, reflection, stopping in order, losing its inference process, the command line."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_server.crew import MOST_CRASHES
from cutscene_server.errors import ConfigError, NotServing
from cutscene_server.running import run_server
from cutscene_server.service.calls import SERVICE_NAME
from messages import lockstep_turn, open_message
from raw_client import RawStream
from synthetic_server import (
    DOUBLES,
    ENGINE,
    child_processes,
    eventually,
    left_over,
    process_lives,
    shared_memory_of,
    synthetic_config,
)

pytestmark = pytest.mark.asyncio

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def test_reflection_lists_the_service() -> None:
    async with run_server(synthetic_config()) as server, grpc.aio.insecure_channel(server.address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo()
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        answer: Any = await call.read()
        names = {service.name for service in answer.list_services_response.service}
        assert {SERVICE_NAME, "grpc.health.v1.Health"} <= names
        await call.done_writing()


async def test_health_follows_the_server_and_stopping_says_goodbye_to_streams() -> None:
    async with run_server(synthetic_config()) as server:
        blocks = shared_memory_of(os.getpid())
        assert len(blocks) == 1
        channel = grpc.aio.insecure_channel(server.address)
        watch: Any = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE_NAME))
        assert (await watch.read()).status == SERVING
        stream = RawStream(channel)
        await stream.open(open_message(cast=("actor-0", "slow")))
        await stream.say(turn=lockstep_turn("one", 40))
        await stream.frames(1)
        process_id = server.runtime.process_id
        started = time.monotonic()
    assert time.monotonic() - started < 5.0
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stream.hear_to_end()
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert any(item.notice.kind == pb.NOTICE_KIND_GOING_AWAY for item in stream.heard)
    assert (await watch.read()).status == NOT_SERVING
    await channel.close()
    assert process_id is not None
    assert not process_lives(process_id)
    assert not left_over(blocks)


async def test_a_killed_inference_process_is_replaced_and_nobody_misses_a_frame() -> None:
    async with run_server(synthetic_config()) as server, grpc.aio.insecure_channel(server.address) as channel:
        watch: Any = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == SERVING
        undisturbed, stream, idle = RawStream(channel), RawStream(channel), RawStream(channel)
        for each in (undisturbed, stream, idle):
            await each.open(open_message())
        await undisturbed.say(turn=lockstep_turn("one", 20))
        expected = [frame.pixel_digest for frame in await undisturbed.frames(20)]
        await stream.say(turn=lockstep_turn("one", 20))
        frames = await stream.frames(5)
        assert server.runtime.process_id is not None
        os.kill(server.runtime.process_id, signal.SIGKILL)
        frames += await stream.frames(15)
        assert [frame.pixel_digest for frame in frames] == expected
        await idle.say(turn=lockstep_turn("one", 20))
        assert [frame.pixel_digest for frame in await idle.frames(20)] == expected
        assert (await watch.read()).status == NOT_SERVING
        assert (await watch.read()).status == SERVING
        watch.cancel()
        blocks = shared_memory_of(os.getpid())
        assert len(blocks) == 1, "the lost process's memory is given back"
    assert not left_over(blocks)


async def test_a_session_that_ends_inference_processes_is_closed_and_the_others_go_on() -> None:
    async with run_server(synthetic_config()) as server, grpc.aio.insecure_channel(server.address) as channel:
        bad, good = RawStream(channel), RawStream(channel)
        await bad.open(open_message(cast=("actor-0", "die_frame_3")))
        await good.open(open_message())
        await bad.say(turn=lockstep_turn("one", 6))
        await good.say(turn=lockstep_turn("one", 40))
        assert (await bad.hear_until("closed")).reason == pb.CLOSE_REASON_ERROR
        assert [frame.frame_index for frame in await good.frames(40)] == list(range(40))


async def test_a_session_is_not_blamed_for_inference_processes_that_were_killed(tmp_path: Path) -> None:
    """Not even if all were killed at the same frame of its: its client gets every frame, once."""
    kills = [tmp_path / f"kill-{number}" for number in range(MOST_CRASHES + 1)]
    for kill in kills:
        kill.touch()
    config = synthetic_config(model=tmp_path)
    async with run_server(config) as server, grpc.aio.insecure_channel(server.address) as channel:
        stream = RawStream(channel)
        await stream.open(open_message(cast=("actor-0", "killed_frame_3")))
        await stream.say(turn=lockstep_turn("one", 6))
        assert [frame.frame_index for frame in await stream.frames(6)] == list(range(6))
    assert not any(kill.exists() for kill in kills)


async def test_a_server_that_cannot_keep_an_inference_process_draws_no_more_and_hangs_nobody() -> None:
    async with run_server(synthetic_config()) as server, grpc.aio.insecure_channel(server.address) as channel:
        stream = RawStream(channel)
        await stream.open(open_message())

        async def lost() -> bool:
            if server.runtime.process_id is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(server.runtime.process_id, signal.SIGKILL)
            return server.runtime.lost

        await eventually(lost)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stream.hear_to_end()
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await RawStream(channel).open(open_message())
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_model_that_cannot_be_loaded_ends_the_start(tmp_path: Path) -> None:
    with pytest.raises(NotServing, match="before its model was loaded"):
        async with run_server(synthetic_config(model=tmp_path / "nothing")):
            raise AssertionError
    assert not shared_memory_of(os.getpid())


async def test_a_model_that_cannot_draw_ends_the_start(tmp_path: Path) -> None:
    (model := tmp_path / "dies").mkdir()
    with pytest.raises(NotServing, match=r"before it had drawn a frame \(exit code 3\)"):
        async with run_server(synthetic_config(model=model)):
            raise AssertionError
    assert not shared_memory_of(os.getpid())


async def test_a_model_of_an_older_version_is_refused_in_a_line_that_names_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"format_version": 1, "name": "of version 0.7"}')
    arguments = ["--listen", "127.0.0.1:0", "--model", str(tmp_path), "--data", str(tmp_path / "data")]
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "cutscene_server", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert f"{tmp_path / 'manifest.json'}: format_version: found 1" in done.stderr
    assert "adapt the model anew (docs/own-game.md)" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--device", "gpu"], "device: 'gpu' cannot be used: Expected one of cpu"),
        (["--engine", "no_such_module:load"], "engine: no_such_module:load cannot be had: No module named"),
        (["--engine", "cutscene_model.loading:no_such"], "engine: cutscene_model.loading:no_such cannot be had"),
    ],
)
async def test_what_cannot_draw_is_refused_in_a_line(arguments: list[str], says: str, tmp_path: Path) -> None:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "cutscene_server", "--listen", "127.0.0.1:0", "--data", str(tmp_path), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_port_file_that_cannot_be_written_is_a_configuration_error(tmp_path: Path) -> None:
    file = tmp_path / "nowhere" / "server.addr"
    with pytest.raises(ConfigError, match=f"port_file: {file} cannot be written: No such file or directory"):
        async with run_server(synthetic_config(port_file=file, model=tmp_path / "no model is asked for")):
            raise AssertionError


async def test_a_port_that_is_taken_is_a_configuration_error() -> None:
    async with run_server(synthetic_config()) as server:
        config = dataclasses.replace(synthetic_config(), listen=server.address)
        with pytest.raises(ConfigError, match="cannot listen"):
            async with run_server(config):
                raise AssertionError


@contextlib.contextmanager
def running_program(tmp_path: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """``cutscene-server`` and its port file. Killed at the end if the test did not stop it."""
    port_file = tmp_path / "address"
    with subprocess.Popen(
        [sys.executable, "-m", "cutscene_server", "--listen", "127.0.0.1:0", "--engine", ENGINE,
         "--port-file", str(port_file), "--data", str(tmp_path / "data"), *arguments],
        env={**os.environ, "PYTHONPATH": str(DOUBLES)}, stderr=subprocess.PIPE, text=True,
    ) as program:  # fmt: skip
        try:
            yield program, port_file
        finally:
            program.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
async def test_the_program_says_where_it_listens_and_stops_in_order(tmp_path: Path, number: signal.Signals) -> None:
    with running_program(tmp_path) as (program, port_file):
        await eventually(lambda: asyncio.to_thread(port_file.exists))
        blocks = shared_memory_of(program.pid)
        assert blocks
        async with grpc.aio.insecure_channel(port_file.read_text().strip()) as channel:
            stream = RawStream(channel)
            await stream.open(open_message())
            await stream.say(turn=lockstep_turn("one", 2))
            await stream.frames(2)
            program.send_signal(number)
            _, errors = await asyncio.to_thread(program.communicate, timeout=10)
        assert program.returncode == 0, errors
        assert "Traceback" not in errors
        assert "leaked" not in errors
        assert not port_file.exists()
        assert not left_over(blocks)


async def test_the_program_can_be_stopped_while_it_loads_its_model(tmp_path: Path) -> None:
    with running_program(tmp_path, "--model", str(tmp_path / "slow")) as (program, port_file):

        async def loading() -> bool:
            return len(child_processes(program.pid)) == 2  # the inference process and Python's resource tracker

        await eventually(loading)
        children = child_processes(program.pid)
        program.send_signal(signal.SIGINT)
        _, errors = await asyncio.to_thread(program.communicate, timeout=15)
        assert program.returncode == 0, errors
        assert "Traceback" not in errors
        assert not port_file.exists()

        async def gone() -> bool:
            return not any(map(process_lives, children))

        await eventually(gone)


@pytest.mark.parametrize(("arguments", "added"), [((), 5), (("--niceness", "0"), 0)])
async def test_the_inference_process_leaves_the_front_end_the_first_core(
    tmp_path: Path, arguments: tuple[str, ...], added: int
) -> None:
    with running_program(tmp_path, *arguments) as (program, port_file):
        await eventually(lambda: asyncio.to_thread(port_file.exists))
        own = os.getpriority(os.PRIO_PROCESS, program.pid)
        children = [os.getpriority(os.PRIO_PROCESS, child) for child in child_processes(program.pid)]
        assert max(children) == min(19, own + added)


async def test_the_inference_process_goes_when_the_program_is_killed(tmp_path: Path) -> None:
    with running_program(tmp_path) as (program, port_file):
        await eventually(lambda: asyncio.to_thread(port_file.exists))
        blocks = shared_memory_of(program.pid)
        assert blocks
        children = child_processes(program.pid)
        assert children
        program.kill()
        await asyncio.to_thread(program.communicate, timeout=10)

        async def gone() -> bool:
            return not any(map(process_lives, children)) and not left_over(blocks)

        await eventually(gone)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--listen", "0.0.0.0:1"], "allow_insecure_remote"),
        (["--listen", "nonsense"], "host:port"),
        (["--threads", "many"], "--threads"),
        (["--engine", "nonsense"], "module:function"),
        (["--config", "/nonexistent.toml"], "/nonexistent.toml"),
    ],
)
async def test_a_wrong_configuration_exits_with_2_and_names_the_setting(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from cutscene_server.__main__ import main

    assert await asyncio.to_thread(main, arguments) == 2
    assert says in capsys.readouterr().err
