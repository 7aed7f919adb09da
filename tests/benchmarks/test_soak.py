"""The soak in short: half a minute of churn leaves nothing behind, and what would be left is found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import pytest
from PIL import Image
from proc_files import children_of
from soak_samples import MEASURES, growth, segments_of, slope_per_hour

SOAK = Path(__file__).resolve().parents[2] / "benchmarks" / "soak.py"


@pytest.mark.slow
def test_half_a_minute_of_churn_leaves_nothing_behind(tmp_path: Path) -> None:
    """Growth is not judged: so short after the start it says nothing."""
    plot = tmp_path / "soak.png"
    command = [
        sys.executable, str(SOAK), "--synthetic", "--minutes", "0.2", "--warm-up", "0.15", "--every", "0.5",
        "--keep", "12", "--tolerance-front", "1e6", "--tolerance-inference", "1e6", "--json", "--plot", str(plot),
    ]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stdout + ended.stderr[-4000:]
    figures = json.loads(ended.stdout.splitlines()[-1])
    assert {name: value for name, value in figures.items() if name.startswith("leaked_") and value} == {}
    assert figures["unexpected_errors"] == 0
    assert len(figures["churn"]) > 10
    assert figures["frames"] > 50
    with Image.open(plot) as image:
        assert image.width > 1000


def test_what_a_process_holds_is_seen() -> None:
    me = os.getpid()
    segments, handles, children = segments_of(me), MEASURES["handles"](me), len(children_of(me))
    memory = SharedMemory(create=True, size=4096)
    (new,) = segments_of(me) - segments
    assert new == Path("/dev/shm", memory.name)  # noqa: S108
    memory.unlink()
    assert len(segments_of(me)) == len(segments) + 1, "its name is gone, its memory is not"
    memory.close()
    assert segments_of(me) == segments
    with tempfile.TemporaryFile():
        assert MEASURES["handles"](me) > handles
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert len(children_of(me)) > children
        assert MEASURES["rss_mb"](child.pid) > 0
    assert MEASURES["rss_mb"](child.pid) == 0


def test_growth_is_that_of_the_last_two_thirds_and_no_few_outliers_make_it() -> None:
    steady = [(float(at), 100.0 + 0.01 * at) for at in range(100)]
    assert slope_per_hour(steady) == pytest.approx(36.0)
    assert slope_per_hour([(at, 5000.0 if at % 10 == 0 else value) for at, value in steady]) == pytest.approx(
        36.0, abs=4
    )
    warming = [{"at": float(at), "rss": min(at, 30) * 10.0} for at in range(100)]
    assert growth(warming, "rss") == pytest.approx(0.0, abs=1e-6)
    assert growth(warming, "rss", after=0.0) > 0
    assert growth([{"at": 0.0, "rss": 1.0}], "rss") == growth([], "rss") == 0.0
