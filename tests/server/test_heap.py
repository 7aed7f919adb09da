"""Freed memory goes back to the system, whatever lies above it."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
from pathlib import Path
from cutscene_server import heap

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

pictures = [bytes([1]) * 60_000 for _ in range(1000)]  # too small for mappings of their own
del pictures[:-1]  # the last one lies above all the others
before = resident()
assert heap.give_back()
print(before - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_was_freed_below_something_that_stays_is_given_back() -> None:
    """In a process of its own: what else a heap has been through decides where things lie."""
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    assert int(ended.stdout) > 40_000_000
