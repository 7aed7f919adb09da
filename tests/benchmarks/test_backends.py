"""benchmarks/backends.py with torch's own ways alone; its processes; what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from backend_ways.processes import WayFailed, WayProcess

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / "backends.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
def test_a_short_run_of_torchs_own_ways_prints_its_keys() -> None:
    ways = ["eager_float32", "eager_bfloat16", "dynamic_int8"]
    done = run(
        "--ways", ",".join(ways), "--threads", "1", "--rounds", "1", "--passes", "1", "--calibration", "1", "--json"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["not_run"] == {}
    assert list(figures["errors"]) == ways
    assert figures["errors"]["eager_float32"]["decoder"] == {"relative_error": 0.0, "psnr_db": 99.0}
    assert 0 < figures["errors"]["eager_bfloat16"]["denoiser"]["relative_error"] < 0.02
    assert figures["errors"]["eager_bfloat16"]["decoder"]["psnr_db"] > 45
    one = figures["threads"]["1"]
    assert set(one["ways"]["dynamic_int8"]) == {"denoiser", "decoder"}  # the levels have no linear layers
    assert all(times["cpu_ms"] > 0 for way in one["ways"].values() for times in way.values())
    assert one["frame"]["cpu_ms"] > max(times["cpu_ms"] for times in one["ways"]["eager_float32"].values())
    assert set(one["best_mix"]) == {"denoiser", "levels", "decoder"}
    assert set(one["saved"]) == {*ways, "best_mix"}


def test_a_way_that_does_not_come_up_says_why_and_leaves_no_process(tmp_path: Path) -> None:
    process = WayProcess("eager_float32", tmp_path, tmp_path / "no-model", [1], 120.0)
    with pytest.raises(WayFailed, match="no model in"), process:
        pytest.fail("it came up without a model")
    assert process._process.poll() is not None


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("--ways", "eager_float32,tensorrt", "tensorrt: known are eager_float32"),
        ("--threads", "0", "threads are from 1 to 64"),
        ("--rounds", "0", "0 is not 1 to 1000"),
        ("--calibration", "65", "65 is not 1 to 64"),
    ],
)
def test_what_cannot_be_measured_is_refused(option: str, value: str, reason: str) -> None:
    done = run(option, value)
    assert done.returncode == 2
    assert reason in done.stderr
