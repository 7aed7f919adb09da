"""Frames of several sessions made durable at once: each session fails, or does not, for itself."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cutscene_server.store import Store, StoreLostError

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
        assert store.add_frames({session_id: frame(index, session_id) for session_id in SESSIONS}) == {}
    store.close()
    with Store.open(tmp_path) as again:
        for session_id in SESSIONS:
            assert list(again.read_frames(session_id, 0, 3)) == [frame(index, session_id) for index in range(3)]


@pytest.mark.parametrize("before", [0, 2])
def test_a_file_that_cannot_be_made_durable_loses_its_frame_alone(store: Store, tmp_path: Path, before: int) -> None:
    for index in range(before):
        assert store.add_frames(dict.fromkeys(SESSIONS, frame(index))) == {}
    if not before:  # a file that a crash left empty
        log_file(tmp_path, "session-b").parent.mkdir()
        log_file(tmp_path, "session-b").touch()
        assert store.read_session("session-b").next_frame == 0
    with unsyncable(log_file(tmp_path, "session-b")):
        failed = store.add_frames(dict.fromkeys(SESSIONS, frame(before)))
    assert set(failed) == {"session-b"}
    assert "frames-0.log" in str(failed["session-b"])
    found = {session_id: store.read_session(session_id).next_frame for session_id in SESSIONS}
    assert found == {"session-a": before + 1, "session-b": before, "session-c": before + 1}
    store.add_frame("session-b", frame(before, "again"))  # what could not be cut off then is cut off now
    store.close()
    with Store.open(tmp_path) as again:
        kept = [*[frame(index) for index in range(before)], frame(before, "again")]
        assert list(again.read_frames("session-b", 0, before + 1)) == kept


def test_adding_nothing_is_nothing(store: Store) -> None:
    assert store.add_frames({}) == {}


def test_a_frame_that_cannot_be_added_fails_alone(store: Store) -> None:
    store.close_session("session-b", "CLIENT", 0, {})
    frames = {"session-a": frame(0), "session-b": frame(0), "session-c": frame(1), "session-d": frame(0)}
    failed = store.add_frames(frames)
    assert {session_id: str(error) for session_id, error in failed.items()} == {
        "session-b": "session session-b is closed",
        "session-c": "session session-c goes on with frame 0, not 1",
        "session-d": "there is no session 'session-d'",
    }
    assert [store.read_session(session_id).next_frame for session_id in SESSIONS] == [1, 0, 0]


def test_more_sessions_than_may_have_their_files_open(tmp_path: Path) -> None:
    names = [f"session-{number}" for number in range(7)]
    with Store.open(tmp_path, most_open_logs=3) as store:
        for name in names:
            store.create_session(new_session(name))
        for index in range(2):
            assert store.add_frames({name: frame(index, name) for name in names}) == {}
        for name in names:
            assert list(store.read_frames(name, 0, 2)) == [frame(index, name) for index in range(2)]


def test_nothing_is_added_once_another_owns_the_store(store: Store, tmp_path: Path) -> None:
    assert store.add_frames(dict.fromkeys(SESSIONS, frame(0))) == {}
    (tmp_path / "lock").unlink()
    with Store.open(tmp_path) as later:
        failed = store.add_frames(dict.fromkeys(SESSIONS, frame(1)))
        assert set(failed) == set(SESSIONS)
        assert {type(error) for error in failed.values()} == {StoreLostError}
        assert [later.read_session(session_id).next_frame for session_id in SESSIONS] == [1, 1, 1]
