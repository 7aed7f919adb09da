"""What the tool remembers of sessions: found by the beginning of an id, bounded, and not lost to another command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cutscene_client import remembered

MANY = """
import sys
from cutscene_client.remembered import remember
for number in range(10):
    remember(f"{sys.argv[1]}-{number}", "token", "127.0.0.1:1", "title")
"""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


WINDOWS = """
import fcntl as posix, os, sys, types
import cutscene_client.remembered  # and what it imports, which takes Windows for granted where there is a msvcrt
sys.modules["fcntl"] = None  # as if there were none
msvcrt = types.ModuleType("msvcrt")
msvcrt.LK_LOCK, msvcrt.LK_UNLCK = 1, 0
def locking(descriptor, mode, count):  # a byte from where the file stands
    posix.lockf(descriptor, posix.LOCK_EX if mode else posix.LOCK_UN, count, os.lseek(descriptor, 0, os.SEEK_CUR))
msvcrt.locking = locking
sys.modules["msvcrt"] = msvcrt
"""


@pytest.mark.parametrize("system", ["", WINDOWS], ids=["POSIX", "the calls of Windows"])
def test_commands_that_remember_at_once_lose_nothing(state: Path, system: str) -> None:
    """A token that is lost cannot be had again."""
    environment = {**os.environ, "XDG_STATE_HOME": str(state)}
    writers = [subprocess.Popen([sys.executable, "-c", system + MANY, str(one)], env=environment) for one in range(4)]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    assert {entry.session_id for entry in remembered.remembered()} == {f"{k}-{n}" for k in range(4) for n in range(10)}


def test_the_oldest_are_forgotten_and_nobody_else_may_read() -> None:
    for number in range(remembered.MOST_REMEMBERED + 3):
        remembered.remember(f"{number:04d}", "token", "127.0.0.1:1", "title")
    kept = remembered.remembered()
    assert (len(kept), kept[0].session_id) == (remembered.MOST_REMEMBERED, "0003")
    assert remembered.state_file().stat().st_mode & 0o077 == 0
    assert remembered.find("0004").session_id == "0004"
    for beginning, said in (("9", "no remembered session begins"), ("00", "begin with '00'")):
        with pytest.raises(remembered.UnknownRecording, match=said):
            remembered.find(beginning)


def test_a_place_that_cannot_be_written_is_no_reason_to_fail(state: Path) -> None:
    (state / "cutscene").write_text("a file where the folder should be")
    remembered.remember("one", "token", "127.0.0.1:1", "title")
    assert remembered.remembered() == []
