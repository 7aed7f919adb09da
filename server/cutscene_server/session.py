"""One session as a table of states and events, with no I/O in it.

The session numbers frames, counts credit and keeps what is not yet acknowledged; its ``TurnQueue`` has the turns that
are not over. Whoever owns it tells it what happened (a turn came, a frame was drawn, a client left) and asks it what to
do next: which frame to draw, which entries to deliver. It never waits, never reads a clock and never imports a
transport: times are given to it.

A session that keeps a cadence has a clock of its own (``scheduling.Cadence``). With pacing "lockstep" every state is
drawn; with "live" the latest one whose time has come, and those before it that were not drawn are skipped, counted, and
take no frame: frames are numbered without gaps, and a turn that lost states has fewer.

Whether a client is attached is a second question, independent of the state: a session goes on drawing for a client
that is away until its credit is used up, and what it drew stays in ``log`` until it is acknowledged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cutscene_server.errors import IllegalEvent, OutOfRange
from cutscene_server.scheduling import Cadence, Evenness, Rank, Wish
from cutscene_server.session_log import DrawnFigures, FrameReady, Rewound, SessionLog, TurnCompleted, TurnStarted
from cutscene_server.session_states import EDGES, REASON_OF, CloseReason, Event, State
from cutscene_server.terms import Pacing, Terms
from cutscene_server.turn_queue import TurnQueue
from cutscene_server.turns import DrawOrder, InFlight, Performed, PlacedTurn, Turn, Usage


class Session:
    """One performance: see the module's docstring."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.state = State.OPENING
        self.begun = False  # whether the anchors are ready
        self.epoch = 0  # of the timeline: how often the client went back
        self.generation = 0  # of the orders given to the model
        self.close_reason: CloseReason | None = None
        self.usage = Usage()
        self.tier = terms.tier  # that frames are drawn at now
        self.has_place = False  # whether the session's cadence is promised
        self.cadence = Cadence(terms.fps, terms.latency_us) if terms.paced else None
        self._evenness: Evenness | None = None
        if self.cadence is not None and terms.pacing is Pacing.LOCKSTEP:
            self._evenness = Evenness(self.cadence.period_us, terms.latency_us)
        self.log = SessionLog()
        self.attachment: int | None = None  # which attachment is the current one; None: no client
        self.ready_frame = 0  # every frame below it was drawn and is, or was, in the log
        self.acked_frame = 0  # every frame below it is acknowledged and forgotten
        self.durable_frame = 0  # every frame below it is stored: it is shown again rather than drawn
        self._ordered_frame = 0  # every frame below it was given to the model
        self._turns = TurnQueue()
        self._stored_turns: tuple[PlacedTurn, ...] | None = None  # of a restored session that nobody has come back to
        self._attachments = 0
        self._credit_since_us = 0
        self._last_finished_us = 0
        self._throttle_noticed = False
        self._tier_noticed = terms.tier

    @classmethod
    def restored(
        cls,
        terms: Terms,
        *,
        epoch: int,
        first_frame: int,
        durable_frame: int,
        turns: Sequence[PlacedTurn],
        turn_count: int,
        turn_ids: Iterable[str],
        usage: Usage,
        close_reason: CloseReason | None = None,
    ) -> Session:
        """A session as it was stored, with its frames from ``first_frame`` on and the ``turns`` that they belong to.

        Whoever attaches to it says which frame it wants next: from there on stored frames are shown, then the rest of
        the turns is drawn.
        """
        session = cls(terms)
        session.epoch, session.usage = epoch, usage
        session.acked_frame = first_frame
        session.durable_frame = session.ready_frame = session._ordered_frame = durable_frame
        session._stored_turns = tuple(turns)
        end_frame = max([durable_frame, *(placed.end_frame for placed in turns)])
        session._turns = TurnQueue(turn_count=turn_count, end_frame=end_frame, turn_ids=turn_ids)
        if close_reason is not None:
            session.state, session.close_reason = State.CLOSED, close_reason
        return session

    # ---- what the client says ---------------------------------------------------------------------------------------

    def place_turn(self, turn: Turn) -> PlacedTurn:
        """Where a turn would lie if it were added now. Raises what ``add_turn`` would; changes nothing."""
        self._require(Event.TURN, "turn")
        return self._turns.place(turn)

    def add_turn(self, turn: Turn, now_us: int) -> None:
        """Queues a turn and writes its receipt. Turns are drawn in the order they came."""
        self._require(Event.TURN, "turn")
        self._say_started(self._turns.take(turn, now_us))
        self._step(Event.TURN)
        self._settle()

    def cut(self) -> None:
        """The next turn that comes starts with a shot change."""
        self._require(Event.CUT, "cut")
        self._turns.cut_asked = True
        self._step(Event.CUT)

    def acknowledge(self, next_frame: int, now_us: int) -> None:
        """Every frame below ``next_frame`` was received: forgets it, and may draw further."""
        self._require(Event.ACK, "ack")
        self._check_position("ack.next_frame", next_frame)
        if self._credit_left == 0 and next_frame > self.acked_frame:
            self._credit_since_us = now_us
        self.acked_frame = next_frame
        self.log.forget_below(next_frame)
        if 2 * (self._ordered_frame - self.acked_frame) <= self.terms.frame_credit:
            self._throttle_noticed = False
        self._step(Event.ACK)

    def close(self) -> None:
        """No more turns come: closes once those before are drawn."""
        self._require(Event.CLOSE, "close")
        self._step(Event.CLOSE)
        self._settle()

    def attach(self, next_frame: int, now_us: int) -> int:
        """A client comes, having received every frame below ``next_frame``. Returns the number of its attachment,
        which replaces the one before. Legal in every state: a closed session's last frames can still be fetched.
        """
        self._check_position("resume.next_frame", next_frame)
        if self._stored_turns is not None:
            self._take_up(self._stored_turns, next_frame, now_us)
        self.acknowledge(next_frame, now_us)
        self._attachments += 1
        self.attachment = self._attachments
        return self.attachment

    def rewind(self, frame: int) -> Rewound:
        """Goes back to where ``frame`` is drawn next, in a new epoch. Turns that wait are dropped, as is what was drawn
        from there on. Returns what to ``announce`` once that is durable.
        """
        self._require(Event.REWIND, "rewind")
        if frame > self.ready_frame:
            raise OutOfRange("rewind.frame", f"found {frame}, but only frames below {self.ready_frame} have been drawn")
        self._void_orders()
        self._turns.rewind(frame)
        self.epoch += 1
        self.log.forget_from(frame)
        self.durable_frame = self.ready_frame = self._ordered_frame = frame
        self.acked_frame = min(self.acked_frame, frame)
        self._step(Event.REWIND)
        return Rewound(self.epoch, frame)

    def announce(self, rewound: Rewound) -> None:
        """Tells the client that going back is done."""
        self.log.append(rewound.next_frame, rewound)

    def detach(self, attachment: int) -> None:
        """A client left. Does nothing if another one has replaced it."""
        if self.attachment == attachment:
            self.attachment = None

    def end(self) -> None:
        """Ends the session now, whatever waits to be drawn."""
        self._require(Event.END, "session")
        self._step(Event.END)

    # ---- what the server says ---------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The anchors are ready."""
        self._require(Event.BEGIN, "session")
        self.begun = True
        self._step(Event.BEGIN)
        if self._turns.has_frame and self.state is State.IDLE:
            self._step(Event.START)
        self._settle()

    def wish(self, cost_us: int) -> Wish | None:
        """What the session asks of the scheduler, given what a frame of its takes; None: nothing now."""
        if not self.wants_frame:
            return None
        if self.terms.background:
            return Wish(Rank.BACKGROUND, cost_us=cost_us)
        if self.cadence is None or self._ordered_frame < self.durable_frame:  # what was drawn before comes at once
            return Wish(Rank.UNPACED, cost_us=cost_us)
        rank = Rank.PACED if self.has_place else Rank.UNPACED
        known_us = self._known_us
        return Wish(rank, self.cadence.release_us(known_us), self.cadence.due_us(known_us), cost_us)

    def take_order(self, now_us: int) -> DrawOrder:
        """The next frame to draw. Ask ``wants_frame`` first."""
        self._require(Event.DRAW, "session")
        if not self.wants_frame:
            raise IllegalEvent("session", "there is no frame to draw now")
        stored = self._ordered_frame < self.durable_frame
        skipped, due_us, wanted_us = 0, None, self._known_us
        if self.cadence is not None and not stored:
            if self.terms.pacing is Pacing.LIVE:
                skipped = self._turns.skip_overtaken(self.cadence, self._credit_since_us, now_us)
                self.usage.states_skipped += skipped
                self._complete_turns(now_us, counted=True)
            wanted_us = self.cadence.release_us(self._known_us)
            if self.has_place:
                due_us = self.cadence.due_us(self._known_us)
            self.cadence.take(self._known_us, now_us)
        performed = self._turns.current
        position = performed.positions[0]
        order = DrawOrder(
            frame_index=self._ordered_frame,
            generation=self.generation,
            turn_number=performed.number,
            stored=stored,
            packed_state=b"" if stored else performed.turn.run.packed_state(position),
            tier=self.tier,
            cut_before=performed.cut_before and self._ordered_frame == performed.first_frame,
            paced=due_us is not None,
            turn_id=performed.turn.turn_id,
        )
        self._turns.order(InFlight(order.frame_index, performed, position, wanted_us, due_us, skipped))
        self._ordered_frame += 1
        self._step(Event.DRAW)
        return order

    def add_frame(
        self, figures: DrawnFigures, data: bytes, pixel_digest: bytes, encode_us: int, now_us: int
    ) -> FrameReady:
        """A frame came back and is encoded: it goes to the log, and its turn is completed if it was the last one."""
        self._require(Event.FRAME, "session")
        in_flight = self._turns.in_flight
        if not in_flight or in_flight[0].frame_index != figures.frame_index:
            raise IllegalEvent("session", f"frame {figures.frame_index} came back out of order")
        flight = in_flight.popleft()
        performed = flight.performed
        wanted_us = max(flight.wanted_us, self._last_finished_us)
        missed = flight.due_us is not None and now_us > flight.due_us
        send_us = now_us
        if self._evenness is not None and flight.due_us is not None:
            send_us = self._evenness.send_us(flight.wanted_us, now_us)
        frame = FrameReady(
            turn_id=performed.turn.turn_id,
            presentation_time_us=round(figures.frame_index * 1e6 / self.terms.fps),
            codec=self.terms.codec,
            data=data,
            pixel_digest=pixel_digest,
            queued_us=max(0, figures.started_us - wanted_us),
            encode_us=encode_us,
            ready_us=now_us,
            send_us=send_us,
            figures=figures,
            states_skipped=flight.skipped,
            late=missed,
        )
        self.log.append(figures.frame_index, frame)
        self._last_finished_us = figures.finished_us
        self.ready_frame = figures.frame_index + 1
        new = self.ready_frame > self.durable_frame  # else it was shown again, and has been counted
        if new:
            self.durable_frame = self.ready_frame
            self.usage.frames += 1
        self.usage.compute_us += figures.compute_us
        self.usage.deadline_misses += missed
        performed.misses += missed
        performed.blocks_reused += figures.blocks_reused
        performed.blocks_computed += figures.blocks_computed
        if figures.frame_index == performed.first_frame:
            performed.first_frame_us = now_us - performed.received_us
        self._complete_turns(now_us, counted=new)
        self._step(Event.FRAME)
        self._settle()
        return frame

    def lose(self) -> None:
        """The inference process is gone: what it was drawing is to be drawn again, once the session has begun anew."""
        self._require(Event.LOSE, "session")
        self._void_orders()
        self._step(Event.LOSE)

    def fail(self) -> None:
        """The model, or its process, failed."""
        self._require(Event.FAIL, "session")
        self._step(Event.FAIL)

    def leave(self) -> None:
        """What is on disk is not what is here, or cannot be had now: nothing more happens to it. What is stored goes on
        as a session of its own once somebody comes back: what was not drawn is there, and so is what was passed over
        in vain.
        """
        self._require(Event.LEAVE, "session")
        self._void_orders()
        self._turns.clear()
        self._step(Event.LEAVE)

    def take_throttle_notice(self) -> bool:
        """Whether the client should be told that drawing waits for its acks. True once for each stall; a stall is over
        when half of the credit is back, so that a client that plays at its own pace is not told at every frame.
        """
        if self._throttle_noticed or not self.throttled:
            return False
        self._throttle_noticed = True
        return True

    def set_tier(self, tier: str) -> None:
        """Frames ordered from now on are drawn at this tier."""
        self.tier = tier

    def take_skips(self) -> list[tuple[int, int]]:
        """Turn numbers, and how many of their states were skipped since this was last asked: what is to be stored."""
        return self._turns.take_skips()

    def give_back_skips(self, skips: Sequence[tuple[int, int]]) -> None:
        """They could not be stored, and are to be."""
        self._turns.give_back_skips(skips)

    def take_tier_notice(self) -> str | None:
        """The tier that the client is to be told frames are drawn at now; None: it knows."""
        if self._tier_noticed == self.tier:
            return None
        self._tier_noticed = self.tier
        return self.tier

    # ---- what can be asked ------------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        return self.state is State.CLOSED

    @property
    def left(self) -> bool:
        return self.state is State.LEFT

    @property
    def recent_turn_ids(self) -> list[str]:
        """The ids of the turns that came last: what a client that lost its connection need not send again."""
        return self._turns.recent_ids

    @property
    def wants_frame(self) -> bool:
        """Whether a frame may be given to the model now."""
        return self._has_frame_to_draw and self._credit_left > 0

    def is_pressed(self, ready_us: int) -> bool:
        """Whether the next frame, ready then, would be later than promised."""
        return (
            self.cadence is not None and self.has_place and self._ordered_frame >= self.durable_frame
            and self._has_frame_to_draw and ready_us > self.cadence.due_us(self._known_us)
        )  # fmt: skip

    @property
    def throttled(self) -> bool:
        """Whether drawing stands still, and nothing but missing acks keeps it from going on."""
        return self._has_frame_to_draw and self._credit_left == 0 and not self._turns.in_flight

    @property
    def in_flight(self) -> int:
        """How many frames the model is drawing for this session."""
        return len(self._turns.in_flight)

    def is_end_of_turn(self, frame_index: int) -> bool:
        """Whether the frame, which is being drawn, is its turn's last one."""
        return self._turns.is_end_of_turn(frame_index)

    @property
    def turns_waiting(self) -> int:
        """Turns behind the current one."""
        return self._turns.waiting

    @property
    def has_work(self) -> bool:
        """Whether frames will still come without another word from the client, credit allowing."""
        return self._turns.has_frame or bool(self._turns.in_flight)

    # ---- inside -----------------------------------------------------------------------------------------------------

    @property
    def _has_frame_to_draw(self) -> bool:
        within_budget = self._ordered_frame < self.terms.frame_budget
        return self.begun and self._turns.has_frame and within_budget

    @property
    def _credit_left(self) -> int:
        return max(0, self.terms.frame_credit - (self._ordered_frame - self.acked_frame))

    def _say_started(self, performed: Performed) -> None:
        self.log.append(
            max(performed.first_frame, self.acked_frame),
            TurnStarted(performed.turn.turn_id, performed.first_frame, performed.frame_count),
        )

    def _take_up(self, turns: Sequence[PlacedTurn], next_frame: int, now_us: int) -> None:
        """Puts a restored session to where its client is."""
        self._stored_turns = None
        self.ready_frame = self._ordered_frame = self.acked_frame = next_frame
        for placed in turns:
            if placed.end_frame > next_frame:
                performed = Performed(placed, now_us, drawn=max(0, next_frame - placed.first_frame))
                self._turns.take_back(performed)
                self._say_started(performed)
            elif placed.end_frame == next_frame:  # whether its end was heard is not known; what it took is forgotten
                turn_id, frames = placed.turn.turn_id, placed.frame_count
                self.log.append(next_frame, TurnStarted(turn_id, placed.first_frame, frames))
                self.log.append(next_frame, TurnCompleted(turn_id, placed.first_frame, frames, 0, 0, 0, 0))

    def _void_orders(self) -> None:
        """What the model is drawing will not be taken: it is to be ordered again of a timeline that begins anew."""
        self.generation += 1
        self.begun = False
        self._turns.void_orders()
        self._ordered_frame = self.ready_frame

    def _complete_turns(self, now_us: int, *, counted: bool) -> None:
        """Completes the turns that no frame will come of any more."""
        for performed in self._turns.over(self.ready_frame):
            self.usage.turns += counted
            self._complete(performed, now_us)

    def _complete(self, performed: Performed, now_us: int) -> None:
        self.log.append(
            performed.end_frame,
            TurnCompleted(
                turn_id=performed.turn.turn_id,
                first_frame=performed.first_frame,
                frame_count=performed.frame_count,
                first_frame_us=performed.first_frame_us,
                total_us=now_us - performed.received_us,
                blocks_reused=performed.blocks_reused,
                blocks_computed=performed.blocks_computed,
                states_skipped=performed.skipped,
                deadline_misses=performed.misses,
            ),
        )

    @property
    def _known_us(self) -> int:
        return self._turns.known_us(self._credit_since_us)

    def _check_position(self, name: str, next_frame: int) -> None:
        if next_frame < self.acked_frame:
            raise OutOfRange(
                name, f"found {next_frame}, but frames below {self.acked_frame} were acknowledged and are forgotten"
            )
        if next_frame > self.ready_frame:
            raise OutOfRange(name, f"found {next_frame}, but only frames below {self.ready_frame} have been drawn")

    def _settle(self) -> None:
        """Takes the edges that follow from there being nothing left to draw, or nothing left to draw it with."""
        if self._turns.in_flight or not self.begun or self.state not in (State.PERFORMING, State.ENDING):
            return
        if not self._turns.has_frame:
            self._step(Event.RUN_OUT)
        elif self._ordered_frame >= self.terms.frame_budget:
            self._step(Event.EXHAUST)

    def _require(self, event: Event, name: str) -> None:
        if event not in EDGES[self.state]:
            raise IllegalEvent(name, f"{event.value} is not possible while the session is {self.state.value}")

    def _step(self, event: Event) -> None:
        self._require(event, "session")
        self.state = EDGES[self.state][event]
        if self.state is State.CLOSED and self.close_reason is None:
            self.close_reason = REASON_OF[event]
            self._turns.clear()
