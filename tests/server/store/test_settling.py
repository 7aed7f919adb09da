"""Frames of several sessions made durable at once: each session fails, or does not, for itself."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cutscene_server.store import Store

from .samples import frame, log_file, new_session

SESSIONS = ("session-a", "session-b", "session-c")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        for session_id in SESSIONS:
            opened.create_session(new_session(session_id))
        yield opened


@contextlib.contextmanager
def unsyncable(file: Path) -> Iterator[None]:
    """The disk refuses to make the file durable, or shorter: its descriptor leads to a pipe instead."""
    (descriptor,) = [
        int(link.name)
        for link in Path("/proc/self/fd").iterdir()
        if link.is_symlink() and os.path.realpath(link) == str(file)
    ]
    kept = os.dup(descriptor)
    ends = os.pipe()
    os.dup2(ends[1], descriptor)
    try:
        yield
    finally:
        os.dup2(kept, descriptor)
        for each in (kept, *ends):
            os.close(each)


def test_frames_of_several_sessions_are_there_once_they_are_settled(store: Store, tmp_path: Path) -> None:
    for index in range(3):
        for session_id in SESSIONS:
            store.add_frame(session_id, frame(index, session_id), durable=False)
        assert store.settle_frames(SESSIONS) == {}
    store.close()
    with Store.open(tmp_path) as again:
        for session_id in SESSIONS:
            assert list(again.read_frames(session_id, 0, 3)) == [frame(index, session_id) for index in range(3)]


@pytest.mark.parametrize("before", [0, 2])
def test_a_file_that_cannot_be_made_durable_loses_its_frame_alone(store: Store, tmp_path: Path, before: int) -> None:
    for index in range(before + 1):
        for session_id in SESSIONS:
            store.add_frame(session_id, frame(index), durable=index < before)
    with unsyncable(log_file(tmp_path, "session-b")):
        failed = store.settle_frames(SESSIONS)
    assert set(failed) == {"session-b"}
    assert "frames-0.log" in str(failed["session-b"])
    found = {session_id: store.read_session(session_id).next_frame for session_id in SESSIONS}
    assert found == {"session-a": before + 1, "session-b": before, "session-c": before + 1}
    store.add_frame("session-b", frame(before, "again"))  # what could not be cut off then is cut off now
    store.close()
    with Store.open(tmp_path) as again:
        kept = [*[frame(index) for index in range(before)], frame(before, "again")]
        assert list(again.read_frames("session-b", 0, before + 1)) == kept


def test_settling_nothing_is_nothing(store: Store) -> None:
    assert store.settle_frames([]) == {}
    store.add_frame("session-a", frame(0))
    assert store.settle_frames(["session-a"]) == {}
