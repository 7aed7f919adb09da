"""One client's stream: requests go to its session, its session's log goes to the client, until either side ends.

The stream owns nothing. When it ends, for whatever reason, the session is detached and lives on.

Backpressure policy, "wait": refusals wait in a short queue, and while it is full no further request is read; a client
that sends without reading is held by HTTP/2's own flow control. A message that the client does not take within the
write timeout ends the stream.

The stream's end waits a little for the client's: a client that still writes when the server has ended a call loses
what it has not read yet (grpc's Python client drops it with the failed write), and clients acknowledge their last
frames.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import cast

import grpc
from google.protobuf.message import DecodeError

from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_server import clock
from cutscene_server.errors import (
    EngineFailed,
    FieldViolation,
    InvalidRequest,
    Late,
    NoRoom,
    OutOfRange,
    Replaced,
    WrongMoment,
)
from cutscene_server.packed_scene import pack_stage
from cutscene_server.registry import SessionRecord
from cutscene_server.runtime import Runtime
from cutscene_server.scheduling import Tenant
from cutscene_server.service.sending import tenant_of
from cutscene_server.service.write_limit import WriteLimit
from cutscene_server.session_log import FrameReady
from cutscene_server.wire import replies, requests

Context = grpc.aio.ServicerContext[pb.PerformRequest, pb.PerformResponse]

STATES_READ_AT_ONCE = 64  # a longer turn is checked in a thread: on the event loop it would hold up every other stream
MAX_WAITING_REFUSALS = 8
FAREWELL_S = 5.0  # after `closed`, since the client's last word: it may still be playing and acknowledging frames
SHORT_FAREWELL_S = 0.5  # after a notice that ends the stream


class ClientStream:
    """See the module's docstring."""

    def __init__(self, runtime: Runtime, context: Context) -> None:
        self._runtime = runtime
        self._context = context
        self._limit = WriteLimit(runtime.config.write_timeout)
        self._changed = asyncio.Event()  # something may have to be said
        self._refusals: asyncio.Queue[pb.PerformResponse] = asyncio.Queue(MAX_WAITING_REFUSALS)
        self._record: SessionRecord
        self._attachment = 0
        self._next_entry = 0  # number of the session's next log entry to send
        self._frame: FrameReady | None = None  # that is being sent
        self._attached_us = 0
        self._closed_said = False
        self._last_heard_s = 0.0
        self._farewell_said = False

    async def run(self) -> None:
        """Plays until the session closes, the client leaves or the stream is replaced. Raises ``ServerError``."""
        try:
            await self._run()
        finally:
            self._limit.close()

    async def _run(self) -> None:
        token = await self._enter()
        try:
            try:
                if token:
                    await self._wait_for_anchors()
                await self._write(replies.opened(self._record, token))
            except BaseException:
                if token:
                    self._runtime.abandon(self._record)  # nobody knows its token: it can never be resumed
                raise
            listener = asyncio.create_task(self._listen())
            listener.add_done_callback(lambda _: self._changed.set())
            try:
                await self._speak(listener)
            finally:
                listener.cancel()
                await asyncio.gather(listener, return_exceptions=True)
        finally:
            self._runtime.detach(self._record, self._attachment)

    # ---- entering ---------------------------------------------------------------------------------------------------

    async def _enter(self) -> str:
        """Opens or resumes a session. Returns the token that the client is to be told; empty if it knows it."""
        request = await self._first_request()
        kind: str | None = request.WhichOneof("request")
        tenant = tenant_of(self._runtime, self._context)
        if kind == "open":
            self._record, token = await self._open(request.open, tenant)
            next_frame = 0
        elif kind == "resume":
            self._runtime.require_serving()
            self._record = await self._runtime.find(request.resume.session_id, request.resume.token)
            next_frame, token = request.resume.next_frame, ""
        elif kind is None:
            raise InvalidRequest([FieldViolation("request", "is missing; the first request is open or resume")])
        else:
            raise WrongMoment(kind, f"there is no session yet; the first request is open or resume, not {kind}")
        while True:
            # What the stream before this one had sent is taken or lost by now: `opened` says which.
            async with self._record.changing:
                if self._runtime.sessions.get(self._record.session_id) is self._record:
                    self._attachment = self._runtime.attach(self._record, next_frame, tenant, self._changed.set)
                    self._attached_us = clock.now_us()
                    break
            # It left memory while this stream waited for it: what is stored of it is what there is.
            self._record = await self._runtime.find(request.resume.session_id, request.resume.token)
        self._next_entry = self._record.session.log.first_number
        return token

    async def _open(self, message: pb.Open, tenant: Tenant) -> tuple[SessionRecord, str]:
        runtime, config = self._runtime, self._runtime.config
        # Before the work of reading the set, unless the client will wait for room.
        manifest = runtime.require_serving() if message.wait else runtime.check_room()
        latency_us = round(config.frame_latency * 1e6)
        terms, stage = requests.read_open(message, manifest, config.max_frames, latency_us)

        async def tell(position: int) -> None:
            await self._send(replies.queued(position))

        # Before it may wait in line: what waits is to be small.
        pictures = requests.reference_pictures(message)
        packed = await runtime.references.added(pack_stage(stage), pictures)
        return await runtime.open(terms, packed, tenant, tell if message.wait else None)

    async def _first_request(self) -> pb.PerformRequest:
        seconds = self._runtime.config.first_request_timeout
        try:
            async with asyncio.timeout(seconds):
                request = await self._read()
        except TimeoutError:
            raise Late(f"neither open nor resume came within {seconds:g} s") from None
        if request is None:
            raise InvalidRequest([FieldViolation("request", "is missing; the stream ended before open or resume")])
        return request

    async def _read(self) -> pb.PerformRequest | None:
        """The next request; None once the client has sent its last one. Bytes that are no request are refused."""
        try:
            request: object = await self._context.read()
        except DecodeError:
            raise InvalidRequest([FieldViolation("request", "these bytes are not a PerformRequest")]) from None
        return None if request is grpc.aio.EOF else cast("pb.PerformRequest", request)

    async def _wait_for_anchors(self) -> None:
        session = self._record.session
        while not session.begun:
            if session.closed:
                raise EngineFailed("the model could not begin this session; the server's log says why")
            self._check_standing()
            self._changed.clear()
            await self._changed.wait()

    # ---- listening --------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Takes requests in the order they come. What cannot be taken is refused, and the session lives on."""
        while True:
            request = pb.PerformRequest()  # what a refusal answers, should the next one not even be readable
            try:
                received = await self._read()
                if received is None:
                    return
                request = received
                self._last_heard_s = time.monotonic()
                await self._take(request)
            except (InvalidRequest, WrongMoment, OutOfRange) as error:
                self._runtime.observer.refused(error)
                await self._refuse(replies.rejected(request.turn.turn_id[:64], error.violations))
            except NoRoom as error:
                self._runtime.observer.refused(error)
                violation = FieldViolation(request.WhichOneof("request") or "request", str(error))
                turn_id = request.turn.turn_id[:64]
                await self._refuse(replies.rejected(turn_id, [violation], error.retry_after_s))

    async def _refuse(self, message: pb.PerformResponse) -> None:
        await self._refusals.put(message)
        self._changed.set()

    async def _take(self, request: pb.PerformRequest) -> None:
        if self._record.session.left:
            return  # the client hears why, and says it again when it has resumed
        if self._record.session.attachment != self._attachment:
            return  # replaced: the other stream speaks for the session now
        if self._runtime.stopping and request.WhichOneof("request") != "ack":
            return  # what has no receipt is not taken: the client says it again when it has resumed
        match request.WhichOneof("request"):
            case "turn":
                await self._take_turn(request.turn)
            case "ack":
                self._runtime.acknowledge(self._record, request.ack.next_frame)
            case "cut":
                self._runtime.cut(self._record)
            case "rewind":
                await self._runtime.rewind(self._record, request.rewind.frame)
            case "close":
                self._runtime.close(self._record)
            case "open" | "resume" as kind:
                raise WrongMoment(kind, "this stream has a session already; another session takes another stream")
            case _:
                raise InvalidRequest([FieldViolation("request", "is missing")])

    async def _take_turn(self, message: pb.Turn) -> None:
        terms = self._record.session.terms
        if requests.state_count(message) <= STATES_READ_AT_ONCE:
            turn = requests.read_turn(message, terms.names, terms.fps)
        else:
            turn = await asyncio.to_thread(requests.read_turn, message, terms.names, terms.fps)
        await self._runtime.add_turn(self._record, turn)

    # ---- speaking ---------------------------------------------------------------------------------------------------

    async def _speak(self, listener: asyncio.Task[None]) -> None:
        """Says what there is to say, one message at a time, until there will be no more."""
        while True:
            self._changed.clear()
            if self._record.session.left and self._next_entry >= self._record.session.log.next_number:
                await self._part(listener)
            if self._replaced or self._runtime.stopping or self._runtime.lost:
                await self._say_goodbye()
            if self._replaced or self._runtime.lost:
                await self._part(listener)
            held_s = self._held_s()
            if message := self._next_message(held=held_s > 0):
                await self._write(message)
                self._note_delivery()
            elif held_s > 0:
                await self._change_within(held_s)
            elif self._runtime.drained:
                await self._part(listener)
            elif self._closed_said:
                return await self._hear_out(listener)
            elif listener.done() and self._nothing_comes(listener):
                return None
            else:
                await self._changed.wait()

    async def _part(self, listener: asyncio.Task[None]) -> None:
        """Ends the stream, after a moment in which the client may say its last. Raises why it ends."""
        await asyncio.wait([listener], timeout=SHORT_FAREWELL_S)
        self._check_standing()

    async def _hear_out(self, listener: asyncio.Task[None]) -> None:
        """After `closed`: lets the client acknowledge its last frames, end its side, or fall silent."""
        session = self._record.session
        self._last_heard_s = time.monotonic()
        while not listener.done() and session.acked_frame < session.ready_frame and not self._runtime.stopping:
            seconds = self._last_heard_s + FAREWELL_S - time.monotonic()
            if seconds <= 0:
                return
            self._changed.clear()
            await self._change_within(seconds)

    async def _change_within(self, seconds: float) -> None:
        """Returns once something may have to be said, or after that time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    def _next_message(self, *, held: bool) -> pb.PerformResponse | None:
        """``held``: the session's next entry is not to be sent yet, nor what comes after it."""
        session = self._record.session
        if not self._refusals.empty():
            return self._refusals.get_nowait()
        if held:
            return None
        while self._next_entry < session.log.next_number:
            self._next_entry += 1
            # An entry is missing if it was acknowledged before this stream came to it.
            if entry := session.log.get(self._next_entry - 1):
                self._frame = entry if isinstance(entry, FrameReady) else None
                return replies.entry(entry)
        if session.closed and not session.has_work and not self._closed_said:
            self._closed_said = True
            return replies.closed(session)
        if tier := session.take_tier_notice():
            return replies.tier_changed(tier)
        if session.take_throttle_notice():
            return replies.notice(pb.NOTICE_KIND_THROTTLED, "drawing waits for acks")
        return None

    def _held_s(self) -> float:
        """For how long the next entry is held back; 0 if it is not. A server that stops holds back nothing."""
        entry = self._record.session.log.get(self._next_entry)
        if not isinstance(entry, FrameReady) or self._runtime.stopping:
            return 0.0
        return max(0, entry.send_us - clock.now_us()) / 1e6

    def _nothing_comes(self, listener: asyncio.Task[None]) -> bool:
        """After the client's last request: whether all that it could still get has been sent."""
        listener.result()  # raises what ended it, if it was not the client
        session = self._record.session
        return session.throttled or not session.has_work

    @property
    def _replaced(self) -> bool:
        return self._record.session.attachment != self._attachment

    def _check_standing(self) -> None:
        self._record.require_kept()
        if self._replaced:
            raise Replaced
        self._runtime.require_serving()

    async def _say_goodbye(self) -> None:
        if self._farewell_said:
            return
        self._farewell_said = True
        if self._replaced:
            await self._write(replies.notice(pb.NOTICE_KIND_REPLACED, "another stream resumed this session"))
        else:
            text = "the server stops; resume this session with its token once it is back, or at another on its data"
            await self._write(replies.notice(pb.NOTICE_KIND_GOING_AWAY, text))

    async def _write(self, message: pb.PerformResponse) -> None:
        """Sends a message of a session, within what its tenant may be sent; at once if the server stops."""
        sent, size = self._record.tenant.bytes, message.ByteSize()
        if sent.rate:
            while (now_us := clock.now_us()) < (ready_us := sent.ready_us(now_us)) and not self._runtime.stopping:
                self._changed.clear()  # whoever writes looks at everything again afterwards
                await self._change_within((ready_us - now_us) / 1e6)
            sent.take(size, clock.now_us())
        await self._send(message)
        self._record.session.usage.bytes_sent += size
        self._runtime.observer.sent(size)

    def _note_delivery(self) -> None:
        frame, self._frame = self._frame, None
        now_us = clock.now_us()
        if frame is not None and frame.ready_us >= self._attached_us:  # else it waited for the client, not for us
            self._runtime.observer.frame_delivered(max(0, now_us - frame.send_us), now_us)

    async def _send(self, message: pb.PerformResponse) -> None:
        limit = self._limit
        limit.begin()
        try:
            await self._context.write(message)
        except asyncio.CancelledError:
            if limit.was_exceeded():
                raise Late(f"the client read nothing for {limit.seconds:g} s") from None
            raise
        finally:
            limit.end()
