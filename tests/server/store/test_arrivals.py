"""Sessions that are brought from elsewhere: invisible until they are whole, gone if they never are."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cutscene_server.store import Retention, Store, StoreLostError, UnknownSessionError
from cutscene_server.store.store import MOST_UNSYNCED_BYTES

from .samples import frame, log_file, new_session, turn

A, B = "session-a", "session-b"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data") as opened:
        yield opened


def test_a_session_arrives_in_batches_and_is_then_like_any_other(store: Store, tmp_path: Path) -> None:
    store.begin_arrival(new_session())
    store.add_arrived_turns(A, [turn(3, 0, 4, None), turn(4, 4, 4, b"a run")])
    store.add_arrived_frames(A, [frame(0), frame(1)])
    store.add_arrived_frames(A, [frame(2), frame(3), frame(4)])
    store.finish_arrival(A)
    arrived = store.read_session(A)
    assert (arrived.opened, arrived.next_frame, arrived.epoch, arrived.end) == (new_session(), 5, 0, None)
    assert arrived.turns == (turn(3, 0, 4, None), turn(4, 4, 4, None))
    assert arrived.unfinished == (turn(4, 4, 4, b"a run"),)
    assert list(store.read_frames(A, 0, 5)) == [frame(index) for index in range(5)]
    store.add_frame(A, frame(5))
    store.fork_session(new_session(B), A, 0, 3)
    assert store.rewind(A, 2) == 1
    store.close()
    with Store.open(tmp_path / "data") as again:
        assert again.session_ids() == [A, B]
        assert again.read_session(A).next_frame == 2
        assert list(again.read_frames(B, 0, 3)) == [frame(index) for index in range(3)]


def test_a_session_without_frames_arrives_too(store: Store) -> None:
    store.begin_arrival(new_session())
    store.finish_arrival(A)
    assert store.read_session(A).next_frame == 0


def test_nobody_sees_a_session_that_is_arriving(store: Store) -> None:
    store.begin_arrival(new_session())
    store.add_arrived_frames(A, [frame(0)])
    assert store.session_ids() == []
    assert store.summaries() == []
    calls: list[Callable[[], object]] = [
        lambda: store.read_session(A),
        lambda: store.read_frames(A, 0, 1),
        lambda: store.add_frame(A, frame(1)),
        lambda: store.add_turn(A, turn(0, 0)),
        lambda: store.rewind(A, 0),
        lambda: store.fork_session(new_session(B), A, 0, 1),
        lambda: store.close_session(A, "CLIENT", 0, {}),
        lambda: store.delete_session(A),
    ]
    for call in calls:
        with pytest.raises(UnknownSessionError):
            call()
    with pytest.raises(ValueError, match="already"):
        store.create_session(new_session())


def test_sweeping_and_deleting_others_leave_it_alone(store: Store) -> None:
    store.create_session(new_session(B))
    store.add_frame(B, frame(0))
    store.begin_arrival(new_session())
    store.add_arrived_frames(A, [frame(0)])
    store.close_session(B, "CLIENT", 0, {})
    assert store.sweep(1, Retention(0.0, 0.0, 0)).deleted == (B,)
    store.add_arrived_frames(A, [frame(1)])
    store.finish_arrival(A)
    assert list(store.read_frames(A, 0, 2)) == [frame(0), frame(1)]


def test_a_crash_between_batches_leaves_nothing(store: Store, tmp_path: Path) -> None:
    store.create_session(new_session(B))
    store.begin_arrival(new_session())
    store.add_arrived_turns(A, [turn(0, 0, 9, b"a run")])
    store.add_arrived_frames(A, [frame(0), frame(1)])
    (tmp_path / "data" / "incoming" / "spooled").write_bytes(b"what was being read from")
    crashed = tmp_path / "crashed"
    shutil.copytree(tmp_path / "data", crashed)  # as it lies on disk while the owner still has it open
    with Store.open(crashed) as again:
        assert again.session_ids() == [B]
        assert not log_file(crashed).exists()
        assert list((crashed / "incoming").iterdir()) == []
        assert again.total_bytes() == 0
        again.create_session(new_session())  # not even its id is taken
    with sqlite3.connect(crashed / "catalogue.sqlite") as catalogue:
        assert catalogue.execute("SELECT count(*) FROM turns").fetchone() == (0,)
    catalogue.close()


@pytest.mark.parametrize("finished", [False, True])
def test_what_is_discarded_is_gone_even_if_it_had_arrived(store: Store, tmp_path: Path, finished: bool) -> None:
    store.begin_arrival(new_session())
    store.add_arrived_frames(A, [frame(0)])
    if finished:
        store.finish_arrival(A)
    store.discard_arrival(A)
    assert store.session_ids() == []
    assert not log_file(tmp_path / "data").exists()
    with pytest.raises(UnknownSessionError):
        store.discard_arrival(A)


def test_frames_come_in_order_and_only_to_what_is_arriving(store: Store) -> None:
    store.create_session(new_session(B))
    store.begin_arrival(new_session())
    store.add_arrived_frames(A, [frame(0)])
    for index in (0, 2):
        with pytest.raises(ValueError, match=f"goes on with frame 1, not {index}"):
            store.add_arrived_frames(A, [frame(index)])
    with pytest.raises(ValueError, match="turn numbers rise"):
        store.add_arrived_turns(A, [turn(1, 0, 1, None), turn(1, 1, 1, None)])
    calls: list[Callable[[], object]] = [
        lambda: store.add_arrived_frames(B, [frame(0)]),
        lambda: store.add_arrived_turns(B, [turn(0, 0)]),
        lambda: store.finish_arrival(B),
    ]
    for call in calls:
        with pytest.raises(UnknownSessionError):
            call()


def test_many_frames_are_synced_as_they_come(store: Store) -> None:
    store.begin_arrival(new_session())
    large = [frame(index, latent_bytes=MOST_UNSYNCED_BYTES // 3) for index in range(7)]
    store.add_arrived_frames(A, large)
    store.finish_arrival(A)
    assert list(store.read_frames(A, 0, 7)) == large


def test_an_earlier_owner_brings_nothing_any_more(tmp_path: Path) -> None:
    with Store.open(tmp_path) as earlier:
        earlier.begin_arrival(new_session())
        earlier.add_arrived_frames(A, [frame(0)])
        (tmp_path / "lock").unlink()  # what an administrator should not do
        with Store.open(tmp_path) as later:
            calls: list[Callable[[], object]] = [
                lambda: earlier.begin_arrival(new_session(B)),
                lambda: earlier.add_arrived_frames(A, [frame(1)]),
                lambda: earlier.finish_arrival(A),
            ]
            for call in calls:
                with pytest.raises((StoreLostError, UnknownSessionError)):
                    call()
            assert later.session_ids() == []
