"""What a stored session goes on as: which turns lie on its timeline, and from which frame on it can be shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cutscene_server.archive import placed_turns, restored
from cutscene_server.keyframes import LockstepStates
from cutscene_server.store import NewSession, StoredSession, StoredTurn
from cutscene_server.terms import Codec, Names, Terms
from cutscene_server.transfers import turns_to_move

TERMS = Terms("m", "d", 64, 32, Codec.JPEG, 90, 24.0, 7, "draft", 48, 1000, Names({}, {}, frozenset()))
RUN = LockstepStates((b"state",) * 10).packed()


def turn(number: int, run: bytes | None = None) -> StoredTurn:
    """Of ten frames, one after the other."""
    return StoredTurn(number, f"turn-{number}", 10 * number, 10, False, 0, run)


def stored(next_frame: int, turns: Sequence[StoredTurn]) -> StoredSession:
    opened = NewSession("session-a", bytes(32), 0, "m", "d", TERMS.packed(), b"", {})
    unfinished = tuple(turn for turn in turns if turn.packed_run is not None)
    return StoredSession(1, opened, None, 0, None, next_frame, unfinished, tuple(turns))


def test_a_turn_that_a_crash_left_unfinished_does_not_hide_those_after_it() -> None:
    """The last frame of turn 0 was durable, that it is finished was not; then turn 1 was drawn."""
    session = stored(20, [turn(0, RUN), turn(1)])
    assert [placed.turn.turn_id for placed in placed_turns(session)] == ["turn-0", "turn-1"]
    again = restored(session)
    again.attach(15, 0)  # within turn 1, whose frames are shown again
    again.begin()
    order = again.take_order(0)
    assert (order.frame_index, order.stored, order.turn_number) == (15, True, 1)


def test_what_is_moved_of_turns_is_what_lies_on_the_timeline_with_the_states_that_are_left_to_draw() -> None:
    finished = stored(20, [turn(0, RUN), turn(1)])
    assert turns_to_move(finished) == [turn(0), turn(1)]
    waiting = stored(15, [turn(0), turn(1, RUN), turn(2, RUN)])
    assert turns_to_move(waiting) == list(waiting.turns)
    rewound = stored(7, [turn(0), turn(1)])
    assert turns_to_move(rewound) == [replace(turn(0), frame_count=7)]


def test_without_a_turn_on_its_timeline_a_session_goes_on_where_it_is() -> None:
    """As one that was rewound to before its first remembered turn: what is below belongs to no turn it knows."""
    again = restored(stored(5, [turn(3), turn(4)]))
    assert (again.acked_frame, again.durable_frame) == (5, 5)
