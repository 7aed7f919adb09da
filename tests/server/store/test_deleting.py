"""What goes when a session is deleted or swept, and what stays for its forks."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from cutscene_server.store import (
    Retention,
    Store,
    Swept,
    UnknownSessionError,
)

from .samples import add_frames, labels, log_file, new_session, turn

A, B, C = "session-a", "session-b", "session-c"


def test_frames_that_a_fork_needs_stay_until_the_last_fork_goes(store: Store, tmp_path: Path) -> None:
    data = tmp_path / "data"
    store.create_session(new_session(A))
    add_frames(store, A, 0, 4, "a")
    store.fork_session(new_session(B), A, 0, 3)
    store.rewind(A, 1)
    add_frames(store, A, 1, 2, "x")
    store.delete_session(A)
    assert store.session_ids() == [B]
    with pytest.raises(UnknownSessionError):
        store.read_session(A)
    assert log_file(data, A, 0).exists()
    assert not log_file(data, A, 1).exists()  # nobody else had it
    assert labels(store, B) == "aaa"
    with pytest.raises(ValueError, match="is, or was"):
        store.create_session(new_session(A))
    store.fork_session(new_session(C), B, 0, 3)
    store.delete_session(B)
    assert labels(store, C) == "aaa"
    store.delete_session(C)
    assert store.total_bytes() == 0
    assert list((data / "sessions").iterdir()) == []
    store.create_session(new_session(A))  # nothing is left that could be taken for its frames
    assert store.read_session(A).next_frame == 0


def test_a_deletion_that_a_crash_interrupted_is_completed_on_opening(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store.create_session(new_session())
        add_frames(store, A, 0, 2)
    with sqlite3.connect(tmp_path / "catalogue.sqlite") as catalogue:  # as far as the first transaction gets
        catalogue.execute("UPDATE sessions SET deleted = 1")
        catalogue.execute("UPDATE timelines SET doomed = 1")
    catalogue.close()
    with Store.open(tmp_path) as store:
        assert store.session_ids() == []
        assert list((tmp_path / "sessions").iterdir()) == []
        store.create_session(new_session())


def swept(store: Store, now_us: int, keep_closed_s: float, max_bytes: int, limit: int | None = None) -> list[str]:
    return list(store.sweep(now_us, Retention(keep_closed_s, 1e9, max_bytes), limit).deleted)


def test_open_sessions_go_long_after_their_last_turn_unless_somebody_uses_them(store: Store) -> None:
    names = [f"session-{index}" for index in range(4)]
    for name in names:
        store.create_session(replace(new_session(name), created_unix_us=1_000_000))
        add_frames(store, name, 0, 3)
    store.add_turn(names[1], replace(turn(0, 0), received_unix_us=9_000_000))
    store.close_session(names[3], "CLIENT", 9_000_000, {})
    keep = Retention(keep_closed_s=100.0, keep_open_s=5.0, max_bytes=1 << 40)
    each = store.frame_bytes(names[0])
    assert store.sweep(6_000_000, keep).deleted == ()
    assert store.sweep(10_000_000, keep, in_use={names[2]}) == Swept((names[0],), 3 * each)
    assert store.sweep(10_000_000, keep, limit=0).deleted == ()
    assert store.sweep(10_000_000, keep).deleted == (names[2],)
    assert store.session_ids() == [names[1], names[3]]


def test_sweeping_goes_by_age_then_by_size_and_leaves_what_is_open(store: Store) -> None:
    names = [f"session-{index}" for index in range(6)]
    for index, name in enumerate(names):
        store.create_session(new_session(name))
        add_frames(store, name, 0, 3)
        if index:
            store.close_session(name, "CLIENT", index * 1_000_000, {})
    each = store.frame_bytes(names[0])
    assert store.total_bytes() == 6 * each
    assert swept(store, 10_000_000, 100.0, 6 * each) == []
    assert swept(store, 10_000_000, 8.0, 6 * each) == names[1:3]
    assert swept(store, 10_000_000, 8.0, 2 * each + 1) == names[3:5]
    assert swept(store, 10_000_000, 8.0, 0, limit=0) == []
    assert swept(store, 10_000_000, 8.0, 0) == names[5:]
    assert store.session_ids() == names[:1]


def test_closed_sessions_stay_while_somebody_uses_them(store: Store) -> None:
    """Their last frames are still being fetched, exported, replayed."""
    names = [f"session-{index}" for index in range(3)]
    for index, name in enumerate(names):
        store.create_session(new_session(name))
        store.close_session(name, "CLIENT", (index + 1) * 1_000_000, {})
    keep = Retention(keep_closed_s=1.0, keep_open_s=1e9, max_bytes=1 << 40)
    assert store.sweep(10_000_000, keep, in_use=names[:2]).deleted == (names[2],)
    assert store.sweep(10_000_000, keep, 1, in_use=names[:1]).deleted == (names[1],)
    assert store.session_ids() == names[:1]


def test_sweeping_keeps_the_frames_that_forks_need(store: Store) -> None:
    store.create_session(new_session(A))
    add_frames(store, A, 0, 3, "a")
    store.fork_session(new_session(B), A, 0, 2)
    add_frames(store, B, 2, 3, "b")
    store.close_session(A, "CLIENT", 0, {})
    assert swept(store, 1, 0.0, 0) == [A]
    assert labels(store, B) == "aab"
    store.close_session(B, "CLIENT", 1, {})
    assert swept(store, 1, 0.0, 0) == [B]
    assert store.total_bytes() == 0
