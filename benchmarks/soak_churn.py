"""What the soak's clients have in common: what they perform, what they are to do next, and what came of it.

What a client leaves behind on purpose (a session that nobody comes back to, a job that nobody watches) is kept here, to
be ended when the churn is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc

import cutscene_client as cc
import raw_client
from cutscene_client import scene
from cutscene_client.frames import PACINGS, TIERS
from cutscene_client.session import LOST_STATUS
from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1 import scene_pb2 as spb
from raw_client import RawStream

PATIENCE_S = 180.0  # for one thing, start to end, and for one message: a machine may be busy with others
MOST_KEPT = 64  # sessions left behind that are remembered

raw_client.PATIENCE_S = PATIENCE_S

Kind = Callable[["Churn", random.Random], Awaitable[None]]
"""One thing that a client does, from first word to last. Raises whatever should not have happened."""


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
    """What clients share, and what came of them. ``one`` does one thing; ``counts`` has how often each was done."""

    address: str
    play: Play
    frames: int  # of a usual turn
    write_timeout: float  # the server's
    kinds: Mapping[str, tuple[int, Kind]]
    counts: Counter[str] = field(default_factory=Counter)
    problems: deque[str] = field(default_factory=lambda: deque(maxlen=200))
    problem_count: int = 0
    left_sessions: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=MOST_KEPT))
    left_jobs: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=MOST_KEPT))

    async def one(self, chance: random.Random) -> None:
        """Something at random, by weight."""
        kind = chance.choices(list(self.kinds), [weight for weight, _ in self.kinds.values()])[0]
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self.kinds[kind][1](self, chance)
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

    def client(self) -> cc.Client:
        """One that behaves, to be used in a block."""
        return cc.connect(self.address, timeout=30.0)

    def channel(self, options: Sequence[tuple[str, Any]] = ()) -> grpc.aio.Channel:
        """For a client of bare stubs, to be used in a block."""
        return grpc.aio.insecure_channel(self.address, options=[*options])

    def some(self, chance: random.Random) -> int:
        """A number of frames."""
        return chance.randrange(1, self.frames + 1)

    async def end_all(self) -> None:
        """Ends whatever was left behind."""
        async with self.client() as client:
            while self.left_jobs:
                with contextlib.suppress(cc.RenderNotFound):
                    await client.render_job(*self.left_jobs.popleft()).cancel()
            while self.left_sessions:
                with contextlib.suppress(cc.SessionNotFound):
                    await client.close_session(*self.left_sessions.popleft())

    async def drawn(self, session: cc.Session, chance: random.Random, frames: int) -> None:
        """A turn of so many frames, all of which come."""
        got = [frame async for frame in session.perform(self.play.turn(chance, frames))]
        if len(got) != frames:
            raise Unexpected(f"a turn of {frames} frames has {len(got)}")


async def close(stream: RawStream) -> None:
    """Ends a session in order."""
    await stream.say(close=pb.Close())
    await stream.hear_until("closed")


async def pieces(file: bytes) -> AsyncIterator[bytes]:
    """A session's file, as it is sent."""
    for start in range(0, len(file), 1 << 18):
        yield file[start : start + (1 << 18)]
