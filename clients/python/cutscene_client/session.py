"""One live performance: turns go in, frames come out, acknowledgements and the end of the stream are taken care of.

One task reads the stream all the time, so that what the server says last (a notice, a refusal) is known even if a write
fails first, and so that cancelling a wait for a frame does not cancel the call. What it holds is bounded by the credit:
the server sends no frame beyond it.

A frame counts as consumed when the caller asks for the next one. Consumed frames are acknowledged in small batches, so
that the server may forget them and draw further; frames received but not yet acknowledged are the server's to keep.

A stream that breaks is resumed by itself, with growing pauses, for as long as ``patience`` allows: the caller's loop
goes on with the next frame. So is one that the server ended for want of room, its disk being full, after the time that
it says. What the server had not taken is sent again; it says itself which turns it has.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self, cast

import grpc

from cutscene_client.errors import (
    ConnectionLost,
    CutsceneError,
    FieldViolation,
    InvalidRequest,
    ResourceExhausted,
    ServerGoingAway,
    ServerUnreachable,
    SessionClosed,
    SessionReplaced,
    TurnRejected,
    is_transport_failure,
    refusal,
)
from cutscene_client.frames import PACINGS, TIER_NAMES, Frame, TurnFigures, Usage, read_frame, read_usage
from cutscene_proto.v1 import cutscene_pb2 as pb

Call = grpc.aio.StreamStreamCall[pb.PerformRequest, pb.PerformResponse]

CUT = pb.Cut()
"""A shot change, as a step of ``Session.play``."""

Step = pb.Turn | pb.Cut

MOST_WAITING_TURNS = 8  # cutscene.proto, Turn: "at most 8 may wait"


# What grpc.aio says of a write to a stream that the other side has ended; the true status is lost then.
LOST_STATUS = "Internal error from Core"
PATIENCE_S = 60.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 3.0  # between attempts to resume
LAST_WORDS_S = 2.0  # how long after a failed write the end of the stream is waited for


@dataclass(frozen=True, slots=True)
class _Ended:
    """The stream is over; the error it ended with, if it was not in order."""

    error: grpc.aio.AioRpcError | None


class ProtocolViolation(CutsceneError):
    """The server said something that the contract does not allow here."""


class Session:
    """One session on one stream. Made by ``Client.open`` and ``Client.resume``; used by one task at a time."""

    def __init__(
        self,
        call: Call,
        opened: pb.Opened,
        token: str,
        look_up: Callable[[str, str], Awaitable[pb.Session]],
        reconnect: Callable[[pb.Resume], Awaitable[tuple[Call, pb.Opened]]],
        patience: float,
    ) -> None:
        self._call = call
        self._look_up = look_up
        self._reconnect = reconnect
        self.patience = patience  # seconds that a broken stream is tried to be resumed for; 0: not at all
        self.resumed = 0  # how often it was
        self.id = opened.session_id
        self.token = token
        self.watch_token = opened.watch_token  # for those who may only look; known to who opened the session
        self.model = opened.model
        self.model_digest = opened.model_digest
        self.video = opened.video
        self.fps = opened.fps
        self.seed = opened.seed
        self.tier = TIER_NAMES.get(opened.tier, "standard")
        self.pacing = next((name for name, value in PACINGS.items() if value == opened.pacing), "")
        self.latency = opened.latency_us / 1e6  # seconds, and a frame time, that a paced frame may take
        self.frame_credit = opened.frame_credit
        self.epoch = opened.epoch  # how often the session was rewound
        self.next_frame = opened.next_frame  # the next frame that this stream will carry
        self.turn_figures: TurnFigures | None = None  # of the turn that was completed last
        self.states_skipped = 0  # of the turns that were completed on this stream; with pacing "live"
        self.deadline_misses = 0  # likewise; with any pacing
        self.usage: Usage | None = None  # known once the session has closed
        self.notices: deque[str] = deque(maxlen=16)
        # An eighth of the credit keeps the server drawing without a write a frame; the turn's end flushes the rest.
        self._ack_every = max(1, opened.frame_credit // 8)
        self._acked = opened.next_frame
        self._turn_prefix = secrets.token_hex(3)  # turn ids stay unique when several clients resume one session
        self._turns_sent = 0
        self._outstanding: set[str] = set()
        self._unheard: deque[pb.PerformRequest] = deque()  # sent, and not known to be taken, in order
        self._rewinding: pb.PerformRequest | None = None
        self._closing = False
        self._give_up_at: float | None = None  # of the loop's time, while a broken stream is tried to be resumed
        self._pause_s = 0.0  # before the next attempt
        self._left = False
        self._rejected: dict[str, TurnRejected] = {}
        self._writing = asyncio.Lock()
        self._going_away = False
        self._replaced = False
        self._closed_reason = ""
        self._inbox: asyncio.Queue[pb.PerformResponse | _Ended] = asyncio.Queue()
        self._ended: _Ended | None = None
        self._reader = asyncio.create_task(self._read_all(), name=f"session {self.id}")

    # ---- performing -------------------------------------------------------------------------------------------------

    async def perform(self, turn: pb.Turn) -> AsyncIterator[Frame]:
        """Sends one turn and yields its frames as they come. Leaving the loop early discards the turn's other frames.

        Raises ``TurnRejected`` if the server does not take the turn, ``ConnectionLost`` if the stream breaks.
        """
        async for frame in self.play([turn]):
            yield frame

    async def play(self, steps: Iterable[Step], *, ahead: int = 2) -> AsyncIterator[Frame]:
        """Sends turns and cuts in order and yields all their frames.

        ``ahead`` turns are kept with the server, so that it starts the next one without waiting for this client.
        """
        if not 1 <= ahead <= MOST_WAITING_TURNS:
            raise ValueError(f"ahead is {ahead}, allowed are 1 to {MOST_WAITING_TURNS}")
        remaining = iter(steps)
        sent: deque[str] = deque()
        exhausted = False
        while True:
            while not exhausted and len(sent) < ahead:
                step = next(remaining, None)
                if step is None:
                    exhausted = True
                elif isinstance(step, pb.Turn):
                    sent.append(await self._send_turn(step))
                else:
                    await self.cut()
            if not sent:
                return
            async for frame in self._frames_of(sent[0]):
                yield frame
            sent.popleft()

    async def remaining(self) -> AsyncIterator[Frame]:
        """After a resume: yields the frames of every turn that the server already has, then ends."""
        while True:
            known = await self._look_up(self.id, self.token)
            drawn = known.next_frame
            while self.next_frame < drawn:
                response = await self._read()
                if response.WhichOneof("response") == "frame":
                    yield self._take(response.frame)
                    await self._acknowledge()
                else:
                    self._note(response)
            await self._acknowledge(flush=True)
            if known.status != pb.SESSION_STATUS_PERFORMING and not known.turns_waiting:
                return
            # Still drawing: wait for at least one more frame, so that this does not spin on look-ups.
            async for frame in self._next_frame_only():
                yield frame

    async def cut(self) -> None:
        """A shot change: the frame after it does not look like the one before it."""
        await self._write_step(pb.PerformRequest(cut=CUT))

    async def rewind(self, frame: int) -> None:
        """Goes back: the next frame is ``frame``, in a new epoch. Turns that wait and frames not yet read are dropped.

        Raises ``TurnRejected`` if the frame has not been drawn yet; the session is then where it was.
        """
        self._rewinding = pb.PerformRequest(rewind=pb.Rewind(frame=frame))
        try:
            await self._write(self._rewinding)
            while (response := await self._read()).WhichOneof("response") != "rewound":
                if response.WhichOneof("response") == "frame":
                    continue
                self._note(response)
        finally:
            self._rewinding = None
        self.epoch = response.rewound.epoch
        self.next_frame = self._acked = response.rewound.next_frame
        self._outstanding.clear()
        self._rejected.clear()
        self._unheard.clear()

    async def _send_turn(self, turn: pb.Turn) -> str:
        if not turn.turn_id:
            named = pb.Turn()
            named.CopyFrom(turn)
            named.turn_id = f"turn-{self._turns_sent}-{self._turn_prefix}"
            turn = named
        self._turns_sent += 1
        self._outstanding.add(turn.turn_id)
        await self._write_step(pb.PerformRequest(turn=turn))
        return turn.turn_id

    async def _frames_of(self, turn_id: str) -> AsyncIterator[Frame]:
        while True:
            if turn_id in self._rejected:
                self._outstanding.discard(turn_id)
                raise self._rejected.pop(turn_id)
            response = await self._read()
            kind = response.WhichOneof("response")
            if kind == "frame":
                frame = self._take(response.frame)
                if frame.turn_id == turn_id:  # else it is left over from a turn whose loop was left early
                    yield frame
                await self._acknowledge()
                continue
            self._note(response)
            if kind == "turn_completed" and response.turn_completed.turn_id == turn_id:
                await self._acknowledge(flush=True)
                return

    async def _next_frame_only(self) -> AsyncIterator[Frame]:
        while True:
            response = await self._read()
            kind = response.WhichOneof("response")
            if kind == "frame":
                yield self._take(response.frame)
                await self._acknowledge()
                return
            self._note(response)
            if kind == "turn_completed":
                return

    def _take(self, message: pb.Frame) -> Frame:
        if message.frame_index != self.next_frame:
            raise ProtocolViolation(f"frame {message.frame_index} came where {self.next_frame} was due")
        self.next_frame += 1
        return read_frame(message, self.video)

    def _note(self, response: pb.PerformResponse) -> None:
        """Takes in everything that is not a frame. Raises if it ends the session."""
        match response.WhichOneof("response"):
            case "turn_completed":
                done = response.turn_completed
                self._outstanding.discard(done.turn_id)
                self.turn_figures = TurnFigures(
                    done.turn_id, done.first_frame, done.frame_count, done.first_frame_us, done.total_us,
                    done.blocks_reused, done.blocks_computed, done.states_skipped, done.deadline_misses,
                )  # fmt: skip
                self.states_skipped += done.states_skipped
                self.deadline_misses += done.deadline_misses
            case "rejected":
                violations = [FieldViolation(v.field, v.description) for v in response.rejected.violations]
                retry_ms = response.rejected.retry_after_ms
                rejected = TurnRejected(response.rejected.turn_id, violations, retry_ms / 1000 if retry_ms else None)
                self._forget_sent({response.rejected.turn_id})
                if response.rejected.turn_id not in self._outstanding:
                    raise rejected
                self._rejected[response.rejected.turn_id] = rejected
            case "notice":
                self.notices.append(response.notice.text)
                if response.notice.kind == pb.NOTICE_KIND_TIER_CHANGED:
                    self.tier = TIER_NAMES.get(response.notice.tier, self.tier)
                self._going_away |= response.notice.kind == pb.NOTICE_KIND_GOING_AWAY
                self._replaced |= response.notice.kind == pb.NOTICE_KIND_REPLACED
            case "closed":
                self.usage = read_usage(response.closed.usage)
                reason = pb.CloseReason.Name(response.closed.reason).removeprefix("CLOSE_REASON_").lower()
                self._closed_reason = reason
                raise SessionClosed(f"session {self.id} has ended: {reason}", reason)
            case "turn_started":
                self._forget_sent({response.turn_started.turn_id})
            case other:
                raise ProtocolViolation(f"{other} came in the middle of a session")

    # ---- ending -----------------------------------------------------------------------------------------------------

    async def close(self) -> Usage:
        """Ends the session once the turns already sent are drawn; their unread frames are dropped. Safe to repeat."""
        if self.usage is None and not self._closing:
            self._closing = True
            await self._write(pb.PerformRequest(close=pb.Close()))
        while self.usage is None:
            response = await self._read()
            if response.WhichOneof("response") == "frame":
                self._take(response.frame)
                await self._acknowledge()
                continue
            with contextlib.suppress(SessionClosed, TurnRejected):
                self._note(response)
        self._left = True
        self._call.cancel()
        return self.usage

    def detach(self) -> None:
        """Leaves the stream without ending the session: ``Client.resume`` continues it."""
        self._left = True
        self._call.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self.close()
        elif isinstance(error, (ConnectionLost, ServerGoingAway, SessionReplaced, SessionClosed)):
            self.detach()
        else:  # the caller's own error goes on; the session is not left behind if that can be helped
            with contextlib.suppress(CutsceneError):
                await self.close()

    # ---- the stream -------------------------------------------------------------------------------------------------

    async def _acknowledge(self, *, flush: bool = False) -> None:
        due = self.next_frame - self._acked
        if due >= self._ack_every or (flush and due):
            self._acked = self.next_frame
            await self._write(pb.PerformRequest(ack=pb.Ack(next_frame=self.next_frame)))

    async def _write(self, request: pb.PerformRequest) -> None:
        if self.usage is not None:
            raise SessionClosed(f"session {self.id} has ended: {self._closed_reason}", self._closed_reason)
        if await self._send(request):
            return
        # The stream is over. What it still holds says why (a typed refusal, a notice), so read that first.
        await asyncio.wait([self._reader], timeout=LAST_WORDS_S)
        while self._ended is None and not self._inbox.empty():
            item = self._inbox.get_nowait()
            if isinstance(item, _Ended):
                self._ended = item
            elif item.WhichOneof("response") != "frame":  # a frame comes again
                self._note(item)
        await self._resume(self._end(None if self._ended is None else self._ended.error))

    async def _send(self, request: pb.PerformRequest) -> bool:
        """Whether it could be handed to the stream; else that is over."""
        try:
            async with self._writing:
                await self._call.write(request)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return False
        return True

    async def _write_step(self, request: pb.PerformRequest) -> None:
        """Sends a turn or a cut, and keeps it until it is known to be taken."""
        self._unheard.append(request)
        await self._write(request)

    def _forget_sent(self, turn_ids: set[str]) -> None:
        """Forgets the last of these turns and whatever was sent before it: the server has taken, or refused, it all."""
        places = [place for place, request in enumerate(self._unheard) if request.turn.turn_id in turn_ids]
        for _ in range(places[-1] + 1 if places else 0):
            self._unheard.popleft()

    async def _resume(self, cause: CutsceneError) -> None:
        """Finds the session again after its stream broke. Raises ``cause`` if that is not to be.

        Streams that break before they brought the session on count as one break: pauses grow, and patience ends.
        """
        after_s = _retry_after_s(cause)
        if self._left or self.patience <= 0 or after_s is None:
            raise cause
        loop = asyncio.get_running_loop()
        if self._give_up_at is None:
            self._give_up_at, self._pause_s = loop.time() + self.patience, 0.0
        failed: CutsceneError | None = None
        while True:
            if self._pause_s or after_s:
                if loop.time() + after_s + self._pause_s > self._give_up_at:
                    raise cause from failed
                # Jitter: the clients of a server that comes back do not all come at once.
                await asyncio.sleep(after_s + self._pause_s * random.uniform(0.5, 1.0))
            self._pause_s = min(2 * self._pause_s or FIRST_PAUSE_S, LONGEST_PAUSE_S)
            try:
                return await self._take_up()
            except (ServerUnreachable, ConnectionLost, ResourceExhausted) as error:
                failed, after_s = error, _retry_after_s(error)
                if after_s is None:
                    raise

    async def _take_up(self) -> None:
        """Takes the session up on a new stream, and says again what the server may not have taken. If that stream
        breaks as well, whoever reads from it next finds out.
        """
        self._call.cancel()
        await asyncio.wait([self._reader])
        resume = pb.Resume(session_id=self.id, token=self.token, next_frame=self.next_frame)
        try:
            self._call, opened = await self._reconnect(resume)
        except InvalidRequest as error:
            if self._rewinding is None or error.code != grpc.StatusCode.OUT_OF_RANGE.name:
                raise
            resume.next_frame = self._rewinding.rewind.frame  # the server has gone back already
            self._call, opened = await self._reconnect(resume)
        self.resumed += 1
        self._acked = self.next_frame
        self._going_away, self._ended, self._inbox = False, None, asyncio.Queue()
        self._reader = asyncio.create_task(self._read_all(), name=f"session {self.id}")
        if self._rewinding is not None:
            if opened.epoch == self.epoch:
                await self._send(self._rewinding)
            else:
                done = pb.Rewound(epoch=opened.epoch, next_frame=self._rewinding.rewind.frame)
                self._inbox.put_nowait(pb.PerformResponse(rewound=done))
            return
        self._forget_sent(set(opened.recent_turn_ids))
        again = list(self._unheard)
        if self._closing:  # nothing says whether it was taken; a session that is closed refuses it, and says so again
            again.append(pb.PerformRequest(close=pb.Close()))
        for request in again:
            if not await self._send(request):
                return

    async def _read_all(self) -> None:
        try:
            while (response := await self._call.read()) is not grpc.aio.EOF:
                self._inbox.put_nowait(cast(pb.PerformResponse, response))
            self._inbox.put_nowait(_Ended(None))
        except grpc.aio.AioRpcError as error:
            self._inbox.put_nowait(_Ended(error))
        except asyncio.CancelledError:  # this side left the call
            self._inbox.put_nowait(_Ended(None))

    async def _read(self) -> pb.PerformResponse:
        while True:
            if self._ended is None:
                item = await self._inbox.get()
                if not isinstance(item, _Ended):
                    # A receipt comes again on each stream, even if nothing can come of it: the disk is full, say.
                    if item.WhichOneof("response") not in ("turn_started", "notice"):
                        self._give_up_at = None
                    return item
                self._ended = item
            await self._resume(self._end(self._ended.error))

    def _end(self, error: grpc.aio.AioRpcError | None) -> CutsceneError:
        """The typed form of the stream's having ended."""
        if self.usage is not None:
            return SessionClosed(f"session {self.id} has ended: {self._closed_reason}", self._closed_reason)
        if self._replaced:
            return SessionReplaced(f"another stream resumed session {self.id}")
        if self._going_away:
            return ServerGoingAway(f"the server of session {self.id} is stopping")
        if error is None or is_transport_failure(error) or error.details() == LOST_STATUS:
            detail = (error.details() or "") if error is not None else ""
            return ConnectionLost(self.id, self.token, self.next_frame, detail)
        return refusal(error)


def _retry_after_s(cause: CutsceneError) -> float | None:
    """After how many seconds a stream that ended so may be resumed; None: that would not help."""
    if isinstance(cause, ResourceExhausted):
        return cause.retry_after
    return 0.0 if isinstance(cause, (ConnectionLost, ServerGoingAway, ServerUnreachable)) else None
