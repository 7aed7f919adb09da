"""What is put into a store comes out of it, after reopening too; timelines, deletion, retention, ownership."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from cutscene_server.store import (
    ForkPoint,
    Retention,
    SessionEnd,
    Store,
    StoreError,
    StoreFailedError,
    StoreFormatError,
    StoreInUseError,
    StoreLostError,
    Swept,
    UnknownSessionError,
)
from cutscene_server.store.catalogue import Catalogue

from .samples import frame, log_file, new_session, turn

A, B, C = "session-a", "session-b", "session-c"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data") as opened:
        yield opened


def add_frames(store: Store, session_id: str, first: int, end: int, label: str = "") -> None:
    for index in range(first, end):
        store.add_frame(session_id, frame(index, label))


def labels(store: Store, session_id: str, epoch: int | None = None, end: int | None = None) -> str:
    """Which label each of the session's frames below ``end`` (None: all) was added with, in order."""
    end = store.read_session(session_id).next_frame if end is None else end
    frames = list(store.read_frames(session_id, 0, end, epoch))
    assert [each.frame_index for each in frames] == list(range(end))
    return "".join(each.packed_state.decode().partition(":")[0] for each in frames)


# ---- round trip -----------------------------------------------------------------------------------------------------


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


# ---- what makes no sense --------------------------------------------------------------------------------------------


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


# ---- timelines ------------------------------------------------------------------------------------------------------


def test_a_rewind_starts_an_epoch_and_leaves_the_one_before_as_it_was(store: Store) -> None:
    store.create_session(new_session())
    add_frames(store, A, 0, 6, "a")
    store.add_turn(A, turn(0, 6))
    assert store.rewind(A, 4) == 1
    rewound = store.read_session(A)
    assert (rewound.epoch, rewound.next_frame, rewound.unfinished) == (1, 4, ())
    assert rewound.turns == (turn(0, 6, run=None),)  # its id is used up all the same
    add_frames(store, A, 4, 7, "b")
    assert store.rewind(A, 5) == 2
    add_frames(store, A, 5, 6, "c")
    assert labels(store, A) == "aaaabc"
    assert labels(store, A, epoch=1, end=7) == "aaaabbb"
    assert labels(store, A, epoch=0, end=6) == "aaaaaa"


def test_a_rewind_to_here_and_to_the_start(store: Store) -> None:
    store.create_session(new_session())
    add_frames(store, A, 0, 2, "a")
    assert store.rewind(A, 2) == 1
    with pytest.raises(ValueError, match="not there"):
        store.rewind(A, 3)
    add_frames(store, A, 2, 3, "b")
    assert labels(store, A) == "aab"
    assert store.rewind(A, 0) == 2
    add_frames(store, A, 0, 1, "c")
    assert labels(store, A) == "c"


def test_ten_thousand_rewinds_cost_a_read_no_more_than_the_segments_it_touches(tmp_path: Path) -> None:
    with Store.open(tmp_path, sync=False) as store:
        store.create_session(new_session())
        add_frames(store, A, 0, 3, "a")
        for _ in range(10_000):
            store.rewind(A, 2)
        add_frames(store, A, 2, 4, "b")
        assert labels(store, A) == "aabb"
    catalogue = Catalogue(tmp_path / "catalogue.sqlite", sync=False)
    assert [each.epoch for each in catalogue.lineage(catalogue.timeline(A))] == [10_000, 0]
    catalogue.close()


def test_a_chain_of_a_thousand_segments_is_read_without_recursion(tmp_path: Path) -> None:
    with Store.open(tmp_path, sync=False, most_open_logs=4) as store:
        store.create_session(new_session())
        for index in range(1_200):
            store.add_frame(A, frame(index, "a"))
            store.add_frame(A, frame(index + 1, "lost"))
            store.rewind(A, index + 1)
        assert labels(store, A) == "a" * 1_200


def test_a_fork_shares_what_came_before_and_neither_side_changes_the_other(store: Store) -> None:
    store.create_session(new_session(A))
    add_frames(store, A, 0, 4, "a")
    store.fork_session(new_session(B), A, 0, 3)
    add_frames(store, B, 3, 5, "b")
    add_frames(store, A, 4, 6, "a")
    store.fork_session(new_session(C), B, 0, 2)  # below where B left A: C stems from A
    add_frames(store, C, 2, 3, "c")
    assert (labels(store, A), labels(store, B), labels(store, C)) == ("aaaaaa", "aaabb", "aac")
    assert store.read_session(B).fork_of == ForkPoint(A, 0, 3)
    assert store.read_session(C).fork_of == ForkPoint(B, 0, 2)
    with pytest.raises(ValueError, match="not there"):
        store.fork_session(new_session("session-d"), A, 0, 7)


def test_forks_of_old_epochs_and_rewinds_of_forks(store: Store) -> None:
    store.create_session(new_session(A))
    add_frames(store, A, 0, 4, "a")
    store.rewind(A, 2)
    add_frames(store, A, 2, 3, "x")
    store.fork_session(new_session(B), A, 0, 4)
    add_frames(store, B, 4, 5, "b")
    store.rewind(B, 1)  # to before it was forked
    add_frames(store, B, 1, 2, "y")
    assert (labels(store, A), labels(store, B), labels(store, B, epoch=0, end=5)) == ("aax", "ay", "aaaab")


# ---- deleting -------------------------------------------------------------------------------------------------------


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


# ---- ownership and format -------------------------------------------------------------------------------------------


def test_two_owners_are_refused_and_the_first_one_is_named(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        with pytest.raises(StoreInUseError, match=f"process {os.getpid()}"):
            Store.open(tmp_path)
        program = "import sys, pathlib, cutscene_server.store as s; s.Store.open(pathlib.Path(sys.argv[1]))"
        other = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False
        )
        assert f"StoreInUseError: {tmp_path} is open in process {os.getpid()}" in other.stderr
        store.create_session(new_session())
    Store.open(tmp_path).close()


def test_where_the_lock_fails_the_fence_stops_the_earlier_owner(tmp_path: Path) -> None:
    with Store.open(tmp_path) as earlier:
        earlier.create_session(new_session())
        add_frames(earlier, A, 0, 1)
        (tmp_path / "lock").unlink()  # what an administrator should not do
        with Store.open(tmp_path) as later:
            calls: list[Callable[[], object]] = [
                lambda: earlier.create_session(new_session(B)),
                lambda: earlier.fork_session(new_session(B), A, 0, 1),
                lambda: earlier.rewind(A, 0),
                lambda: earlier.add_turn(A, turn(0, 1)),
                lambda: earlier.add_frame(A, frame(1)),
                lambda: earlier.close_session(A, "CLIENT", 0, {}),
                lambda: earlier.delete_session(A),
            ]
            for call in calls:
                with pytest.raises(StoreLostError, match="belongs to owner 2"):
                    call()
            add_frames(later, A, 1, 2)
            assert later.read_session(A).next_frame == 2


@pytest.mark.parametrize("found", ["2", "none", ""])
def test_another_format_is_refused_by_both_names(tmp_path: Path, found: str) -> None:
    Store.open(tmp_path).close()
    (tmp_path / "format").write_text(f"{found}\n")
    if found == "none":
        (tmp_path / "format").unlink()
    with pytest.raises(StoreFormatError, match=f"has format {found}.*format 1"):
        Store.open(tmp_path)


def test_another_version_of_the_catalogue_is_refused_by_both_names(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    with sqlite3.connect(tmp_path / "catalogue.sqlite") as catalogue:
        catalogue.execute("PRAGMA user_version = 7")
    catalogue.close()
    with pytest.raises(StoreFormatError, match=r"version 7.*version 1"):
        Store.open(tmp_path)


def test_what_is_no_catalogue_and_what_is_no_directory(tmp_path: Path) -> None:
    Store.open(tmp_path / "data").close()
    (tmp_path / "data" / "catalogue.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreFailedError, match=r"catalogue\.sqlite"):
        Store.open(tmp_path / "data")
    (tmp_path / "file").touch()
    with pytest.raises(StoreFailedError, match="file"):
        Store.open(tmp_path / "file")


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.session_ids()


def test_others_cannot_read_the_directory(tmp_path: Path) -> None:
    with Store.open(tmp_path / "data") as store:
        store.create_session(new_session())
        add_frames(store, A, 0, 1)
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0
    assert log_file(tmp_path / "data").stat().st_mode & 0o077 == 0
