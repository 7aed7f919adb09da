"""The screen of ``cutscene top``, from figures that are given, and the whole command against a real server."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from cutscene_client import connect, top
from cutscene_client.cli import main
from cutscene_client.errors import ServerUnreachable
from cutscene_client.stats import LatencyFigures, ServerStats, SessionStats

NONE = LatencyFigures(0.0, 0.0)

IDLE = ServerStats(
    model="kaykit", serving=True, uptime_s=3_723.0, frames=0, late_frames=0, turns=0, refusals=0, sent_bytes=0,
    inference_restarts=0, frames_per_second=0.0, frame_latency=NONE, stages={"queued": NONE, "denoise": NONE}, tiers={},
    loop_lag=NONE, frames_in_flight=0, waiting_sessions=0, attached_sessions=0, sessions_in_memory=0, disk_bytes=0,
    max_disk_bytes=50_000_000_000, cache_held_bytes=0, cache_hits=0, cache_computed=0, sessions=(),
)  # fmt: skip

SESSION = SessionStats(
    id="3f9a" + "0" * 28, status="performing", fps=24.0, frames_per_second=13.9, tier="standard",
    frame_latency=LatencyFigures(71.2, 120.5), late_frames=12, next_frame=1_234, unacked_frames=3, frame_credit=48,
    turns_waiting=1, background=False, throttled=False, sent_bytes=4_200_000,
)  # fmt: skip

BUSY = dataclasses.replace(
    IDLE, frames=2_000, late_frames=30, frames_per_second=27.8, tiers={"standard": 300, "draft": 100},
    frame_latency=LatencyFigures(70.0, 130.0), loop_lag=LatencyFigures(0.2, 3.4), refusals=2, inference_restarts=1,
    stages={"queued": LatencyFigures(5.0, 40.0), "denoise": LatencyFigures(40.0, 50.0)}, sessions_in_memory=70,
    cache_hits=75, cache_computed=25, cache_held_bytes=154_000_000, disk_bytes=1_200_000_000,
    sessions=(
        SESSION,
        dataclasses.replace(SESSION, id="b" * 32, throttled=True, frames_per_second=0.0, background=True, fps=29.97),
    ),
)  # fmt: skip


def shown(stats: ServerStats, trouble: str = "", width: int = 112) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(top.Screen(stats, "127.0.0.1:50400", trouble))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_server_without_sessions_is_a_screen_too() -> None:
    text = shown(IDLE)
    for expected in ("127.0.0.1:50400", "kaykit", "serving", "no sessions in memory", "up 1 h 02 min", "50.0 GB"):
        assert expected in text


def test_a_busy_server_shows_its_rates_and_every_session_on_a_line() -> None:
    text = shown(BUSY)
    for expected in (
        "27.8 frames/s", "30 (1.5%)", "70.0 ms, p99 130 ms", "0.2 ms, p99 3.4 ms", "standard 75%, draft 25%",
        "75% hits", "1.2 GB of 50.0 GB", "and 68 more",
    ):  # fmt: skip
        assert expected in text
    (line,) = [line for line in text.splitlines() if "3f9a0000" in line]
    assert line.split() == [
        "3f9a0000", "performing", "standard", "13.9", "24", "71.2", "120", "12", "1,234", "3/48", "1", "4.2", "MB",
    ]  # fmt: skip
    assert "throttled *" in text
    assert "\x1b" not in text, "no colours where there is no terminal"


@pytest.mark.parametrize("width", [76, 80, 100, 112, 200])
def test_a_narrow_terminal_has_fewer_columns_and_none_is_cut_off(width: int) -> None:
    text = shown(BUSY, width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert "3f9a0000" in text
    assert "throttled *" in text
    assert ("unacked" in text) is (width >= 112)


def test_a_server_that_does_not_answer_or_serve_is_named_so() -> None:
    assert "connection refused" in shown(BUSY, "connection refused; trying again")
    assert "not serving" in shown(dataclasses.replace(BUSY, serving=False))


def test_once_prints_one_table_and_json_one_object(server_address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--once", "--server", server_address]) == 0
    text = capsys.readouterr().out
    assert server_address in text
    assert "serving" in text
    assert main(["top", "--json", "--server", server_address]) == 0
    stats = json.loads(capsys.readouterr().out)
    assert stats["serving"] is True
    assert set(stats) == {field.name for field in dataclasses.fields(ServerStats)}
    assert list(stats["stages"]) == ["queued", "greybox", "denoise", "decode", "store", "deliver"]


@pytest.mark.parametrize("text", ["0", "nan", "never"])
def test_an_interval_out_of_range_is_a_wrong_argument(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["top", "--interval", text])
    assert "--interval" in capsys.readouterr().err


def test_a_watch_is_left_with_ctrl_c(server_address: str, tmp_path: Path) -> None:
    out = tmp_path / "screen"
    with out.open("w") as file, subprocess.Popen(
        [sys.executable, "-m", "cutscene_client.cli", "top", "--interval", "0.1", "--server", server_address],
        stdout=file, stderr=subprocess.PIPE, text=True, env={**os.environ, "TTY_COMPATIBLE": "1"},
    ) as program:  # fmt: skip
        try:
            while "serving" not in out.read_text() and program.poll() is None:
                time.sleep(0.05)
            program.send_signal(signal.SIGINT)
            _, errors = program.communicate(timeout=20)
        finally:
            program.kill()
    assert program.returncode == 0, errors
    assert not errors


async def test_a_server_that_goes_is_waited_for() -> None:
    class Going:
        """A client whose server answers once and is then away."""

        asked = 0

        @property
        def address(self) -> str:
            return "127.0.0.1:1"

        async def stats(self) -> ServerStats:
            self.asked += 1
            if self.asked > 1:
                raise ServerUnreachable(self.address, "gone")
            return BUSY

    client = Going()
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    watching = asyncio.create_task(top.watch(client, console, 0.001))
    while client.asked < 4:  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0.001)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert isinstance(console.file, io.StringIO)
    assert "trying again" in console.file.getvalue()


async def test_the_client_reads_every_figure(server_address: str) -> None:
    async with connect(server_address) as client:
        stats = await client.stats(max_sessions=1)
    assert stats.model
    assert stats.max_disk_bytes > 0
