"""The second part of ``load.py``: the service itself, with pictures that are ready, against bare ``grpc.aio``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import os
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from arrivals import largest_that_holds, lateness, percentile
from live import states_of
from load_compared import Comparison, Rate
from load_processes import Processes
from load_streams import CREDIT, Playing, Stream, channels, opened
from ready_engine import DRAW_MS, PICTURES

from cutscene_client import shipped
from cutscene_client.frames import DIGESTS, PACINGS
from cutscene_client.local_server import local_server
from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1 import scene_pb2 as spb

HERE = Path(__file__).resolve().parent
TURN_FRAMES = 48
CONNECTIONS = 8
GRACE_S = 1.0  # after a window, for frames of it that are on their way
MOST_LATE_MS = 50.0  # at p99: what a count of streams must hold


@dataclass(frozen=True, slots=True)
class Delivery:
    """How the frames of a window came."""

    streams: int  # that were taken
    asked: int
    p50_ms: float  # from a frame's time to its arrival; infinite for one that did not come
    p99_ms: float
    frames_per_s: float
    encode_ms: float  # digest and codec, median, as the server says
    cores: dict[str, float]  # processor time by who took it, over the window

    @property
    def holds(self) -> bool:
        return self.streams == self.asked and self.p99_ms < MOST_LATE_MS


class Service:
    """A server whose pictures are ready, and the streams of this process."""

    def __init__(self, address: str, options: argparse.Namespace) -> None:
        self._options = options
        self._expansion = shipped.load_expansion(options.script)
        self._connections = channels(address, CONNECTIONS)
        self.processes = Processes()
        self.idle: list[Stream] = []

    @property
    def states(self) -> list[spb.SceneState]:
        return states_of(self._expansion, TURN_FRAMES)

    def request(self, pacing: str, fps: float) -> pb.Open:
        """What each stream says at first."""
        message = pb.Open()
        message.CopyFrom(self._expansion.open_request)
        message.video.pixel_digest = DIGESTS[self._options.digest]
        message.pacing, message.fps, message.frame_credit = PACINGS[pacing], fps, CREDIT
        message.tier = message.lowest_tier = pb.TIER_STANDARD
        return message

    async def open_idle(self, count: int) -> None:
        """Sessions that are open and draw nothing."""
        self.idle = await opened(self._connections, self.request("", 24.0), count)

    async def deliver(self, count: int) -> Delivery:
        """So many streams at once at ``--stream-fps``."""
        fps, options = self._options.stream_fps, self._options
        streams = await opened(self._connections, self.request("lockstep", fps), count)
        phases = random.Random(count)
        async with Playing(streams, self.states, [phases.uniform(0, TURN_FRAMES / fps) for _ in streams]):
            await asyncio.sleep(TURN_FRAMES / fps + options.warm_up)
            before, start = self.processes.cpu_s(), time.perf_counter()
            await asyncio.sleep(options.stream_seconds)
            after, end = self.processes.cpu_s(), time.perf_counter()
            await asyncio.sleep(GRACE_S)
        late = [delay for stream in streams for delay in _delays(stream, 1 / fps, start, end)]
        encode = [us for stream in streams for us in stream.encode_us]
        return Delivery(
            streams=len(streams),
            asked=count,
            p50_ms=round(1000 * percentile(late, 0.5), 2),
            p99_ms=round(1000 * percentile(late, 0.99), 2),
            frames_per_s=round(sum(start <= at <= end for s in streams for at in s.arrivals) / (end - start), 1),
            encode_ms=round(statistics.median(encode) / 1000, 3) if encode else math.nan,
            cores={name: round((after[name] - before[name]) / (end - start), 3) for name in after},
        )

    async def flood(self) -> tuple[Rate, bytes]:
        """What comes when every stream takes what it can get, and one of the messages."""
        streams, seconds = self._options.echo_streams, self._options.echo_seconds
        players = await opened(self._connections, self.request("", 24.0), streams)
        async with Playing(players, self.states, [0.0] * len(players)):
            await asyncio.sleep(self._options.warm_up)
            before, cpu_s = sum(len(player.arrivals) for player in players), self.processes.server_s()
            begun = time.perf_counter()
            await asyncio.sleep(seconds)
            count, seconds = sum(len(player.arrivals) for player in players) - before, time.perf_counter() - begun
            rate = Rate(count / seconds, 1e6 * (self.processes.server_s() - cpu_s) / max(1, count))
        return rate, players[0].last.SerializeToString()

    async def close(self) -> None:
        for stream in self.idle:
            stream.leave()
        await asyncio.gather(*[channel.close() for channel in self._connections])


def _delays(stream: Stream, period: float, start: float, end: float) -> Iterator[float]:
    """Of the frames whose time lies in the window: from that time to their arrival."""
    first = math.ceil((start - stream.begun) / period)
    last = math.floor((end - stream.begun) / period)
    delays = lateness(stream.arrivals, stream.begun, period)
    for number in range(first, last + 1):
        yield delays[number] if number < len(delays) else math.inf


@contextlib.contextmanager
def ready_server(
    pictures: npt.NDArray[np.uint8], sessions: int, draw_ms: dict[str, float] | None = None
) -> Iterator[str]:
    """The address of a server whose pictures are ready, or take ``draw_ms`` by tier."""
    with tempfile.TemporaryDirectory(prefix="cutscene-pictures-") as folder:
        np.save(Path(folder, PICTURES), pictures)
        Path(folder, DRAW_MS).write_text(json.dumps(draw_ms or {}))
        path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
        arguments = ["--engine", "ready_engine:load", "--model", folder, "--max-sessions", str(sessions)]
        with local_server([*arguments, "--log-level", "WARNING"], {"PYTHONPATH": path}) as address:
            yield address


@contextlib.asynccontextmanager
async def ready_service(options: argparse.Namespace, pictures: npt.NDArray[np.uint8]) -> AsyncIterator[Service]:
    """The server of this part."""
    with ready_server(pictures, options.idle + 2 * max([*options.streams, options.echo_streams])) as address:
        service = Service(address, options)
        try:
            yield service
        finally:
            await service.close()


async def measure_service(options: argparse.Namespace, pictures: npt.NDArray[np.uint8]) -> dict[str, object]:
    """Runs everything and returns the figures."""
    comparison = Comparison(options)
    async with ready_service(options, pictures) as service:
        await comparison.measure(pictures, service.flood)
        empty_mb = service.processes.memory_mb()
        begun = time.perf_counter()
        await service.open_idle(options.idle)
        opening_s = time.perf_counter() - begun
        idle_mb = service.processes.memory_mb()
        print(f"  {len(service.idle)} idle sessions opened in {opening_s:.0f} s: {empty_mb:.0f} MB, then {idle_mb:.0f}")
        seen: dict[int, Delivery] = {}

        async def holds(count: int) -> bool:
            seen[count] = found = await service.deliver(count)
            print(f"  {found.streams} of {count} streams at {options.stream_fps:g} frames/s: {found.frames_per_s} "
                  f"together, delivered p50 {found.p50_ms} ms, p99 {found.p99_ms} ms; cores {found.cores}")  # fmt: skip
            return found.holds

        most = await largest_that_holds(sorted(options.streams), holds)
        memory_mb = service.processes.memory_mb()
    return {
        "streams": most,
        "p99_ms": seen[most].p99_ms if most in seen else None,
        **comparison.figures(pictures),
        "idle": len(service.idle),
        "stream_fps": options.stream_fps,
        "memory_mb": round(memory_mb),
        "memory_mb_empty": round(empty_mb),
        "memory_mb_idle": round(idle_mb),
        "opened_per_s": round(len(service.idle) / opening_s, 1),
        "tried": [_plain(seen[count]) for count in sorted(seen)],
    }  # fmt: skip


def _plain(found: Delivery) -> dict[str, object]:
    finite: Sequence[float] = [found.p50_ms, found.p99_ms]
    p50, p99 = (value if math.isfinite(value) else None for value in finite)  # JSON has no infinity
    return {
        "asked": found.asked, "streams": found.streams, "p50_ms": p50, "p99_ms": p99,
        "frames_per_s": found.frames_per_s, "encode_ms": found.encode_ms, "cores": found.cores,
        "cpu_ms_a_frame": round(1000 * sum(found.cores.values()) / max(found.frames_per_s, 1e-3), 3),
    }  # fmt: skip
