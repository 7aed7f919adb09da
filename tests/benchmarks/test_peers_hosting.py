"""The host without sessions that every peer of benchmarks/peers.py runs: right pictures, whatever the client holds."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from peers_hosts.hosting import ModelHost
from peers_hosts.process import BENCHMARKS, missing_modules, started
from peers_hosts.turn import FrameReader, HostedFrame, Past, TurnRequest

import synthetic_engine
from cutscene_model.engine import draw_whole
from cutscene_model.scene import Camera, CastMember, SceneState, Stage
from cutscene_server.packed_scene import pack_stage, pack_state
from synthetic_server import eventually, process_lives

STAGE = Stage((), ())
STATES = tuple(SceneState(Camera((float(n), 1.0, 3.0), (0.0, 0.0, 0.0, 1.0), 0.7)) for n in range(8))


def request(first: int, end: int, past: Sequence[Past] = (), with_latents: int = 0, fps: float = 0.0) -> TurnRequest:
    states = tuple(map(pack_state, STATES[first:end]))
    return TurnRequest(pack_stage(STAGE), 7, "standard", 90, fps, first, with_latents, tuple(past), states)


async def frames(host: ModelHost, turn: TurnRequest) -> list[HostedFrame]:
    reader = FrameReader()
    found = [frame async for packed in host.perform(TurnRequest.unpack(turn.pack())) for frame in reader.feed(packed)]
    reader.finish()
    return found


def unbroken() -> list[bytes]:
    """What the engine itself draws of all states, as JPEG."""
    timeline = synthetic_engine.load(None).begin(STAGE, 7)
    return [
        simplejpeg.encode_jpeg(draw_whole(timeline, s, "standard")[1], 90, "RGB", "420") for s in STATES
    ]  # fmt: skip


async def test_a_turn_has_the_engine_s_own_pictures_and_its_last_latents() -> None:
    found = await frames(ModelHost(synthetic_engine.load(None)), request(0, 8, with_latents=3))
    assert [frame.picture for frame in found] == unbroken()
    assert [bool(frame.latent) for frame in found] == [False] * 5 + [True] * 3


async def test_a_later_turn_with_latents_goes_on_as_if_unbroken() -> None:
    host = ModelHost(synthetic_engine.load(None))
    first = await frames(host, request(0, 5, with_latents=4))
    past = [Past(n, pack_state(STATES[n]), first[n].latent) for n in range(1, 5)]
    second = await frames(host, request(5, 8, past))
    assert [frame.picture for frame in first + second] == unbroken()


async def test_without_latents_the_window_is_drawn_again_and_not_shown() -> None:
    host = ModelHost(synthetic_engine.load(None))
    past = [Past(n, pack_state(STATES[n]), b"") for n in range(2, 5)]
    found = await frames(host, request(5, 8, past))
    timeline = synthetic_engine.load(None).begin(STAGE, 7, 2)
    drawn = [draw_whole(timeline, state, "standard")[1] for state in STATES[2:8]]
    assert [frame.picture for frame in found] == [
        simplejpeg.encode_jpeg(pixels, 90, "RGB", "420") for pixels in drawn[3:]
    ]


async def test_a_paced_turn_has_the_same_pictures() -> None:
    found = await frames(ModelHost(synthetic_engine.load(None)), request(0, 8, fps=200.0))
    assert [frame.picture for frame in found] == unbroken()


async def test_what_the_model_refuses_reaches_the_framework() -> None:
    host = ModelHost(synthetic_engine.load(None))
    mischief = Stage((CastMember("fail_frame_3", "knight"),), ())
    with pytest.raises(RuntimeError):
        await frames(host, dataclasses.replace(request(0, 8), stage=pack_stage(mischief)))
    assert [frame.picture for frame in await frames(host, request(0, 8))] == unbroken()


@given(st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=40)), max_size=5), st.integers(1, 30))
def test_frames_are_read_however_the_stream_is_cut(parts: list[tuple[bytes, bytes]], size: int) -> None:
    wanted = [HostedFrame(*part) for part in parts]
    data = b"".join(frame.pack() for frame in wanted)
    reader = FrameReader()
    found = [frame for start in range(0, len(data), size) for frame in reader.feed(data[start : start + size])]
    reader.finish()
    assert found == wanted


def test_a_stream_that_ends_within_a_frame_is_an_error() -> None:
    reader = FrameReader()
    assert list(reader.feed(HostedFrame(b"picture", b"").pack()[:-1])) == []
    with pytest.raises(ValueError, match="14 bytes into a frame"):
        reader.finish()


def test_what_is_not_installed_is_named() -> None:
    assert missing_modules(("json", "no_module_of_this_name", "asyncio")) == ["no_module_of_this_name"]


STARTS = """
import os, subprocess, sys, time
below = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True, env={})
print(os.getpid(), below.pid, flush=True)
if sys.argv[1:] == ["and ends"]:
    os._exit(3)
time.sleep(600)
"""

HOSTS = f"""
import sys, time
from peers_hosts.process import started
with started([sys.executable, "-c", {STARTS!r}]) as (process, log):
    while not log.read_text().strip():
        time.sleep(0.02)
    print(log.read_text(), flush=True)
    time.sleep(600)
"""


def said_by(log: Path) -> list[int]:
    deadline = time.monotonic() + 30
    while not log.read_text().strip():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return [int(word) for word in log.read_text().split()]


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
def test_what_a_host_has_started_is_ended_with_it() -> None:
    with started([sys.executable, "-c", STARTS]) as (guard, log):
        processes = said_by(log)
        assert all(map(process_lives, processes))
    assert guard.returncode == 128 + signal.SIGTERM
    assert not any(map(process_lives, processes))


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
def test_what_a_host_has_started_is_ended_when_it_crashes() -> None:
    with started([sys.executable, "-c", STARTS, "and ends"]) as (guard, log):
        processes = said_by(log)
        assert guard.wait(30) == 3
        assert len(processes) == 2
        assert not any(map(process_lives, processes))


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP], ids=["SIGKILL", "SIGHUP"])
async def test_what_a_host_has_started_is_ended_when_the_benchmark_is_killed(number: signal.Signals) -> None:
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS)}
    program = await asyncio.to_thread(
        subprocess.Popen, [sys.executable, "-c", HOSTS], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert program.stdout is not None
    processes = [int(word) for word in (await asyncio.to_thread(program.stdout.readline)).split()]
    assert len(processes) == 2
    assert all(map(process_lives, processes))
    program.send_signal(number)
    await asyncio.to_thread(program.wait, 30)
    program.stdout.close()

    async def gone() -> bool:
        return not any(map(process_lives, processes))

    await eventually(gone)
