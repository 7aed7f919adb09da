"""The first part of ``load.py``: sessions of the model that keep a cadence, up to the admission limit and past it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import math
import random
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from arrivals import Ramp, gaps, jitter, percentile, shown
from live import states_of

import cutscene_client as cc
from cutscene_client import scene, shipped
from cutscene_client.frames import PACINGS, TIERS, Usage
from cutscene_proto.v1 import cutscene_pb2 as pb

SLOWEST_FPS, FASTEST_FPS = 1.0, 60.0  # cutscene.proto, Open.fps
UNPACED_TURN_FRAMES = 24
PACED_TURN_S = 2.0

Row = dict[str, object]


class Player:
    """One session and the client that plays it without a pause: two turns are always with the server."""

    def __init__(self, client: cc.Client, options: argparse.Namespace, seed: int, pacing: str, fps: float) -> None:
        """``pacing``: "", "lockstep" or "live"; without pacing ``fps`` says nothing about how fast frames come."""
        expansion = shipped.load_expansion(options.script)
        self._request = pb.Open()
        self._request.CopyFrom(expansion.open_request)
        self._request.seed, self._request.fps = seed, fps
        self._request.tier, self._request.pacing = TIERS[options.tier], PACINGS[pacing]
        if pacing:
            self._request.lowest_tier = TIERS[options.lowest_tier]
        self._frames = max(2, round(PACED_TURN_S * fps)) if pacing else UNPACED_TURN_FRAMES
        self._states = states_of(expansion, self._frames * 8)
        self._client = client
        self._session: cc.Session | None = None
        self._task: asyncio.Task[None] | None = None
        self.period = 1 / fps
        self.first_shown = 0.0  # when a viewer shows the first frame who holds it back for as long as was promised
        self.arrivals: list[float] = []
        self.tiers: Counter[str] = Counter()
        self.usage: Usage | None = None  # once it has stopped

    async def open(self) -> None:
        """Raises ``cc.ResourceExhausted`` if the session is refused."""
        self._session = await self._client.open_request(self._request)

    def start(self, delay: float = 0.0) -> None:
        """Begins to play, so many seconds from now."""
        self._task = asyncio.create_task(self._play(delay))

    async def stop(self) -> None:
        """Ends the session now, and learns what it used."""
        if self._task is not None:
            if self._task.done():
                self._task.result()  # it ends of itself only by failing
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._session is not None:
            self.usage = await self._client.close_session(self._session.id, self._session.token)
            self._session.detach()

    async def _play(self, delay: float) -> None:
        assert self._session is not None
        await asyncio.sleep(delay)
        self.first_shown = time.perf_counter() + self.period + self._session.latency
        async for frame in self._session.play(self._turns()):
            self.arrivals.append(time.perf_counter())
            self.tiers[frame.tier] += 1

    def _turns(self) -> Iterator[pb.Turn]:
        for first in itertools.cycle(range(0, len(self._states), self._frames)):
            yield scene.lockstep_turn(self._states[first : first + self._frames])


@dataclass(slots=True)
class Company:
    """Sessions that are played side by side for as long as a block lasts."""

    client: cc.Client
    options: argparse.Namespace
    players: list[Player] = field(default_factory=list)

    async def add(self, pacing: str, fps: float, delay: float = 0.0) -> bool:
        """One more. Whether it was taken."""
        player = Player(self.client, self.options, len(self.players), pacing, fps)
        try:
            await player.open()
        except cc.ResourceExhausted:
            return False
        self.players.append(player)
        player.start(delay)
        return True

    async def stop(self) -> None:
        await asyncio.gather(*[player.stop() for player in self.players])


@contextlib.asynccontextmanager
async def company(client: cc.Client, options: argparse.Namespace) -> AsyncIterator[Company]:
    """Ends every session when the block ends."""
    together = Company(client, options)
    try:
        yield together
    finally:
        await together.stop()


async def window(seconds: float) -> tuple[float, float]:
    """Lets so much time pass; when that began and ended."""
    start = time.perf_counter()
    await asyncio.sleep(seconds)
    return start, time.perf_counter()


def arrived(players: Sequence[Player], start: float, end: float) -> float:
    """Frames a second of all players together."""
    return sum(start <= at <= end for player in players for at in player.arrivals) / (end - start)


def row(players: Sequence[Player], pacing: str, fps: float, tried: int, start: float, end: float) -> Row:
    """The figures of sessions that have stopped: times between frames in the window, misses of their whole lives."""
    raw, buffered, tiers = [], [], Counter[str]()
    frames = misses = skipped = 0
    for player in players:
        raw += gaps(player.arrivals, start, end)
        buffered += gaps(shown(player.arrivals, player.first_shown, player.period), start, end)
        tiers += player.tiers
        assert player.usage is not None
        frames += player.usage.frames
        misses += player.usage.deadline_misses
        skipped += player.usage.states_skipped
    return {
        "sessions": tried,
        "taken": len(players),
        "pacing": pacing,
        "fps": round(fps, 3),
        "frames_per_s": round(arrived(players, start, end), 2),
        "frames": frames,
        "misses": misses,
        "miss_rate": round(misses / frames, 5) if frames else None,
        "skip_rate": round(skipped / (frames + skipped), 5) if frames else None,
        "p50_ms": known(1000 * percentile(raw, 0.5), 2),
        "p99_ms": known(1000 * percentile(raw, 0.99), 2),
        "jitter": known(jitter(raw), 3),
        "jitter_after_buffer": known(jitter(buffered), 3),
        "tiers": dict(tiers),
    }  # fmt: skip


def known(value: float, digits: int) -> float | None:
    """Rounded; None if there was nothing to measure, for which JSON has no number."""
    return round(value, digits) if math.isfinite(value) else None


async def free_rate(client: cc.Client, options: argparse.Namespace, sessions: int) -> float:
    """Frames a second of so many sessions together that nothing holds back."""
    async with company(client, options) as together:
        for _ in range(sessions):
            if not await together.add("", 24.0):
                raise SystemExit(f"{sessions} sessions without pacing were not taken")
        await asyncio.sleep(options.warm_up)
        start, end = await window(options.free_seconds)
        return arrived(together.players, start, end)


async def side_by_side(client: cc.Client, options: argparse.Namespace, count: int, rate: float) -> Row | None:
    """``count`` sessions whose frames together are ``options.share`` of ``rate``; None if they would be too slow."""
    fps = min(FASTEST_FPS, options.share * rate / count)
    if fps < SLOWEST_FPS:
        return None
    phases = random.Random(count)  # as of clients that know nothing of one another, and the same in every run
    async with company(client, options) as together:
        for _ in range(count):
            await together.add("lockstep", fps, phases.uniform(0, 1 / fps))
        await asyncio.sleep(options.warm_up)
        start, end = await window(options.seconds)
    return row(together.players, "lockstep", fps, count, start, end)


async def ramp(client: cc.Client, options: argparse.Namespace, pacing: str, fps: float) -> tuple[Ramp, Row]:
    """Opens sessions one after another until one is refused, tries some more, and goes on with those it has."""
    attempts: list[bool] = []
    phases = random.Random(0)
    async with company(client, options) as together:
        while attempts.count(False) < 1 + options.past and len(attempts) < options.most_sessions:
            attempts.append(await together.add(pacing, fps, phases.uniform(0, 1 / fps)))
            await asyncio.sleep(options.ramp_step)
        start, end = await window(options.seconds)
    return Ramp(tuple(attempts)), row(together.players, pacing, fps, len(attempts), start, end)


async def measure_model(address: str, options: argparse.Namespace) -> dict[str, object]:
    """Runs everything and returns the figures."""
    async with cc.connect(address) as client:
        alone, four = [], []
        for number in range(options.rounds):
            alone.append(await free_rate(client, options, 1))
            four.append(await free_rate(client, options, 4))
            print(f"  free, round {number + 1}: one session {alone[-1]:.2f} frames/s, four {four[-1]:.2f} together")
        rate = statistics.median(alone)
        rows = []
        for count in options.counts:
            found = await side_by_side(client, options, count, rate)
            print(f"  {count} sessions would be below {SLOWEST_FPS} frames/s each" if found is None else told(found))
            rows += [found] if found else []
        fps = options.ramp_fps or max(SLOWEST_FPS, round(rate / 8, 1))
        ramps: dict[str, tuple[Ramp, Row]] = {}
        for pacing in ("lockstep", "live"):
            ramps[pacing] = reached, found = await ramp(client, options, pacing, fps)
            print(f"{told(found)}; the first {reached.limit} were taken, {reached.refused} refused, "
                  f"{reached.taken_late} taken after a refusal")  # fmt: skip
    lockstep, limit = ramps["lockstep"]
    return {
        "miss_rate": max((float(str(row["miss_rate"] or 0)) for _, row in ramps.values()), default=None),
        "jitter_one": rows[0]["jitter"] if rows and rows[0]["sessions"] == 1 else None,
        "jitter_limit": limit["jitter"],
        "four_over_one": round(statistics.median(both / one for one, both in zip(alone, four, strict=True)), 3),
        "limit": lockstep.limit,
        "refusals": lockstep.refused,
        "free_fps": round(rate, 2),
        "free_fps_of_four": round(statistics.median(four), 2),
        "rows": rows,
        "ramps": {
            pacing: {**found, "limit": reached.limit, "refused": reached.refused, "taken_late": reached.taken_late}
            for pacing, (reached, found) in ramps.items()
        },
    }


def told(found: Row) -> str:
    """A row as a line."""
    return (
        f"  {found['taken']} of {found['sessions']} sessions, {found['pacing']}, {found['fps']} frames/s each, "
        f"{found['frames_per_s']} together: missed {found['misses']} of {found['frames']}, between frames p50 "
        f"{found['p50_ms']} ms, p99 {found['p99_ms']} ms, jitter {found['jitter']} "
        f"({found['jitter_after_buffer']} after the buffer)"
    )


async def pictures(address: str, options: argparse.Namespace) -> npt.NDArray[np.uint8]:
    """Frames of the model, in the order they were drawn: (n, height, width, 3) RGB."""
    expansion = shipped.load_expansion(options.script)
    async with cc.connect(address) as client, await client.open_request(expansion.open_request) as session:
        turn = scene.lockstep_turn(states_of(expansion, options.pictures))
        return np.stack([frame.rgb async for frame in session.perform(turn)])
