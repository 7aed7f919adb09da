"""``benchmarks/load.py`` from beginning to end, in little: with the engine double that knows every look."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TINY = (
    "--json --engine sketch_engine:load --rounds 1 --warm-up 0.3 --seconds 1.5 --free-seconds 1"
    " --counts 1 2 --share 0.2 --ramp-fps 2 --ramp-step 0.1"
    " --past 1 --most-sessions 3 --pictures 3 --streams 2 --stream-fps 10 --stream-seconds 1 --idle 5 --echo-streams 2"
    " --echo-seconds 1"
)


@pytest.mark.slow
def test_both_parts_run_and_tell_their_figures() -> None:
    path = os.pathsep.join([str(ROOT / "tests" / "doubles"), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "load.py"), *TINY.split()],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    *lines, last = done.stdout.splitlines()
    figures = json.loads(last)
    assert any("sessions, lockstep" in line for line in lines), "it shows how far it is"
    assert [(row["sessions"], row["taken"]) for row in figures["rows"]] == [(1, 1), (2, 2)]
    assert all(row["frames"] > 0 and row["p50_ms"] > 0 and row["jitter"] > 0 for row in figures["rows"])
    assert all(
        figures["ramps"][pacing]["taken"] == figures["ramps"][pacing]["limit"] for pacing in ("lockstep", "live")
    )
    assert {"miss_rate", "jitter_one", "jitter_limit", "four_over_one", "limit", "refusals"} < figures.keys()
    clockwork = figures["clockwork"]
    assert clockwork["rows"][0]["p50_ms"] >= 30.0, "no frame is drawn in less than it takes"
    service = figures["synthetic"]
    assert service["idle"] == 5
    assert service["echo_per_s"] > 0
    assert 0 < service["echo_ratio"] < 2
    assert 0 < service["echo_ratio_encoded"] < 2
    assert service["digest"] == "blake3"
    cpu_us = service["cpu_us"]
    assert min(cpu_us["frame"], cpu_us["digest"], cpu_us["jpeg"]) > 0
    assert abs(cpu_us["frame"] - sum(cpu_us[part] for part in ("digest", "jpeg", "echo", "rest"))) <= 4, "rounding"
    assert service["memory_mb"] > 0
    (tried,) = service["tried"]
    assert (tried["asked"], tried["streams"]) == (2, 2)
    assert tried["frames_per_s"] > 0
