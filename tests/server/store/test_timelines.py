"""Rewinds and forks: each timeline keeps its own frames, and shares those that came before."""

from __future__ import annotations

from pathlib import Path

import pytest

from cutscene_server.store import (
    ForkPoint,
    Store,
)
from cutscene_server.store.catalogue import Catalogue

from .samples import add_frames, frame, labels, new_session, turn

A, B, C = "session-a", "session-b", "session-c"


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
