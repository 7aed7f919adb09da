"""What is put into a store comes out of it, after reopening too; what makes no sense is refused."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from cutscene_server.store import (
    SessionEnd,
    Store,
    UnknownSessionError,
)

from .samples import add_frames, frame, new_session, turn

A, B, C = "session-a", "session-b", "session-c"


def test_where_a_session_ends_is_told_without_its_file_if_it_is_closed(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store.create_session(new_session(A))
        add_frames(store, A, 0, 4)
        store.rewind(A, 3)
        add_frames(store, A, 3, 6)
        store.fork_session(new_session(B), A, 1, 5)
        assert (store.next_frame(A), store.next_frame(B)) == (6, 5)
        for session_id in (A, B):
            store.close_session(session_id, "CLIENT", 1, {})
    for file in tmp_path.glob("sessions/*/*.log"):
        file.unlink()
    with Store.open(tmp_path) as store:
        assert (store.next_frame(A), store.next_frame(B)) == (6, 5)


def test_a_session_comes_back_as_it_was(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store.create_session(new_session())
        store.add_turn(A, turn(0, 0, 3, b"first run"))
        store.add_turn(A, turn(1, 3, 5, b"second run"))
        add_frames(store, A, 0, 4)
        store.finish_turn(A, 0)
        before = store.read_session(A)
    with Store.open(tmp_path) as store:
        after = store.read_session(A)
        assert after == before
        assert after.opened == new_session()
        assert (after.epoch, after.next_frame, after.fork_of, after.end) == (0, 4, None, None)
        assert after.unfinished == (turn(1, 3, 5, b"second run"),)
        assert after.turns == (turn(0, 0, 3, None), turn(1, 3, 5, None))
        assert list(store.read_frames(A, 0, 4)) == [frame(index) for index in range(4)]
        assert list(store.read_frames(A, 1, 3)) == [frame(1), frame(2)]
        assert list(store.read_frames(A, 4, 4)) == []


def test_a_closed_session_takes_nothing_more_and_can_be_read(store: Store) -> None:
    store.create_session(new_session())
    store.add_turn(A, turn(0, 0))
    add_frames(store, A, 0, 2)
    store.close_session(A, "FRAME_BUDGET", 77, {"frames": 2})
    closed = store.read_session(A)
    assert closed.end == SessionEnd("FRAME_BUDGET", 77, {"frames": 2})
    assert (closed.unfinished, closed.turns) == ((), (turn(0, 0, run=None),))
    assert len(list(store.read_frames(A, 0, 2))) == 2
    with pytest.raises(ValueError, match="closed"):
        store.add_frame(A, frame(2))
    with pytest.raises(ValueError, match="closed"):
        store.add_turn(A, turn(1, 4))
    with pytest.raises(ValueError, match="closed"):
        store.rewind(A, 0)
    with pytest.raises(ValueError, match="closed"):
        store.close_session(A, "CLIENT", 78, {})


def test_sessions_are_listed_in_order_of_creation_page_by_page(store: Store) -> None:
    names = [f"session-{index}" for index in (3, 1, 2, 5, 4)]
    for name in names:
        store.create_session(new_session(name))
    store.delete_session("session-1")
    names.remove("session-1")
    assert store.session_ids() == names
    first = store.summaries(limit=3)
    rest = store.summaries(after=first[-1].number, limit=3)
    assert [summary.opened.session_id for summary in first + rest] == names


def test_only_the_last_4096_turns_are_told(tmp_path: Path) -> None:
    with Store.open(tmp_path, sync=False) as store:
        store.create_session(new_session())
        for number in range(4100):
            store.add_turn(A, turn(number, number, 1))
        told = store.read_session(A)
        assert [each.turn_number for each in told.turns] == list(range(4, 4100))
        assert len(told.unfinished) == 4100


def test_a_run_of_32_mib_fits_and_is_gone_when_finished(store: Store) -> None:
    run = os.urandom(1 << 20) * 32
    store.create_session(new_session())
    store.add_turn(A, turn(0, 0, 1, run))
    assert store.read_session(A).unfinished[0].packed_run == run
    add_frames(store, A, 0, 1)
    store.finish_turn(A, 0)
    assert store.read_session(A).unfinished == ()
    with pytest.raises(ValueError, match="packed_run's length"):
        turn(1, 1, 1, run + b"1")


def test_it_may_be_used_from_an_executor_of_one_thread(store: Store) -> None:
    with ThreadPoolExecutor(1) as executor:
        executor.submit(store.create_session, new_session()).result()
        executor.submit(store.add_frame, A, frame(0)).result()
        assert executor.submit(lambda: list(store.read_frames(A, 0, 1))).result() == [frame(0)]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted in /proc")
def test_more_sessions_than_open_files(tmp_path: Path) -> None:
    with Store.open(tmp_path, most_open_logs=3) as store:
        names = [f"session-{index}" for index in range(8)]
        for name in names:
            store.create_session(new_session(name))
        for index in range(3):
            for name in names:
                store.add_frame(name, frame(index, name))
        links = [os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
        assert sum(link.startswith(str(tmp_path)) and link.endswith(".log") for link in links) == 3
        for name in names:
            assert list(store.read_frames(name, 0, 3)) == [frame(index, name) for index in range(3)]


def test_frames_are_consecutive(store: Store) -> None:
    store.create_session(new_session())
    add_frames(store, A, 0, 2)
    for index in (0, 1, 3):
        with pytest.raises(ValueError, match=f"goes on with frame 2, not {index}"):
            store.add_frame(A, frame(index))
    assert store.read_session(A).next_frame == 2


@pytest.mark.parametrize(("first", "end"), [(0, 3), (-1, 1), (2, 1), (3, 3), (0, 1 << 70)])
def test_frames_that_are_not_there_are_refused_when_asked_for(store: Store, first: int, end: int) -> None:
    store.create_session(new_session())
    add_frames(store, A, 0, 2)
    with pytest.raises(ValueError, match="not there"):
        store.read_frames(A, first, end)


def test_turn_numbers_rise_and_turns_end_once_when_their_frames_are_there(store: Store) -> None:
    store.create_session(new_session())
    store.add_turn(A, turn(5, 0, 2))
    for number in (5, 4):
        with pytest.raises(ValueError, match="turn numbers rise"):
            store.add_turn(A, turn(number, 2))
    with pytest.raises(ValueError, match="has no run"):
        store.add_turn(A, turn(6, 2, run=None))
    add_frames(store, A, 0, 1)
    with pytest.raises(ValueError, match="turn 5"):
        store.finish_turn(A, 5)
    add_frames(store, A, 1, 2)
    store.finish_turn(A, 5)
    for number in (5, 6):
        with pytest.raises(ValueError, match=f"turn {number}"):
            store.finish_turn(A, number)


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "short",
        "a" * 65,
        "../../../etc",
        "..........",
        "abc/defgh",
        "abcdefgh\n",
        "abcdefg\0",
        "äbcdefgh",
        "\ud800" * 8,
    ],
)
def test_bad_ids_name_no_session_and_touch_no_path(store: Store, tmp_path: Path, bad: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match="session_id"):
        new_session(bad)
    for call in (store.read_session, store.delete_session, store.frame_bytes):
        with pytest.raises(UnknownSessionError):
            call(bad)
    with pytest.raises(UnknownSessionError):
        store.add_frame(bad, frame(0))
    with pytest.raises(UnknownSessionError):
        store.read_frames(bad, 0, 1)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("epoch", [-1, 1, 1 << 80])
def test_unknown_sessions_and_epochs(store: Store, epoch: int) -> None:
    store.create_session(new_session())
    with pytest.raises(UnknownSessionError, match=B):
        store.read_session(B)
    with pytest.raises(UnknownSessionError):
        store.fork_session(new_session(C), B, 0, 0)
    with pytest.raises(ValueError, match=f"epochs 0 to 0, not {epoch}"):
        store.read_frames(A, 0, 0, epoch)
    with pytest.raises(ValueError, match="already"):
        store.create_session(new_session())


@pytest.mark.parametrize(
    ("field", "value"),
    [("frame_index", -1), ("frame_index", 1 << 63), ("turn_number", -1), ("pixel_digest", b"too short")],
)
def test_values_out_of_range_are_refused_before_they_are_stored(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        replace(frame(0), **{field: value})  # type: ignore[arg-type]
