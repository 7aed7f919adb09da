"""A session's states and events, and every legal edge between them."""

from __future__ import annotations

from enum import Enum


class State(Enum):
    OPENING = "opening"  # the model computes the anchors, and remembers the past; turns may come already
    IDLE = "idle"  # nothing to draw
    PERFORMING = "performing"  # turns to draw
    ENDING = "ending"  # the client asked to close: what came before is drawn, nothing more is taken
    CLOSED = "closed"  # over; what was drawn can still be fetched
    LEFT = "left"  # not in memory any more; what is stored of it goes on as another one


class Event(Enum):
    BEGIN = "begin"  # the anchors are ready
    TURN = "turn"  # the client sent a turn
    START = "start"  # turns that came during opening are taken up
    CUT = "cut"  # the client sent a cut
    ACK = "ack"  # the client acknowledged frames
    DRAW = "draw"  # a frame is given to the model
    FRAME = "frame"  # a frame came back
    RUN_OUT = "run out"  # the last frame of the last turn came back
    CLOSE = "close"  # the client asks to close, once the turns before are drawn
    END = "end"  # somebody who holds the token ends it now
    EXHAUST = "exhaust"  # the frame budget is used up and more is wanted
    LOSE = "lose"  # the inference process ended with what it remembered; another one is to take up the session
    REWIND = "rewind"  # the client goes back to an earlier frame
    FAIL = "fail"  # the model or its process failed
    LEAVE = "leave"  # something could not be stored, or read: it leaves memory, and is what it is on disk


EDGES: dict[State, dict[Event, State]] = {
    State.OPENING: {
        Event.BEGIN: State.IDLE,
        Event.TURN: State.OPENING,
        Event.CUT: State.OPENING,
        Event.ACK: State.OPENING,
        Event.LOSE: State.OPENING,
        Event.REWIND: State.OPENING,
        Event.CLOSE: State.ENDING,
        Event.END: State.CLOSED,
        Event.FAIL: State.CLOSED,
        Event.LEAVE: State.LEFT,
    },
    State.IDLE: {
        Event.TURN: State.PERFORMING,
        Event.START: State.PERFORMING,
        Event.CUT: State.IDLE,
        Event.ACK: State.IDLE,
        Event.LOSE: State.OPENING,
        Event.REWIND: State.OPENING,
        Event.CLOSE: State.ENDING,
        Event.END: State.CLOSED,
        Event.FAIL: State.CLOSED,
        Event.LEAVE: State.LEFT,
    },
    State.PERFORMING: {
        Event.TURN: State.PERFORMING,
        Event.CUT: State.PERFORMING,
        Event.ACK: State.PERFORMING,
        Event.DRAW: State.PERFORMING,
        Event.FRAME: State.PERFORMING,
        Event.RUN_OUT: State.IDLE,
        Event.LOSE: State.OPENING,
        Event.REWIND: State.OPENING,
        Event.CLOSE: State.ENDING,
        Event.END: State.CLOSED,
        Event.EXHAUST: State.CLOSED,
        Event.FAIL: State.CLOSED,
        Event.LEAVE: State.LEFT,
    },
    State.ENDING: {
        Event.BEGIN: State.ENDING,
        Event.ACK: State.ENDING,
        Event.DRAW: State.ENDING,
        Event.FRAME: State.ENDING,
        Event.RUN_OUT: State.CLOSED,
        Event.LOSE: State.ENDING,
        Event.END: State.CLOSED,
        Event.EXHAUST: State.CLOSED,
        Event.FAIL: State.CLOSED,
        Event.LEAVE: State.LEFT,
    },
    # Frames of a closed session that its client has not seen can still be fetched, from disk if need be.
    State.CLOSED: {
        Event.BEGIN: State.CLOSED,
        Event.ACK: State.CLOSED,
        Event.DRAW: State.CLOSED,
        Event.FRAME: State.CLOSED,
        Event.LOSE: State.CLOSED,
        Event.LEAVE: State.LEFT,
    },
    State.LEFT: {},
}
"""Every legal edge. An event that is not listed for a state is refused with ``IllegalEvent`` and changes nothing."""


IN_MEMORY = [state for state in State if state is not State.LEFT]
"""What a session may be while it can be found."""


class CloseReason(Enum):
    """Why a session is closed. The values are those of the proto enum."""

    CLIENT = 1
    FRAME_BUDGET = 2
    IDLE = 3
    ERROR = 4


REASON_OF: dict[Event, CloseReason] = {
    Event.RUN_OUT: CloseReason.CLIENT,
    Event.END: CloseReason.CLIENT,
    Event.EXHAUST: CloseReason.FRAME_BUDGET,
    Event.FAIL: CloseReason.ERROR,
}
"""Why a session is closed when this event closed it."""
