"""The turns of a session that are not over: which frames each of them takes, and which state is drawn next.

A turn is in up to three places at once: it is incomplete until its last frame has come back, to be drawn until its last
state was given to the model, and each frame that the model draws is in flight. Turns are drawn in the order they came.
Like the session that owns it, a queue has no I/O and no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from cutscene_server.errors import FieldViolation, InvalidRequest, WrongMoment
from cutscene_server.scheduling import Cadence
from cutscene_server.turns import InFlight, Performed, PlacedTurn, Turn, TurnIds

MAX_WAITING_TURNS = 8
MAX_WAITING_BYTES = 32 << 20  # packed scene states of the turns that wait: one turn as large as a message may always


class TurnQueue:
    """See the module's docstring."""

    def __init__(self, *, turn_count: int = 0, end_frame: int = 0, turn_ids: Iterable[str] = ()) -> None:
        """``turn_count``, ``end_frame``, ``turn_ids``: of a session that was stored, what was taken before."""
        self.in_flight: deque[InFlight] = deque()
        self.cut_asked = False  # whether the next turn that comes starts with a shot change
        self._turn_count = turn_count
        self._end_frame = end_frame  # every frame below it belongs to a turn that was taken
        self._incomplete: deque[Performed] = deque()  # turns whose last frame has not come back, the current one first
        self._to_draw: deque[Performed] = deque()  # of these, the ones with frames not yet given to the model
        self._ids = TurnIds()
        for turn_id in turn_ids:
            self._ids.add(turn_id)
        self._skips: dict[int, int] = {}  # by turn number: states skipped, of which the store does not know yet

    # ---- turns come -------------------------------------------------------------------------------------------------

    def place(self, turn: Turn) -> PlacedTurn:
        """Where a turn would lie if it were taken now. Raises ``InvalidRequest``, ``WrongMoment``; changes nothing."""
        if turn.turn_id in self._ids.known:
            raise InvalidRequest([FieldViolation("turn.turn_id", f"{turn.turn_id!r} was used before in this session")])
        if self.waiting >= MAX_WAITING_TURNS:
            raise WrongMoment("turn", f"{MAX_WAITING_TURNS} turns wait already; send it once one of them has started")
        waiting_bytes = sum(performed.turn.run.byte_size for performed in self._to_draw)
        if waiting_bytes and waiting_bytes + turn.run.byte_size > MAX_WAITING_BYTES:
            raise WrongMoment(
                "turn", f"the turns that wait would hold over {MAX_WAITING_BYTES} bytes; send it once they are drawn"
            )
        return PlacedTurn(turn, self._turn_count, self._end_frame, self.cut_asked)

    def take(self, turn: Turn, received_us: int) -> Performed:
        """Takes a turn in. Raises what ``place`` does."""
        performed = Performed(self.place(turn), received_us)
        self._ids.add(turn.turn_id)
        self._turn_count += 1
        self.cut_asked = False
        self._end_frame = performed.end_frame
        self.take_back(performed)
        return performed

    def take_back(self, performed: Performed) -> None:
        """Takes in a turn that was counted before: one of a restored session."""
        self._incomplete.append(performed)
        self._to_draw.append(performed)

    # ---- frames are drawn -------------------------------------------------------------------------------------------

    @property
    def current(self) -> Performed:
        """The turn that the next frame to draw is of. Ask ``has_frame`` first."""
        return self._to_draw[0]

    @property
    def has_frame(self) -> bool:
        """Whether there is a frame left to be given to the model."""
        return bool(self._to_draw)

    @property
    def waiting(self) -> int:
        """Turns behind the current one."""
        return max(0, len(self._to_draw) - 1)

    @property
    def recent_ids(self) -> list[str]:
        """The ids of the turns that came last."""
        return list(self._ids.order)[-2 * MAX_WAITING_TURNS :]

    def known_us(self, credit_since_us: int) -> int:
        """Since when the next frame could be drawn: it was asked for, and there was credit for it."""
        return max(self._to_draw[0].received_us, credit_since_us)

    def order(self, flight: InFlight) -> None:
        """The current turn's next frame is given to the model."""
        current = self._to_draw[0]
        current.positions.popleft()
        self.in_flight.append(flight)
        if not current.positions:
            self._to_draw.popleft()

    def void_orders(self) -> None:
        """What is in flight will not come back: it is to be given to the model again."""
        while self.in_flight:
            flight = self.in_flight.pop()
            flight.performed.positions.appendleft(flight.position)
        # Whose states were all passed over waits for those before it, and has nothing to be drawn.
        self._to_draw = deque(performed for performed in self._incomplete if performed.positions)

    def over(self, ready_frame: int) -> Iterator[Performed]:
        """Takes out the turns that no frame will come of any more, those below ``ready_frame`` having come back."""
        while self._incomplete:
            performed = self._incomplete[0]
            if performed.positions or performed.end_frame > ready_frame:
                return
            yield self._incomplete.popleft()

    def is_end_of_turn(self, frame_index: int) -> bool:
        """Whether the frame, which is in flight, is its turn's last one."""
        return any(
            flight.frame_index == frame_index and flight.performed.end_frame == frame_index + 1
            for flight in self.in_flight
        )

    def rewind(self, frame: int) -> None:
        """Drops every turn: the next one that comes takes its frames from ``frame`` on."""
        self.clear()
        self._skips.clear()
        self._end_frame = frame
        self.cut_asked = False

    def clear(self) -> None:
        """Drops every turn: nothing more is drawn."""
        self._incomplete.clear()
        self._to_draw.clear()
        self.in_flight.clear()

    # ---- states that are passed over --------------------------------------------------------------------------------

    def skip_overtaken(self, cadence: Cadence, credit_since_us: int, now_us: int) -> int:
        """Passes over the states whose successor's time has come, but never the last one there is. Returns how many.

        A turn of one state takes no time of its own: it stands until another turn comes. So an engine that sends each
        state as it simulates it has the latest one drawn, however its rate and the session's drift apart.
        """
        skipped = 0
        while True:
            performed = self._to_draw[0]
            left, known_us = len(performed.positions), self.known_us(credit_since_us)
            if len(self._to_draw) > 1:
                takes = left if performed.turn.run.frame_count > 1 else 0
                over_us = cadence.release_us(known_us) + takes * cadence.period_us
                if max(over_us, self._to_draw[1].received_us) <= now_us:
                    self._skip(performed, left)
                    skipped += left
                    cadence.skip(known_us, takes)
                    following = self._to_draw[1]
                    following.cut_before |= performed.cut_before and not performed.frame_count
                    self._to_draw.popleft()
                    continue
            overtaken = min(cadence.passed_over(known_us, now_us), left - 1)
            if overtaken:
                self._skip(performed, overtaken)
                skipped += overtaken
                cadence.skip(known_us, overtaken)
            return skipped

    def take_skips(self) -> list[tuple[int, int]]:
        """Turn numbers, rising, and how many of their states were skipped since this was last asked."""
        skips = sorted(self._skips.items())
        self._skips.clear()
        return skips

    def give_back_skips(self, skips: Sequence[tuple[int, int]]) -> None:
        """They were not stored: whoever takes skips next gets them as well."""
        for number, states in skips:
            self._skips[number] = self._skips.get(number, 0) + states

    def _skip(self, performed: Performed, states: int) -> None:
        """These next states of a turn get no frame; the frames of all that comes after it come so much earlier."""
        for _ in range(states):
            performed.positions.popleft()
        performed.skipped += states
        self._skips[performed.number] = self._skips.get(performed.number, 0) + states
        self._end_frame -= states
        for later in list(self._incomplete)[self._incomplete.index(performed) + 1 :]:
            later.first_frame -= states
