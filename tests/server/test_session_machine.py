"""Any order of turns, acks, drops, resumes, deaths of frames and full disks: numbering, credit and delivery hold."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cutscene_server.errors import IllegalEvent, WrongMoment
from cutscene_server.session import Session
from cutscene_server.session_log import DrawnFigures, FrameReady, TurnCompleted
from cutscene_server.terms import Codec, Names, Terms
from cutscene_server.turns import PlacedTurn, Turn, Usage

CREDIT = 5
BUDGET = 60


class Run:
    byte_size = 1

    def __init__(self, frame_count: int) -> None:
        self.frame_count = frame_count

    def packed_state(self, position: int) -> bytes:
        assert 0 <= position < self.frame_count
        return b"state"

    def packed(self) -> bytes:
        return b"run"


class SessionMachine(RuleBasedStateMachine):
    """A session, the model process beside it, and a client that comes and goes."""

    def __init__(self) -> None:
        super().__init__()
        names = Names({}, {}, frozenset())
        self.terms = Terms("m", "d", 64, 32, Codec.JPEG, 90, 24.0, 0, "draft", CREDIT, BUDGET, names)
        self.session = Session(self.terms)
        self.placed: list[PlacedTurn] = []
        self.turns = 0
        self.asked = 0  # frames of all turns taken
        self.under_way: list[int] = []
        self.attachment: int | None = None
        self.cursor = 0
        self.client_next = 0  # the frame that the client has not received yet
        self.completed: set[str] = set()

    @precondition(lambda self: not self.session.begun and not self.session.closed)
    @rule()
    def begin(self) -> None:
        self.session.begin()

    @rule(frames=st.integers(1, 12))
    def turn(self, frames: int) -> None:
        turn = Turn(f"turn-{self.turns}", Run(frames))
        try:
            self.placed.append(self.session.place_turn(turn))
        except WrongMoment:
            return
        self.session.add_turn(turn, 0)
        self.turns += 1
        self.asked += frames

    @precondition(lambda self: self.session.wants_frame)
    @rule()
    def order(self) -> None:
        order = self.session.take_order(0)
        self.under_way.append(order.frame_index)

    @precondition(lambda self: bool(self.under_way) and not self.session.closed)
    @rule()
    def frame_comes(self) -> None:
        index = self.under_way.pop(0)
        figures = DrawnFigures(index, "draft", 1, 1, 1, 1, 1, 1, 0, 0)
        self.session.add_frame(figures, str(index).encode(), b"", 0, 0)

    @precondition(lambda self: self.session.begun and not self.session.closed)
    @rule()
    def process_is_lost(self) -> None:
        self.session.lose()
        self.under_way.clear()

    @precondition(lambda self: bool(self.under_way) and not self.session.closed)
    @rule(is_there=st.booleans())
    def frame_cannot_be_stored(self, is_there: bool) -> None:
        """Or it is there, and what follows could not be stored. As ``archive.restored`` makes a session of the rest."""
        left, stored = self.session, self.session.durable_frame
        stored += is_there and self.under_way[0] == stored
        left.leave()
        self.under_way.clear()
        assert not left.wants_frame
        self.session = Session.restored(
            self.terms, epoch=0, first_frame=0, durable_frame=stored, turns=self.placed, turn_count=len(self.placed),
            turn_ids=[placed.turn.turn_id for placed in self.placed], usage=Usage(frames=stored),
        )  # fmt: skip
        self.session.usage.turns = sum(placed.end_frame <= stored for placed in self.placed)
        self.client_comes()

    @rule()
    def client_comes(self) -> None:
        self.attachment = self.session.attach(self.client_next, 0)
        self.cursor = self.session.log.first_number

    @precondition(lambda self: self.attachment is not None)
    @rule()
    def client_leaves(self) -> None:
        assert self.attachment is not None
        self.session.detach(self.attachment)
        self.attachment = None

    @precondition(lambda self: self.attachment is not None)
    @rule(most=st.integers(1, 20))
    def client_reads(self, most: int) -> None:
        while most and self.cursor < self.session.log.next_number:
            entry = self.session.log.get(self.cursor)
            self.cursor += 1
            if isinstance(entry, FrameReady):
                most -= 1
                assert entry.figures.frame_index == self.client_next
                assert entry.data == str(self.client_next).encode()
                self.client_next += 1
            elif isinstance(entry, TurnCompleted):
                assert self.client_next == entry.first_frame + entry.frame_count
                self.completed.add(entry.turn_id)

    @precondition(lambda self: self.attachment is not None)
    @rule(behind=st.integers(0, 3))
    def client_acks(self, behind: int) -> None:
        self.session.acknowledge(max(self.session.acked_frame, self.client_next - behind), 0)

    @rule()
    def cut(self) -> None:
        if not self.session.closed and self.session.state.value != "ending":
            self.session.cut()

    @precondition(lambda self: self.session.usage.frames > 20)
    @rule()
    def close(self) -> None:
        try:
            self.session.close()
        except IllegalEvent:
            assert self.session.state.value in ("ending", "closed")

    @invariant()
    def credit_holds(self) -> None:
        session = self.session
        assert session.acked_frame <= session.ready_frame <= session.acked_frame + CREDIT
        assert session.ready_frame <= min(self.asked, BUDGET)
        assert session.usage.frames == session.durable_frame >= session.ready_frame

    @invariant()
    def the_log_has_just_the_frames_not_acknowledged(self) -> None:
        log = self.session.log
        entries = [log.get(number) for number in range(log.first_number, log.next_number)]
        kept = [entry.figures.frame_index for entry in entries if isinstance(entry, FrameReady)]
        assert kept == list(range(self.session.acked_frame, self.session.ready_frame))
        assert len(log) <= 3 * CREDIT + 20

    def teardown(self) -> None:
        """Whatever happened, a client that comes back and acknowledges gets every frame that was ever drawn."""
        self.client_comes()
        for _ in range(4 * BUDGET):
            if not self.session.begun and not self.session.closed:
                self.session.begin()
            if self.session.wants_frame:
                self.order()
            if self.under_way and not self.session.closed:
                self.frame_comes()
            self.client_reads(100)
            self.client_acks(0)
        assert self.client_next == self.session.ready_frame
        assert self.session.closed or self.session.ready_frame == self.asked
        assert len(self.completed) == self.session.usage.turns


TestSessionMachine = SessionMachine.TestCase
TestSessionMachine.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
