"""A real process that stores is really killed, again and again: what it said was durable is there."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from cutscene_server.store import Store

from .samples import frame, new_session

ROOT = Path(__file__).parents[3]
A = "session-a"
ROUNDS = 8


def play_until_killed(directory: Path, seconds: float) -> list[str]:
    """What the child said, as far as its last whole line."""
    command = [sys.executable, "-m", "tests.server.store.appending_child", str(directory), A]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        opened = child.stdout.readline()
        time.sleep(seconds)
        child.kill()
        said = opened + child.stdout.read()
    assert child.returncode == -signal.SIGKILL  # and of nothing else
    return said[: said.rfind("\n") + 1].splitlines()


def test_every_frame_and_turn_that_was_announced_is_there_after_kill_9(tmp_path: Path) -> None:
    moments = random.Random(0)
    with Store.open(tmp_path) as store:
        store.create_session(new_session(A))
    frames = turns = 0
    for _ in range(ROUNDS):
        said = play_until_killed(tmp_path, moments.uniform(0.0, 0.25))
        assert said[0] == f"open {frames}"
        announced_frames = [int(line.split()[1]) for line in said if line.startswith("frame")]
        announced_turns = [int(line.split()[1]) for line in said if line.startswith("turn")]
        assert announced_frames == list(range(frames, frames + len(announced_frames)))
        with Store.open(tmp_path) as store:
            stored = store.read_session(A)
            # One more than was announced may be durable: the child was killed before it could say so.
            assert stored.next_frame - frames - len(announced_frames) in (0, 1)
            assert len(stored.turns) - turns - len(announced_turns) in (0, 1)
            assert [each.turn_number for each in stored.turns] == list(range(len(stored.turns)))
            assert all(each.packed_run for each in stored.unfinished)
            frames, turns = stored.next_frame, len(stored.turns)
            read = list(store.read_frames(A, 0, frames))
            assert read == [frame(index, latent_bytes=18_432) for index in range(frames)]
    assert frames > 0
