"""Pacing "live", whatever happens when: each state is drawn once, in order, or skipped and counted, on disk too."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cutscene_server.errors import WrongMoment
from cutscene_server.keyframes import StoredStates
from cutscene_server.session import Session
from cutscene_server.session_log import DrawnFigures, TurnCompleted
from cutscene_server.terms import Codec, Names, Pacing, Terms
from cutscene_server.turns import PlacedTurn, Turn

CREDIT = 6
FPS = 10.0
TERMS = Terms(
    "m", "d", 64, 32, Codec.JPEG, 90, FPS, 0, "draft", CREDIT, 10_000, Names({}, {}, frozenset()),
    pacing=Pacing.LIVE, latency_us=100_000,
)  # fmt: skip


@dataclass(frozen=True)
class NumberedRun:
    """A run whose states say which they are."""

    number: int
    frame_count: int
    byte_size: int = 1

    def packed_state(self, position: int) -> bytes:
        assert 0 <= position < self.frame_count
        return b"%d:%d" % (self.number, position)

    def packed(self) -> bytes:
        return b"run"


@dataclass
class Row:
    """A turn as the store has it: see ``Store.skip_states``."""

    first_frame: int
    frame_count: int
    run: NumberedRun
    finished: bool = False


class LiveMachine(RuleBasedStateMachine):
    """A live session, the store behind it, and a server that may end at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.session = Session(TERMS)
        self.session.attach(0, 0)
        self.now_us = 1
        self.rows: dict[int, Row] = {}
        self.stored: list[tuple[int, int]] = []  # turn and position of each stored frame
        self.under_way: list[tuple[int, bytes]] = []

    @rule(passes_us=st.integers(0, 500_000))
    def time_passes(self, passes_us: int) -> None:
        self.now_us += passes_us

    @precondition(lambda self: not self.session.begun)
    @rule()
    def begin(self) -> None:
        self.session.begin()

    @rule(states=st.one_of(st.just(1), st.integers(1, 9)))
    def turn(self, states: int) -> None:
        number = len(self.rows)
        turn = Turn(f"turn-{number}", NumberedRun(number, states))
        try:
            placed = self.session.place_turn(turn)
        except WrongMoment:
            return
        self.store_skips()
        self.rows[placed.number] = Row(placed.first_frame, placed.frame_count, NumberedRun(number, states))
        self.session.add_turn(turn, self.now_us)

    @rule()
    def draw(self) -> None:
        wish = self.session.wish(1)
        if wish is None or wish.release_us > self.now_us:
            return
        order = self.session.take_order(self.now_us)
        self.under_way.append((order.frame_index, order.packed_state))

    @precondition(lambda self: bool(self.under_way))
    @rule()
    def frame_comes(self) -> None:
        index, state = self.under_way.pop(0)
        ends_turn = self.session.is_end_of_turn(index)
        self.store_skips()
        if index == len(self.stored):
            number, position = map(int, state.split(b":"))
            row = self.rows[number]
            assert row.first_frame <= index < row.first_frame + row.frame_count
            self.stored.append((number, position))
            if ends_turn:
                assert row.first_frame + row.frame_count == index + 1
                row.finished = True
        figures = DrawnFigures(index, "draft", 1, 1, 1, 1, 1, 1, 0, 0)
        self.session.add_frame(figures, b"", b"", 0, self.now_us)

    @precondition(lambda self: bool(self.under_way))
    @rule(skips_stored=st.integers(0, 3))
    def frame_cannot_be_stored(self, skips_stored: int) -> None:
        """The disk is full, before any or after some of what was passed over could be stored with it."""
        left = self.session
        self.store_skips(skips_stored)
        left.leave()
        assert left.wish(1) is None
        self.server_is_lost()

    def store_skips(self, most: int | None = None) -> None:
        for number, states in self.session.take_skips()[:most]:
            row = self.rows[number]
            assert not row.finished
            row.frame_count -= states
            row.finished |= not row.frame_count or row.first_frame + row.frame_count <= len(self.stored)
            for later in range(number + 1, len(self.rows)):
                self.rows[later].first_frame -= states

    @rule()
    def client_acks(self) -> None:
        self.session.acknowledge(self.session.ready_frame, self.now_us)

    @precondition(lambda self: self.session.begun)
    @rule()
    def process_is_lost(self) -> None:
        self.session.lose()
        self.under_way.clear()

    @rule()
    def server_is_lost(self) -> None:
        """As ``archive.restored`` makes a session of what is stored."""
        drawn = len(self.stored)
        turns = []
        for number, row in self.rows.items():
            if row.finished:
                if row.frame_count:
                    turns.append(
                        PlacedTurn(
                            Turn(f"turn-{number}", StoredStates(row.frame_count)), number, row.first_frame, False
                        )
                    )
            else:
                skipped = row.run.frame_count - row.frame_count
                turns.append(PlacedTurn(Turn(f"turn-{number}", row.run), number, row.first_frame, False, skipped))
        self.session = Session.restored(
            TERMS, epoch=0, first_frame=0, durable_frame=drawn, turns=turns, turn_count=len(self.rows),
            turn_ids=[f"turn-{number}" for number in self.rows], usage=self.session.usage,
        )  # fmt: skip
        self.session.usage.frames = drawn
        self.session.attach(drawn, self.now_us)
        self.under_way.clear()

    @invariant()
    def states_are_drawn_in_order_and_once(self) -> None:
        assert self.stored == sorted(set(self.stored))

    @invariant()
    def credit_holds(self) -> None:
        assert self.session.ready_frame <= self.session.acked_frame + CREDIT
        assert self.session.ready_frame == len(self.stored)

    def teardown(self) -> None:
        """Everything comes to its end: every turn is completed, and the last state of all was drawn."""
        for _ in range(2000):
            if not self.session.begun:
                self.begin()
            self.time_passes(50_000)
            self.draw()
            if self.under_way:
                self.frame_comes()
            self.client_acks()
            if not self.session.has_work:
                break
        assert not self.session.has_work
        if self.rows:
            last = len(self.rows) - 1
            assert self.stored[-1] == (last, self.rows[last].run.frame_count - 1)
        assert sum(row.frame_count for row in self.rows.values()) == len(self.stored)
        assert all(row.finished for row in self.rows.values())
        log = self.session.log
        entries = [log.get(number) for number in range(log.first_number, log.next_number)]
        assert not any(isinstance(entry, TurnCompleted) and entry.frame_count < 0 for entry in entries)


TestLiveMachine = LiveMachine.TestCase
TestLiveMachine.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


def test_states_that_were_passed_over_for_a_frame_that_could_not_be_stored_are_there_to_be_drawn() -> None:
    one = LiveMachine()
    one.begin()
    one.turn(5)
    one.time_passes(250_000)
    one.draw()
    assert one.under_way == [(0, b"0:2")]
    one.frame_cannot_be_stored(0)
    assert one.rows[0].frame_count == 5
    one.begin()
    one.draw()
    assert one.under_way == [(0, b"0:0")]
    one.teardown()


def test_a_turn_whose_states_were_all_passed_over_is_not_drawn_once_a_process_is_lost() -> None:
    one = LiveMachine()
    one.begin()
    one.turn(2)
    one.draw()
    one.time_passes(200_000)
    one.turn(1)
    one.turn(1)
    one.draw()  # of the last turn: its forerunner's only state was passed over, but waits behind the first's frame
    one.process_is_lost()
    one.teardown()
    assert one.stored == [(0, 0), (2, 0)]
