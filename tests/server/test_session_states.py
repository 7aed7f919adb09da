"""The session's table: every legal edge walked by the verb that causes it, every other event refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from cutscene_server.errors import IllegalEvent, InvalidRequest, OutOfRange, WrongMoment
from cutscene_server.session import Session
from cutscene_server.session_log import DrawnFigures, FrameReady, TurnCompleted, TurnStarted
from cutscene_server.session_states import EDGES, CloseReason, Event, State
from cutscene_server.terms import Codec, Names, Pacing, Terms
from cutscene_server.turn_queue import MAX_WAITING_BYTES, MAX_WAITING_TURNS
from cutscene_server.turns import PlacedTurn, Turn, Usage


@dataclass(frozen=True)
class PlainRun:
    """A run whose states say which frame they are for."""

    frame_count: int
    byte_size: int = 10

    def packed_state(self, position: int) -> bytes:
        return str(position).encode()

    def packed(self) -> bytes:
        return b"run"


def make_session(*, frame_credit: int = 4, frame_budget: int = 100, pacing: Pacing = Pacing.UNPACED) -> Session:
    return Session(
        Terms(
            model="synthetic",
            model_digest="00",
            width=64,
            height=32,
            codec=Codec.JPEG,
            jpeg_quality=90,
            fps=24.0,
            seed=1,
            tier="standard",
            frame_credit=frame_credit,
            frame_budget=frame_budget,
            names=Names({}, {}, frozenset()),
            pacing=pacing,
            latency_us=50_000,
        )
    )


def add_turn(session: Session, turn_id: str, frames: int = 2, *, now_us: int = 0, byte_size: int = 10) -> None:
    session.add_turn(Turn(turn_id, PlainRun(frames, byte_size)), now_us)


def give_frame(session: Session, frame_index: int, *, now_us: int = 0) -> None:
    figures = DrawnFigures(frame_index, "standard", 3, 1, 1, 2, 3, 10, started_us=now_us, finished_us=now_us)
    session.add_frame(figures, b"picture", b"digest", 5, now_us)


def draw_all(session: Session) -> None:
    while session.wants_frame:
        give_frame(session, session.take_order(0).frame_index)


def in_state(state: State) -> Session:
    """A session in this state. A performing or ending one has a frame to draw and one under way; a closed one came
    back from disk, and has frames to show again.
    """
    if state is State.CLOSED:
        session = come_back(stored_frames=3, turns=[("first", 0, 3)], close_reason=CloseReason.CLIENT)
        session.attach(0, 0)
        session.begin()
        session.take_order(0)
        return session
    session = make_session()
    if state is State.LEFT:
        session.leave()
    if state in (State.OPENING, State.LEFT):
        return session
    session.begin()
    if state is State.IDLE:
        return session
    add_turn(session, "first", 3)
    session.take_order(0)
    if state is State.PERFORMING:
        return session
    session.close()
    return session


def come_back(
    *,
    stored_frames: int,
    turns: list[tuple[str, int, int]],
    close_reason: CloseReason | None = None,
    first_frame: int = 0,
) -> Session:
    """A session from disk. ``turns`` are ids, first frames and frame counts."""
    placed = [
        PlacedTurn(Turn(turn_id, PlainRun(count)), number, first, False)
        for number, (turn_id, first, count) in enumerate(turns)
    ]
    return Session.restored(
        make_session().terms,
        epoch=0,
        first_frame=first_frame,
        durable_frame=stored_frames,
        turns=placed,
        turn_count=len(placed),
        turn_ids=[turn_id for turn_id, _, _ in turns],
        usage=Usage(frames=stored_frames),
        close_reason=close_reason,
    )


def exhaust(session: Session) -> None:
    """Draws until the frame budget, of 2 here, ends it."""
    session.terms = make_session(frame_budget=2).terms
    while session.wants_frame:
        session.take_order(0)
    give_frame(session, 0)
    give_frame(session, 1)


def run_out(session: Session) -> None:
    while session.wants_frame:
        session.take_order(0)
    for frame_index in range(3):
        give_frame(session, frame_index)


def close_and_run_out(session: Session) -> None:
    session.close()
    run_out(session)


VERBS: dict[Event, Callable[[Session], object]] = {
    Event.BEGIN: Session.begin,
    Event.TURN: lambda session: add_turn(session, "another"),
    Event.CUT: Session.cut,
    Event.ACK: lambda session: session.acknowledge(0, 0),
    Event.DRAW: lambda session: session.take_order(0),
    Event.FRAME: lambda session: give_frame(session, 0),
    Event.RUN_OUT: run_out,
    Event.CLOSE: Session.close,
    Event.END: Session.end,
    Event.EXHAUST: exhaust,
    Event.LOSE: Session.lose,
    Event.REWIND: lambda session: session.rewind(0),
    Event.FAIL: Session.fail,
    Event.LEAVE: Session.leave,
}

FOLLOWED_BY: dict[tuple[State, Event], State] = {(State.IDLE, Event.CLOSE): State.CLOSED}
"""Edges that another one follows at once: a session with nothing to draw that is asked to close has run out."""

INSIDE = {Event.START}  # taken by the session itself, tested below

LEGAL = [(state, event) for state, edges in EDGES.items() for event in edges if event not in INSIDE]
ILLEGAL = [
    (state, event)
    for state in State
    for event in VERBS
    # Running out and running over the budget follow from frames: without frames there is nobody to cause them.
    if event not in EDGES[state] and event not in {Event.RUN_OUT, Event.EXHAUST}
]


@pytest.mark.parametrize(("state", "event"), LEGAL, ids=str)
def test_every_legal_edge_leads_where_the_table_says(state: State, event: Event) -> None:
    session = in_state(state)
    assert session.state is state
    VERBS[event](session)
    assert session.state is FOLLOWED_BY.get((state, event), EDGES[state][event])


@pytest.mark.parametrize(("state", "event"), ILLEGAL, ids=str)
def test_every_other_event_is_refused_and_changes_nothing(state: State, event: Event) -> None:
    session = in_state(state)
    before = session.state, session.ready_frame, session.acked_frame, session.log.next_number, session.close_reason
    with pytest.raises(IllegalEvent):
        VERBS[event](session)
    after = session.state, session.ready_frame, session.acked_frame, session.log.next_number, session.close_reason
    assert after == before


def test_turns_that_came_during_opening_start_when_it_begins() -> None:
    session = make_session()
    add_turn(session, "early")
    assert (session.state, session.wants_frame) == (State.OPENING, False)
    session.begin()
    assert (session.state, session.wants_frame) == (State.PERFORMING, True)


def test_a_session_closed_during_opening_draws_what_came_before() -> None:
    session = make_session()
    add_turn(session, "early", 2)
    session.close()
    session.begin()
    assert session.state is State.ENDING
    draw_all(session)
    assert (session.state, session.close_reason) == (State.CLOSED, CloseReason.CLIENT)
    assert session.usage.frames == 2


def test_a_session_closed_during_opening_without_turns_closes_when_it_begins() -> None:
    session = make_session()
    session.close()
    session.begin()
    assert session.state is State.CLOSED


@pytest.mark.parametrize(
    ("verb", "reason"),
    [
        (Session.end, CloseReason.CLIENT),
        (Session.fail, CloseReason.ERROR),
        (exhaust, CloseReason.FRAME_BUDGET),
        (close_and_run_out, CloseReason.CLIENT),
    ],
)
def test_why_a_session_is_closed(verb: Callable[[Session], object], reason: CloseReason) -> None:
    session = in_state(State.PERFORMING)
    verb(session)
    assert session.close_reason is reason


def test_the_budget_closes_the_session_only_when_more_is_wanted() -> None:
    session = make_session(frame_budget=2)
    session.begin()
    add_turn(session, "exactly", 2)
    draw_all(session)
    assert session.state is State.IDLE
    add_turn(session, "more", 1)
    assert (session.state, session.close_reason) == (State.CLOSED, CloseReason.FRAME_BUDGET)
    assert session.usage.frames == 2


def said_frames(session: Session) -> list[int]:
    return [entry.figures.frame_index for entry in entries(session) if isinstance(entry, FrameReady)]


def test_what_a_lost_process_was_drawing_is_drawn_again() -> None:
    session = in_state(State.IDLE)
    add_turn(session, "one", 3)
    add_turn(session, "two", 2)
    give_frame(session, session.take_order(0).frame_index)
    lost = [session.take_order(0) for _ in range(3)]
    session.lose()
    assert (session.state, session.wants_frame) == (State.OPENING, False)
    session.begin()
    again = [session.take_order(0) for _ in range(3)]
    assert [(order.frame_index, order.packed_state) for order in again] == [
        (order.frame_index, order.packed_state) for order in lost
    ]
    assert {order.generation for order in again} == {lost[0].generation + 1}
    for order in again:
        give_frame(session, order.frame_index)
    draw_all(session)
    assert said_frames(session) == [0, 1, 2, 3]
    assert session.usage.turns == 1


@pytest.mark.parametrize("state", [state for state in State if state is not State.LEFT], ids=str)
def test_nothing_more_comes_of_a_session_that_has_left_memory(state: State) -> None:
    session = in_state(state)
    generation = session.generation
    session.leave()
    assert session.left
    assert not any([session.wants_frame, session.has_work, session.in_flight, session.throttled])
    assert session.generation > generation  # what the model still draws is void
    assert session.wish(1) is None


def test_a_session_from_disk_shows_what_its_client_has_not_seen_and_draws_the_rest() -> None:
    session = come_back(stored_frames=4, turns=[("one", 0, 3), ("two", 3, 3)])
    assert (session.ready_frame, session.wants_frame, session.recent_turn_ids) == (4, False, ["one", "two"])
    session.attach(2, 0)
    session.begin()
    orders = [session.take_order(0) for _ in range(4)]
    assert [(order.frame_index, order.stored, order.packed_state) for order in orders] == [
        (2, True, b""), (3, True, b""), (4, False, b"1"), (5, False, b"2"),
    ]  # fmt: skip
    for order in orders:
        give_frame(session, order.frame_index)
    assert said_frames(session) == [2, 3, 4, 5]
    receipts = [entry.turn_id for entry in entries(session) if isinstance(entry, TurnStarted)]
    assert receipts == ["one", "two"]
    assert (session.state, session.usage.frames) == (State.IDLE, 6)
    with pytest.raises(InvalidRequest):
        add_turn(session, "one")
    add_turn(session, "three", 1)
    session.acknowledge(6, 0)
    assert session.take_order(0).frame_index == 6


def test_a_closed_session_from_disk_has_its_last_frames_to_show_and_takes_nothing_new() -> None:
    session = come_back(stored_frames=3, turns=[("one", 0, 3)], close_reason=CloseReason.FRAME_BUDGET)
    session.attach(1, 0)
    assert session.has_work
    session.begin()
    draw_all(session)
    assert (said_frames(session), session.has_work, session.usage.frames) == ([1, 2], False, 3)


def test_frames_before_what_is_kept_of_a_session_from_disk_are_out_of_range() -> None:
    session = come_back(stored_frames=9, turns=[("late", 6, 3)], first_frame=6)
    with pytest.raises(OutOfRange):
        session.attach(5, 0)
    session.attach(6, 0)


def test_going_back_drops_what_waits_and_goes_on_in_a_new_epoch() -> None:
    session = in_state(State.IDLE)
    add_turn(session, "one", 4)
    draw_all(session)
    add_turn(session, "two", 3)
    add_turn(session, "three", 3)
    order = session.take_order(0) if session.wants_frame else None
    assert order is None, "the credit is used up"
    rewound = session.rewind(2)
    assert (rewound.epoch, rewound.next_frame, session.epoch) == (1, 2, 1)
    assert said_frames(session) == [0, 1], "what was not delivered of the epoch before never happened"
    session.announce(rewound)
    session.begin()
    assert not session.wants_frame
    add_turn(session, "four", 2)
    draw_all(session)
    assert said_frames(session) == [0, 1, 2, 3]
    with pytest.raises(OutOfRange):
        session.rewind(5)


def test_a_later_attachment_replaces_the_earlier_one_whose_leaving_then_means_nothing() -> None:
    session = in_state(State.IDLE)
    first, second = session.attach(0, 0), session.attach(0, 0)
    assert session.attachment == second
    session.detach(first)
    assert session.attachment == second


def test_frames_are_numbered_over_turns_and_receipts_say_where_turns_start() -> None:
    session = in_state(State.IDLE)
    add_turn(session, "one", 2)
    add_turn(session, "two", 1)
    draw_all(session)
    said = [session.log.get(number) for number in range(session.log.next_number)]
    receipts = [
        (entry.turn_id, entry.first_frame, entry.frame_count) for entry in said if isinstance(entry, TurnStarted)
    ]
    frames = [(entry.turn_id, entry.figures.frame_index) for entry in said if isinstance(entry, FrameReady)]
    done = [
        (entry.turn_id, entry.first_frame, entry.blocks_reused) for entry in said if isinstance(entry, TurnCompleted)
    ]
    assert receipts == [("one", 0, 2), ("two", 2, 1)]
    assert frames == [("one", 0), ("one", 1), ("two", 2)]
    assert done == [("one", 0, 6), ("two", 2, 3)]


def test_presentation_times_are_those_of_the_frame_rate() -> None:
    session = in_state(State.IDLE)
    add_turn(session, "one", 3)
    draw_all(session)
    times = [entry.presentation_time_us for entry in entries(session) if isinstance(entry, FrameReady)]
    assert times == [0, 41_667, 83_333]


def test_credit_stops_drawing_and_an_ack_lets_it_go_on() -> None:
    session = make_session(frame_credit=2)
    session.begin()
    add_turn(session, "one", 5)
    draw_all(session)
    assert (session.ready_frame, session.throttled) == (2, True)
    session.acknowledge(1, 0)
    draw_all(session)
    assert (session.ready_frame, len(session.log)) == (3, 2)


def test_a_stall_is_noticed_once_until_half_of_the_credit_is_back() -> None:
    session = make_session(frame_credit=4)
    session.begin()
    add_turn(session, "one", 20)
    draw_all(session)
    assert session.take_throttle_notice()
    assert not session.take_throttle_notice()
    session.acknowledge(1, 0)
    draw_all(session)
    assert not session.take_throttle_notice()
    session.acknowledge(5, 0)
    draw_all(session)
    assert session.take_throttle_notice()


@pytest.mark.parametrize("next_frame", [1, 4])
def test_positions_outside_what_is_kept_are_out_of_range(next_frame: int) -> None:
    session = in_state(State.IDLE)
    add_turn(session, "one", 3)
    draw_all(session)
    session.acknowledge(2, 0)
    with pytest.raises(OutOfRange):
        session.acknowledge(next_frame, 0)
    with pytest.raises(OutOfRange):
        session.attach(next_frame, 0)
    assert session.attachment is None


def test_a_cut_belongs_to_the_next_turn_that_comes() -> None:
    session = in_state(State.IDLE)
    add_turn(session, "one", 1)
    session.cut()
    add_turn(session, "two", 2)
    cuts = [session.take_order(0).cut_before for _ in range(3)]
    assert cuts == [False, True, False]


def test_eight_turns_wait_behind_the_current_one_and_the_next_is_refused() -> None:
    session = in_state(State.IDLE)
    for number in range(MAX_WAITING_TURNS + 1):
        add_turn(session, f"turn-{number}", 1)
    assert session.turns_waiting == MAX_WAITING_TURNS
    with pytest.raises(WrongMoment):
        add_turn(session, "one-too-many")
    give_frame(session, session.take_order(0).frame_index)
    add_turn(session, "now-there-is-room")


def test_waiting_turns_are_bounded_in_bytes_but_one_is_always_taken() -> None:
    session = in_state(State.IDLE)
    add_turn(session, "huge", 1, byte_size=2 * MAX_WAITING_BYTES)
    with pytest.raises(WrongMoment):
        add_turn(session, "small")


def test_a_turn_id_is_used_once() -> None:
    session = in_state(State.IDLE)
    add_turn(session, "one")
    with pytest.raises(InvalidRequest):
        add_turn(session, "one")


def test_a_frame_out_of_order_is_refused() -> None:
    session = in_state(State.PERFORMING)
    with pytest.raises(IllegalEvent):
        give_frame(session, 1)


def test_times_in_a_turns_figures_count_from_its_receipt_and_queueing_from_when_a_frame_was_due() -> None:
    session = in_state(State.IDLE)
    add_turn(session, "one", 2, now_us=1000)
    session.take_order(0)
    session.take_order(0)
    give_frame(session, 0, now_us=1500)
    give_frame(session, 1, now_us=1700)
    first, second = (entry for entry in entries(session) if isinstance(entry, FrameReady))
    assert (first.queued_us, second.queued_us) == (500, 200)
    (completed,) = (entry for entry in entries(session) if isinstance(entry, TurnCompleted))
    assert (completed.first_frame_us, completed.total_us) == (500, 700)


@pytest.mark.parametrize("pacing", [Pacing.LOCKSTEP, Pacing.LIVE])
def test_a_frame_that_keeps_a_cadence_is_not_queued_before_its_time_has_come(pacing: Pacing) -> None:
    session = make_session(pacing=pacing)
    session.has_place = True
    session.begin()
    add_turn(session, "one", 2, now_us=1000)
    assert session.cadence is not None
    for frame_index, time_us in enumerate([1000, 1000 + session.cadence.period_us]):
        session.take_order(time_us)
        give_frame(session, frame_index, now_us=time_us + 400)
    first, second = (entry for entry in entries(session) if isinstance(entry, FrameReady))
    assert (first.queued_us, second.queued_us) == (400, 400)


def entries(session: Session) -> list[object]:
    return [session.log.get(number) for number in range(session.log.next_number)]
