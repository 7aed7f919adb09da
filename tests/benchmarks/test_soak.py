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
from soak_samples import MEASURES, segments_of

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
