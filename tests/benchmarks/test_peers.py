"""benchmarks/peers.py from beginning to end with its lightest peer and a small engine; what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from peers_hosts.process import NEEDS, missing_modules

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    "--engine",
    "sketch_engine:load",
    "--sessions",
    "1,2",
    "--rounds",
    "1",
    "--frames",
    "4",
    "--paced-seconds",
    "0.5",
]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT / "tests" / "doubles"), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, str(ROOT / "benchmarks" / "peers.py"), *arguments]
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)


@pytest.mark.slow
@pytest.mark.skipif(
    bool(missing_modules(NEEDS["fastapi"])), reason="FastAPI, uvicorn and websockets are not installed: make setup-dev"
)
def test_a_run_with_one_peer_prints_its_keys() -> None:
    done = run("--peers", "fastapi", *SMALL, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fastapi answers; its pictures are the same bytes as ours" in done.stdout
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["failed"] == {}
    assert figures["not_installed"] == {}
    assert figures["top_level_sessions"] == 2
    for host in ("ours", "fastapi"):
        for count in ("1", "2"):
            measured = figures[host][count]
            assert measured["fps"] > 0
            assert measured["gap_p50_ms"] <= measured["gap_p99_ms"]
            assert 0 <= measured["paced_misses"] <= measured["paced_frames"]
        assert figures[host]["later_turn_ms"] > 0
    assert figures["fastapi"]["later_turn_redraw_ms"] > 0
    assert figures["best_peer_fps_ratio"] == figures["ratios"]["2"]["best_peer_fps_ratio"]
    assert figures["best_peer_p99_ratio_peer"] == "fastapi"


@pytest.mark.slow
def test_a_peer_that_is_not_installed_is_named_and_the_rest_is_run() -> None:
    absent = [peer for peer, modules in NEEDS.items() if missing_modules(modules)]
    if not absent:
        pytest.skip("every peer is installed here")
    done = run("--peers", absent[0], *SMALL, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{absent[0]}: not run, " in done.stdout
    assert "pip install -e '.[client,server,peers]'" in done.stdout
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["not_installed"] == {absent[0]: missing_modules(NEEDS[absent[0]])}
    assert figures["best_peer_fps_ratio"] is None
    assert figures["ours"]["2"]["fps"] > 0


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("--sessions", "0", "counts are from 1 to 32"),
        ("--sessions", "4,x", "--sessions"),
        ("--peers", "fastapi,triton", "triton: known are fastapi, litserve, ray"),
        ("--rounds", "0", "at least 1"),
        ("--frames", "1", "at least 2"),
        ("--paced-total", "0", "above 0"),
        ("--jpeg-quality", "101", "1 to 100"),
    ],
)
def test_what_cannot_be_measured_is_refused(option: str, value: str, reason: str) -> None:
    done = run(option, value)
    assert done.returncode == 2
    assert reason in done.stderr
