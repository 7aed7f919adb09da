"""What ``load.py`` sets the service beside: a bare ``grpc.aio`` echo, one that encodes as well, and encoding alone."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import numpy.typing as npt
import simplejpeg
from load_echo import METHOD
from load_processes import process_s
from load_streams import channels

from cutscene_server import picture
from cutscene_server.terms import PixelDigest

Echo = grpc.aio.StreamStreamCall[bytes, bytes]

HERE = Path(__file__).resolve().parent
CONNECTIONS = 8
JPEG_QUALITY = 90  # the contract's own


@dataclass(frozen=True, slots=True)
class Rate:
    """Messages that came, and what each took of the host's processes."""

    per_s: float
    cpu_us: float


@dataclass(frozen=True, slots=True)
class Rates:
    """Of one round, measured one after the other."""

    service: Rate
    echo: Rate
    encoding: Rate


class Comparison:
    """Rounds of the service, the echo and the echo that encodes, in turns."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self.rounds: list[Rates] = []
        self.payload_bytes = 0

    async def measure(
        self, pictures: npt.NDArray[np.uint8], flood: Callable[[], Awaitable[tuple[Rate, bytes]]]
    ) -> None:
        """``flood``: what the service does when every stream takes what it can get, and one of its messages."""
        streams, seconds = self._options.echo_streams, self._options.echo_seconds
        with echo_server() as bare, echo_server(pictures, self._options.digest) as encoding:
            for number in range(self._options.rounds):
                ours, payload = await flood()
                self.payload_bytes = len(payload)
                echo = await echoed(bare, payload, streams, seconds)
                encoded = await echoed(encoding, payload, streams, seconds)
                self.rounds.append(Rates(ours, echo, encoded))
                print(f"  round {number + 1}: {ours.per_s:.0f} frames/s ({ours.cpu_us:.0f} us of processor time "
                      f"each), bare echo {echo.per_s:.0f} messages/s of {len(payload)} bytes ({echo.cpu_us:.0f} us), "
                      f"one that encodes {encoded.per_s:.0f} ({encoded.cpu_us:.0f} us)")  # fmt: skip

    def figures(self, pictures: npt.NDArray[np.uint8]) -> dict[str, object]:
        """Medians of the rounds."""

        def median(value: Callable[[Rates], float]) -> float:
            return statistics.median(map(value, self.rounds))

        digest_us = alone_us(pictures, lambda pixels: picture.digest_of(pixels, PixelDigest[self._digest]))
        jpeg_us = alone_us(pictures, lambda pixels: simplejpeg.encode_jpeg(
            pixels, quality=JPEG_QUALITY, colorspace="RGB", colorsubsampling="420"
        ))  # fmt: skip
        frame_us, echo_us = median(lambda each: each.service.cpu_us), median(lambda each: each.echo.cpu_us)
        alone_ms = (digest_us + jpeg_us) / 1000
        at_goal = max(self._options.streams) * self._options.stream_fps
        return {
            "echo_ratio": round(median(lambda each: each.service.per_s / each.echo.per_s), 3),
            "echo_ratio_encoded": round(median(lambda each: each.service.per_s / each.encoding.per_s), 3),
            "frames_per_s": round(median(lambda each: each.service.per_s), 1),
            "echo_per_s": round(median(lambda each: each.echo.per_s), 1),
            "echo_encoded_per_s": round(median(lambda each: each.encoding.per_s), 1),
            "payload_bytes": self.payload_bytes,
            "digest": self._options.digest,
            "encoder_ms": round(alone_ms, 3),
            "encoder_cores_at_goal": round(at_goal * alone_ms / 1000, 2),
            "cpu_us": {
                "frame": round(frame_us),
                "digest": round(digest_us),
                "jpeg": round(jpeg_us),
                "echo": round(echo_us),
                "rest": round(frame_us - digest_us - jpeg_us - echo_us),
            },
        }

    @property
    def _digest(self) -> str:
        return str(self._options.digest).upper()


@contextlib.contextmanager
def echo_server(pictures: npt.NDArray[np.uint8] | None = None, digest: str = "") -> Iterator[tuple[str, int]]:
    """``load_echo`` in a process of its own: its address and its number. With ``pictures`` it encodes one of them for
    each message."""
    with tempfile.TemporaryDirectory(prefix="cutscene-echo-") as folder:
        command = [sys.executable, str(HERE / "load_echo.py")]
        if pictures is not None:
            path = Path(folder, "pictures.npy")
            np.save(path, pictures)
            command += ["--pictures", str(path), "--digest", digest]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                yield process.stdout.readline().strip(), process.pid
            finally:
                process.stdin.close()


async def echoed(host: tuple[str, int], payload: bytes, streams: int, seconds: float) -> Rate:
    """Messages that come back, when every stream has one on its way."""
    address, process = host
    connections = channels(address, CONNECTIONS)
    calls: list[Echo] = [connections[number % CONNECTIONS].stream_stream(METHOD)() for number in range(streams)]
    came = 0

    async def play(call: Echo) -> None:
        nonlocal came
        while True:
            await call.write(payload)
            await call.read()
            came += 1

    tasks = [asyncio.create_task(play(call)) for call in calls]
    await asyncio.sleep(min(1.0, seconds))
    before, cpu_s, begun = came, process_s(process), time.perf_counter()
    await asyncio.sleep(seconds)
    count, seconds = came - before, time.perf_counter() - begun
    rate = Rate(count / seconds, 1e6 * (process_s(process) - cpu_s) / max(1, count))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for call in calls:
        call.cancel()
    await asyncio.gather(*[channel.close() for channel in connections])
    return rate


def alone_us(pictures: npt.NDArray[np.uint8], work: Callable[[npt.NDArray[np.uint8]], object]) -> float:
    """What it takes of a core for one picture with nothing beside it, median, microseconds."""
    times = []
    for number in range(64):
        begun = time.perf_counter()
        work(pictures[number % len(pictures)])
        times.append(time.perf_counter() - begun)
    return 1e6 * statistics.median(times)
