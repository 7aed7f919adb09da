"""Clients of every kind, good and bad: each does one thing to a server, from first word to last, and checks the answer.

Those that behave are the real client; those that do not are made of bare stubs. What a client leaves behind on purpose
(a session that nobody comes back to, a job that nobody watches) is kept here, to be ended when the churn is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc

import cutscene_client as cc
import raw_client
from cutscene_client import scene
from cutscene_client.frames import PACINGS, TIERS
from cutscene_client.session import LOST_STATUS
from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1 import render_pb2 as rpb
from cutscene_proto.v1 import scene_pb2 as spb
from cutscene_proto.v1.cutscene_pb2_grpc import CutsceneServiceStub
from cutscene_proto.v1.render_pb2_grpc import RenderServiceStub
from raw_client import RawStream

PATIENCE_S = 180.0  # for one thing, start to end, and for one message: a machine may be busy with others
MOST_KEPT = 64  # sessions left behind that are remembered
PERFORM = "/cutscene_proto.v1.CutsceneService/Perform"
NARROW = [("grpc.http2.lookahead_bytes", 1 << 14), ("grpc.http2.bdp_probe", 0)]  # takes 64 KiB unread, then no more


class Unexpected(Exception):
    """The server did not answer as it should have."""


@dataclass(frozen=True, slots=True)
class Play:
    """What is performed."""

    open: pb.Open
    states: Sequence[spb.SceneState]
    tiers: Sequence[str]  # drawn from evenly: name one twice to have it twice as often
    fps: float  # of sessions that keep a cadence

    def opening(self, chance: random.Random, *, paced: bool = True, **changes: Any) -> pb.Open:
        """How a session begins: half of them keep a cadence, if they may."""
        request = pb.Open()
        request.CopyFrom(self.open)
        request.seed, request.tier = chance.randrange(8), TIERS[chance.choice(self.tiers)]
        if paced and (pacing := chance.choice(["", "", "lockstep", "live"])):
            request.pacing, request.fps, request.lowest_tier = PACINGS[pacing], self.fps, TIERS["draft"]
        for name, value in changes.items():
            setattr(request, name, value)
        return request

    def turn(self, chance: random.Random, frames: int, turn_id: str = "") -> pb.Turn:
        """So many states in a row, from anywhere."""
        start = chance.randrange(max(1, len(self.states) - frames))
        turn = scene.lockstep_turn(self.states[start : start + frames])
        turn.turn_id = turn_id
        return turn


@dataclass
class Churn:
    """See the module's docstring. ``one`` does one thing; ``counts`` has how often each was done."""

    address: str
    play: Play
    frames: int  # of a usual turn
    write_timeout: float  # the server's
    counts: Counter[str] = field(default_factory=Counter)
    problems: deque[str] = field(default_factory=lambda: deque(maxlen=200))
    problem_count: int = 0
    left_sessions: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=MOST_KEPT))
    left_jobs: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=MOST_KEPT))

    async def one(self, chance: random.Random, kind: str = "") -> None:
        """Something at random, by weight."""
        kind = kind or chance.choices(list(KINDS), [weight for weight, _ in KINDS.values()])[0]
        try:
            async with asyncio.timeout(PATIENCE_S):
                await KINDS[kind][1](self, chance)
        except (cc.ResourceExhausted, cc.TurnRejected) as error:
            refused = not isinstance(error, cc.TurnRejected) or error.retry_after is not None
            self._note(kind, "refused for want of room") if refused else self._problem(kind, error)
        except grpc.aio.AioRpcError as error:
            code = error.code()
            if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
                self._note(kind, "refused for want of room")
            elif error.details() != LOST_STATUS:
                self._problem(kind, error)
        except Exception as error:
            self._problem(kind, error)
        else:
            self.counts[kind] += 1

    def _note(self, kind: str, what: str) -> None:
        self.counts[what] += 1
        self.counts[kind] += 1

    def _problem(self, kind: str, error: Exception) -> None:
        self.problem_count += 1
        self.problems.append(f"{kind}: {type(error).__name__}: {str(error)[:300]}")

    @contextlib.asynccontextmanager
    async def _client(self) -> AsyncIterator[cc.Client]:
        async with cc.connect(self.address, timeout=30.0) as client:
            yield client

    @contextlib.asynccontextmanager
    async def _channel(self, options: Sequence[tuple[str, Any]] = ()) -> AsyncIterator[grpc.aio.Channel]:
        async with grpc.aio.insecure_channel(self.address, options=[*options]) as channel:
            yield channel

    def _some(self, chance: random.Random) -> int:
        return chance.randrange(1, self.frames + 1)

    # ---- those that behave ------------------------------------------------------------------------------------------

    async def perform(self, chance: random.Random) -> None:
        async with self._client() as client, await client.open_request(self.play.opening(chance)) as session:
            for _ in range(chance.randrange(1, 4)):
                if chance.random() < 0.3:
                    await session.cut()
                async for frame in session.perform(self.play.turn(chance, self._some(chance))):
                    if not frame.digest:
                        raise Unexpected("a frame without a digest")

    async def rewind(self, chance: random.Random) -> None:
        opening = self.play.opening(chance, paced=False)
        async with self._client() as client, await client.open_request(opening) as session:
            await self._drawn(session, chance, 3)
            await session.rewind(chance.randrange(4))
            await self._drawn(session, chance, 2)

    async def fork(self, chance: random.Random) -> None:
        opening = self.play.opening(chance, paced=False)
        async with self._client() as client, await client.open_request(opening) as session:
            await self._drawn(session, chance, 3)
            fork_id, token = await client.fork(session.id, session.token, 2)
            if chance.random() < 0.3:
                self.left_sessions.append((fork_id, token))
                return
            async with await client.resume(fork_id, token, 2) as fork:
                await self._drawn(fork, chance, 2)

    async def replay(self, chance: random.Random) -> None:
        async with self._client() as client:
            async with await client.open_request(self.play.opening(chance, paced=False)) as session:
                await self._drawn(session, chance, 4)
                replay = await client.replay(session.id, session.token, cc.ReplayWish(first_frame=chance.randrange(3)))
            async with await client.resume(replay.session_id, replay.token, replay.first_frame) as again:
                drawn = [frame.index async for frame in again.remaining()]
            if len(drawn) != replay.frame_count:
                raise Unexpected(f"a replay of {replay.frame_count} frames has {len(drawn)}")

    async def watch(self, chance: random.Random) -> None:
        async with self._client() as client:
            async with await client.open_request(self.play.opening(chance, paced=False)) as session:
                frames = client.watch(session.id, session.watch_token)

                async def look() -> int:
                    seen = 0
                    async with contextlib.aclosing(frames) as watched:  # type: ignore[type-var]
                        async for _ in watched:
                            seen += 1
                            if leaves and seen == 1:
                                break
                    return seen

                leaves = chance.random() < 0.5
                watcher = asyncio.create_task(look())
                await self._drawn(session, chance, 3)
            await watcher

    async def move(self, chance: random.Random) -> None:
        async with self._client() as client:
            async with await client.open_request(self.play.opening(chance, paced=False)) as session:
                await self._drawn(session, chance, 3)
                pieces = client.export_session(session.id, session.token)
                if chance.random() < 0.3:  # leaves before the end
                    async for _ in pieces:
                        break
                    return
                file = b"".join([piece async for piece in pieces])
            brought = await client.import_session(_pieces(file))
            async with await client.resume(brought.session_id, brought.token, brought.next_frame) as again:
                await self._drawn(again, chance, 1)

    async def render(self, chance: random.Random) -> None:
        async with self._client() as client:
            items = [
                cc.RenderItem(f"film-{number}", self.play.opening(chance, paced=False, tier=TIERS["draft"]),
                              [self.play.turn(chance, self._some(chance))])
                for number in range(chance.randrange(1, 3))
            ]  # fmt: skip
            job = await client.render(items)
            if chance.random() < 0.4:  # nobody watches: it is followed when the churn is over
                self.left_jobs.append((job.id, job.token))
                return
            if chance.random() < 0.4:
                await asyncio.sleep(chance.random() * 3)
                await job.cancel()
                self.counts["render jobs cancelled"] += 1
                return
            self.left_jobs.append((job.id, job.token))  # should this client be ended before it
            ended = await job.wait()
            for number, item in enumerate(ended.items):
                if item.state == "failed":
                    raise Unexpected(f"a film failed: {item.failure}")
                if item.state == "done":
                    film = b"".join([piece async for piece in job.film(number)])
                    if len(film) != item.film_bytes:
                        raise Unexpected(f"a film of {item.film_bytes} bytes has {len(film)}")

    async def ask(self, chance: random.Random) -> None:
        async with self._client() as client:
            await client.stats(), await client.sessions(), await client.models(), await client.renders()

    # ---- those that leave -------------------------------------------------------------------------------------------

    async def drop_and_resume(self, chance: random.Random) -> None:
        """Drops without closing, with frames under way, and comes back until it has every frame, in order."""
        total = 2 * self.frames
        async with self._channel() as channel:
            stream = RawStream(channel)
            opened = await stream.open(self.play.opening(chance, paced=False, frame_credit=chance.randrange(1, 9)))
            await stream.say(turn=self.play.turn(chance, total, "one"))
            await stream.hear_until("turn_started")
            have = 0
            while have < total:
                frames = await stream.frames(min(chance.randrange(1, 4), total - have, opened.frame_credit))
                if [frame.frame_index for frame in frames] != list(range(have, have + len(frames))):
                    raise Unexpected("frames came twice, or not at all")
                have += len(frames)
                if have < total:
                    stream.leave()
                    await asyncio.sleep(chance.random() * 0.5)
                    stream = RawStream(channel)
                    await stream.resume(opened, have)
                    self.counts["resumed"] += 1
            await self._close(stream)

    async def replaced(self, chance: random.Random) -> None:
        """Comes a second time while it is still there."""
        async with self._channel() as channel:
            first = RawStream(channel)
            opened = await first.open(self.play.opening(chance, paced=False))
            await first.say(turn=self.play.turn(chance, 3, "one"))
            await first.hear_until("turn_started")
            second = RawStream(channel)
            await second.resume(opened, 0)
            await second.frames(3)
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await first.hear_to_end()
                raise Unexpected("a stream that was replaced ended as if all were well")
            await self._close(second)

    async def abandon(self, chance: random.Random) -> None:
        async with self._channel() as channel:
            stream = RawStream(channel)
            opened = await stream.open(self.play.opening(chance))
            await stream.say(turn=self.play.turn(chance, self._some(chance), "one"))
            if chance.random() < 0.7:
                await _answered(stream)
            stream.leave()
            self.left_sessions.append((opened.session_id, opened.token))

    async def vanish(self, chance: random.Random) -> None:
        """Is gone before it is told its token, and its connection with it."""
        async with self._channel() as channel:
            for _ in range(3):
                stream = RawStream(channel)
                await stream.say(open=self.play.opening(chance))
                await asyncio.sleep(chance.random() * 0.05)
                stream.leave()

    async def come_back_late(self, chance: random.Random) -> None:
        """Takes up a session that somebody has left behind, from memory or from disk."""
        if not self.left_sessions:
            return
        session_id, token = self.left_sessions.popleft()
        async with self._client() as client:
            try:
                known = await client.session(session_id, token)
                session = await client.resume(session_id, token, known.next_frame)
            except (cc.SessionNotFound, cc.RequestRefused):  # kept for too short a time; its last frames not drawn yet
                return
            with contextlib.suppress(cc.SessionClosed):
                async with session:
                    _ = [frame async for frame in session.remaining()]

    # ---- those that are slow ----------------------------------------------------------------------------------------

    async def slow_reader(self, chance: random.Random) -> None:
        async with self._channel() as channel:
            stream = RawStream(channel)
            await stream.open(self.play.opening(chance, frame_credit=2))
            await stream.say(turn=self.play.turn(chance, self.frames, "one"))
            last = self.frames - 1
            try:
                while True:
                    message = await stream.hear()
                    if message is None or message.HasField("turn_completed") or message.HasField("rejected"):
                        break
                    if message.HasField("frame"):
                        last = message.frame.frame_index
                        await asyncio.sleep(0.2 + 0.3 * chance.random())
                        await stream.say(ack=pb.Ack(next_frame=last + 1))
            finally:
                with contextlib.suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
                    await self._close(stream)

    async def stops_reading(self, chance: random.Random) -> None:
        """Leaves raw frames unread until the server ends the stream; then, or before that, it is gone."""
        message = self.play.opening(chance, paced=False, frame_credit=64)
        message.video.codec = pb.CODEC_RAW_RGB
        async with self._channel(NARROW) as channel:
            stream = RawStream(channel)
            opened = await stream.open(message)
            await stream.say(turn=self.play.turn(chance, 3 * self.frames, "one"))
            await asyncio.sleep(self.write_timeout * chance.choice([0.3, 1.5]))
            stream.leave()
        self.left_sessions.append((opened.session_id, opened.token))

    # ---- those that say what may not be said ------------------------------------------------------------------------

    async def noise(self, chance: random.Random) -> None:
        """Bytes flipped, cut off or put in."""
        whole = [
            pb.PerformRequest(open=self.play.opening(chance)),
            pb.PerformRequest(turn=self.play.turn(chance, 2, "one")),
            pb.PerformRequest(ack=pb.Ack(next_frame=1)),
        ]
        async with self._channel() as channel:
            for _ in range(4):
                call: Any = channel.stream_stream(PERFORM)()
                with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
                    if chance.random() < 0.5:
                        await call.write(whole[0].SerializeToString())
                    for _ in range(3):
                        await call.write(_spoiled(chance, chance.choice(whole).SerializeToString()))
                    async with asyncio.timeout(0.5):
                        await call.read()
                call.cancel()

    async def bad_values(self, chance: random.Random) -> None:
        """Turns, acks and rewinds that are refused by name, in a session that goes on after each."""
        async with self._channel() as channel:
            stream = RawStream(channel)
            await stream.open(self.play.opening(chance, paced=False))
            await stream.say(turn=self.play.turn(chance, 2, "good"))
            await stream.frames(2)
            bad = self._bad_requests(chance)
            chance.shuffle(bad)
            for name, request in bad[:4]:
                await stream.say(**request)
                rejected = await stream.hear_until("rejected")
                if not rejected.violations:
                    raise Unexpected(f"{name} was refused without a field")
                self.counts["requests rejected"] += 1
            await stream.say(turn=self.play.turn(chance, 1, "after"))
            await stream.frames(1)
            await self._close(stream)

    def _bad_requests(self, chance: random.Random) -> list[tuple[str, dict[str, Any]]]:
        def turn(number: int) -> pb.Turn:
            return self.play.turn(chance, 2, f"bad-{number}")

        nan, crowd, huge, backward, empty, tilted = (turn(number) for number in range(6))
        nan.lockstep.states[1].camera.position.x = chance.choice([math.nan, math.inf, -math.inf])
        for _ in range(5):
            crowd.lockstep.states[0].actors.add().CopyFrom(crowd.lockstep.states[0].actors[0])
        huge.lockstep.states.extend([spb.SceneState()] * 4096)
        run = pb.KeyframedRun()
        for offset in (0, 500_000, 400_000):
            run.keyframes.add(offset_us=offset, state=self.play.states[0])
        backward.keyframed.CopyFrom(run)
        del empty.lockstep.states[:]
        tilted.lockstep.states[0].camera.rotation.w += 3.0
        return [
            ("NaN", {"turn": nan}), ("too many actors", {"turn": crowd}), ("too many states", {"turn": huge}),
            ("keyframes out of order", {"turn": backward}), ("no states", {"turn": empty}),
            ("no rotation", {"turn": tilted}), ("a turn said twice", {"turn": self.play.turn(chance, 1, "good")}),
            ("ack of what was not drawn", {"ack": pb.Ack(next_frame=10**6)}),
            ("rewind to what was not drawn", {"rewind": pb.Rewind(frame=10**6)}),
            ("a second open", {"open": self.play.open}),
        ]  # fmt: skip

    async def strangers(self, chance: random.Random) -> None:
        """Calls that name what is not there, or not theirs."""
        kept = self.left_sessions[-1][0] if self.left_sessions else "0" * 32
        async with self._channel() as channel:
            stub: Any = CutsceneServiceStub(channel)  # type: ignore[no-untyped-call]
            renders: Any = RenderServiceStub(channel)  # type: ignore[no-untyped-call]
            wrong: dict[str, Any] = {
                "session_id": chance.choice([kept, "f" * 32, "../x", ""]),
                "token": "not-its-token",
            }
            job = rpb.GetRenderRequest(job_id="f" * 32, token="not-its-token")  # noqa: S106
            await _refused(stub.GetSession(pb.GetSessionRequest(**wrong)), "NOT_FOUND")
            await _refused(stub.CloseSession(pb.CloseSessionRequest(**wrong)), "NOT_FOUND")
            await _refused(stub.ForkSession(pb.ForkSessionRequest(**wrong, frame=0)), "NOT_FOUND")
            await _refused(stub.ReplaySession(pb.ReplaySessionRequest(**wrong)), "NOT_FOUND")
            await _refused(renders.GetRender(job), "NOT_FOUND")
            await _refused(stub.ListSessions(pb.ListSessionsRequest(page_size=10**6)), "INVALID_ARGUMENT")
            await _refused(stub.GetServerStats(pb.GetServerStatsRequest(max_sessions=10**6)), "INVALID_ARGUMENT")
            await _refused(_heard(RawStream(channel), resume=pb.Resume(**wrong)), "NOT_FOUND")
            await _refused(_heard(RawStream(channel), ack=pb.Ack(next_frame=1)), "FAILED_PRECONDITION")
            too_fast = self.play.opening(chance, paced=False, fps=1e6)
            await _refused(_heard(RawStream(channel), open=too_fast), "INVALID_ARGUMENT")
            await _refused(_submitted(renders, [rpb.SubmitRenderRequest()]), "INVALID_ARGUMENT")

    async def broken_file(self, chance: random.Random) -> None:
        """Brings a session that is none, or leaves while it brings it."""
        async with self._client() as client:
            with contextlib.suppress(cc.RequestRefused, cc.InvalidRequest):
                await client.import_session(_pieces(chance.randbytes(chance.randrange(1, 200_000))))
                raise Unexpected("bytes that are no session were taken for one")
        async with self._channel() as channel:
            stub: Any = CutsceneServiceStub(channel)  # type: ignore[no-untyped-call]
            call = stub.ImportSession()
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await call.write(pb.ImportSessionRequest(data=chance.randbytes(1000)))
            call.cancel()

    # ---- the end ----------------------------------------------------------------------------------------------------

    async def end_all(self) -> None:
        """Ends whatever was left behind."""
        async with self._client() as client:
            while self.left_jobs:
                with contextlib.suppress(cc.RenderNotFound):
                    await client.render_job(*self.left_jobs.popleft()).cancel()
            while self.left_sessions:
                with contextlib.suppress(cc.SessionNotFound):
                    await client.close_session(*self.left_sessions.popleft())

    async def _drawn(self, session: cc.Session, chance: random.Random, frames: int) -> None:
        got = [frame async for frame in session.perform(self.play.turn(chance, frames))]
        if len(got) != frames:
            raise Unexpected(f"a turn of {frames} frames has {len(got)}")

    async def _close(self, stream: RawStream) -> None:
        await stream.say(close=pb.Close())
        await stream.hear_until("closed")


Kind = Callable[[Churn, random.Random], Awaitable[None]]

KINDS: dict[str, tuple[int, Kind]] = {
    "perform": (6, Churn.perform), "rewind": (2, Churn.rewind), "fork": (3, Churn.fork), "replay": (2, Churn.replay),
    "watch": (2, Churn.watch), "move": (2, Churn.move), "render": (3, Churn.render), "ask": (3, Churn.ask),
    "drop_and_resume": (4, Churn.drop_and_resume), "replaced": (2, Churn.replaced), "abandon": (3, Churn.abandon),
    "vanish": (3, Churn.vanish), "come_back_late": (2, Churn.come_back_late), "slow_reader": (2, Churn.slow_reader),
    "stops_reading": (2, Churn.stops_reading), "noise": (2, Churn.noise), "bad_values": (3, Churn.bad_values),
    "strangers": (3, Churn.strangers), "broken_file": (2, Churn.broken_file),
}  # fmt: skip
"""By name: how often it is done, and what it is."""

raw_client.PATIENCE_S = PATIENCE_S


async def _pieces(file: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(file), 1 << 18):
        yield file[start : start + (1 << 18)]


async def _answered(stream: RawStream) -> None:
    """Waits until a turn is taken, or refused: a session that keeps a cadence may have lost its place meanwhile."""
    while (message := await stream.hear()) is not None:
        if message.HasField("turn_started") or message.HasField("rejected"):
            return


async def _heard(stream: RawStream, **request: Any) -> None:
    await stream.say(**request)
    await stream.hear_to_end()


async def _submitted(renders: Any, requests: Sequence[rpb.SubmitRenderRequest]) -> None:
    await renders.SubmitRender(iter(requests))


async def _refused(call: Awaitable[Any], code: str) -> None:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        if error.code().name not in (code, "RESOURCE_EXHAUSTED"):
            raise
        return
    raise Unexpected(f"what should be answered with {code} was taken")


def _spoiled(chance: random.Random, message: bytes) -> bytes:
    noise = bytearray(message)
    for _ in range(chance.randrange(1, 8)):
        place = chance.randrange(len(noise))
        match chance.randrange(3):
            case 0:
                noise[place] = chance.randrange(256)
            case 1:
                del noise[place + 1 :]
            case 2:
                noise[place:place] = chance.randbytes(3)
    return bytes(noise)
