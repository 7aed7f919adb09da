"""How responsive the front end stays while the model draws for several sessions at once.

    python benchmarks/loop_lag.py --json

Runs a real server in a process of its own and plays a shipped script's states to it in ``--sessions`` sessions through
the real client, turn after turn, so that the model is never idle. In the server's process the event loop is asked every
25 ms to come to a timer, and how late it comes is noted (uvloop's timers count whole milliseconds). Part of that is the
machine's: while the loop's thread is ready to run and all cores are taken, by the model's threads or by other programs.
Linux tells how long that was (``/proc/self/schedstat``), and so the lag is also given without it. Beside it, an event
loop that has nothing to do is sampled in the same way in another process.

  loop_lag_p50_ms, loop_lag_p99_ms  while nobody scrapes
  own_p99_ms                        the same, less what the thread waited for a core within the same 25 ms
  bare_p99_ms                       of the loop that has nothing to do, at the same time
  busy_p99_ms                       processor time that the loop's thread took in 25 ms
  scraped_p99_ms, scraped_own_p99_ms  while the metrics are scraped every ``--scrape`` seconds
  fps                               frames received a second, all sessions together
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

from live import add_server_options, describe_machine, states_of

import cutscene_client as cc
from cutscene_client import scene, shipped
from cutscene_client.frames import TIERS
from cutscene_proto.v1 import cutscene_pb2 as pb

PERIOD_S = 0.025

Figures = dict[str, float]


class Load:
    """Sessions that always have a turn to draw."""

    def __init__(self, client: cc.Client, options: argparse.Namespace) -> None:
        self._client = client
        self._options = options
        self.frames = 0

    async def play(self, seed: int) -> None:
        """One session, until it is cancelled."""
        expansion = shipped.load_expansion(self._options.script)
        request = pb.Open()
        request.CopyFrom(expansion.open_request)
        request.tier, request.seed = TIERS[self._options.tier], seed
        states = states_of(expansion, self._options.frames)
        async with await self._client.open_request(request) as session:
            while True:
                async for _frame in session.perform(scene.lockstep_turn(states)):
                    self.frames += 1


@contextlib.asynccontextmanager
async def loaded(client: cc.Client, options: argparse.Namespace) -> AsyncIterator[Load]:
    """The load, for as long as the block lasts. Begins once every session has drawn some frames."""
    load = Load(client, options)
    tasks = [asyncio.create_task(load.play(seed)) for seed in range(options.sessions)]
    try:
        while load.frames < 8 * options.sessions:
            for task in tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.1)
        yield load
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def sample(seconds: float) -> Figures:
    """How late this process's event loop comes to its timers. It must run on the main thread."""
    lags, own, busy = [], [], []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ran, waited = scheduled()
        due_ns = time.monotonic_ns() + round(1e9 * PERIOD_S)
        await asyncio.sleep(PERIOD_S)
        lag = max(0, time.monotonic_ns() - due_ns)
        ran_then, waited_then = scheduled()
        lags.append(lag / 1e6)
        own.append(max(0, lag - (waited_then - waited)) / 1e6)
        busy.append((ran_then - ran) / 1e6)
    return {
        "p50_ms": percentile(lags, 0.5),
        "p99_ms": percentile(lags, 0.99),
        "own_p99_ms": percentile(own, 0.99),
        "busy_p99_ms": percentile(busy, 0.99),
    }


def scheduled() -> tuple[int, int]:
    """Nanoseconds that the main thread ran, and that it was ready to run and waited for a core."""
    ran, waited, _ = Path(f"/proc/self/task/{os.getpid()}/schedstat").read_text().split()
    return int(ran), int(waited)


def percentile(values: list[float], share: float) -> float:
    """By nearest rank, to microseconds."""
    return round(sorted(values)[round(share * (len(values) - 1))], 3)


# ---- the processes that are sampled ---------------------------------------------------------------------------------


async def host(options: argparse.Namespace) -> None:
    """A server that says where it is, and then its figures over ``--seconds`` for each line that it is sent."""
    from cutscene_server.config import ServerConfig
    from cutscene_server.running import run_server

    with tempfile.TemporaryDirectory(prefix="cutscene-") as data:
        config = ServerConfig(
            listen="127.0.0.1:0", metrics_listen="127.0.0.1:0", data=Path(data), model=options.model,
            engine=options.engine, threads=options.threads, log_level="WARNING",
        )  # fmt: skip
        async with run_server(config) as server:
            print(json.dumps([server.address, server.metrics_address]), flush=True)
            while await asyncio.to_thread(sys.stdin.readline):
                print(json.dumps(await sample(options.seconds)), flush=True)


async def idle(options: argparse.Namespace) -> None:
    """An event loop that has nothing to do."""
    print(json.dumps(await sample(options.seconds)), flush=True)


class Sampled:
    """One of these processes, from the side of whoever reads what it prints."""

    def __init__(self, kind: str, options: argparse.Namespace) -> None:
        command = [sys.executable, __file__, "--role", kind, "--seconds", str(options.seconds)]
        command += ["--engine", options.engine]
        command += ["--model", str(options.model)] if options.model else []
        command += ["--threads", str(options.threads)] if options.threads else []
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    async def ask(self) -> Figures:
        """Has it sample once more."""
        assert self._process.stdin is not None
        self._process.stdin.write("sample\n")
        self._process.stdin.flush()
        return cast("Figures", await self.answer())

    async def answer(self) -> object:
        """The next line."""
        assert self._process.stdout is not None
        line = await asyncio.to_thread(self._process.stdout.readline)
        if not line:
            raise SystemExit("a process that was to be sampled has ended")
        return json.loads(line)

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate(timeout=30)


# ---- the measurement ------------------------------------------------------------------------------------------------


async def scraped(url: str, period_s: float) -> None:
    """Reads the metrics now and then, until it is cancelled."""
    while True:
        await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=10).read())  # noqa: S310 - our own server
        await asyncio.sleep(period_s)


async def measure(options: argparse.Namespace) -> dict[str, object]:
    """Runs everything and returns the figures."""
    server = Sampled("host", options)
    try:
        address, metrics = cast("list[str]", await server.answer())
        async with cc.connect(address) as client, loaded(client, options) as load:
            begun, before = time.perf_counter(), load.frames
            bare = Sampled("idle", options)
            quiet = await server.ask()
            fps = (load.frames - before) / (time.perf_counter() - begun)
            alone = cast("Figures", await bare.answer())
            bare.close()
            scraper = asyncio.create_task(scraped(f"http://{metrics}/metrics", options.scrape))
            read = await server.ask()
            scraper.cancel()
            await asyncio.gather(scraper, return_exceptions=True)
    finally:
        server.close()
    return {
        "loop_lag_p50_ms": quiet["p50_ms"],
        "loop_lag_p99_ms": quiet["p99_ms"],
        "own_p99_ms": quiet["own_p99_ms"],
        "bare_p99_ms": alone["p99_ms"],
        "busy_p99_ms": quiet["busy_p99_ms"],
        "scraped_p99_ms": read["p99_ms"],
        "scraped_own_p99_ms": read["own_p99_ms"],
        "fps": round(fps, 2),
        "sessions": options.sessions,
        "tier": options.tier,
        "seconds": options.seconds,
    }


def main() -> int:
    """Parses the command line, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=4, help="at once (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=48, help="a turn (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of either part (default: %(default)s)")
    parser.add_argument("--scrape", type=float, default=5.0, help="seconds between scrapes (default: %(default)s)")
    parser.add_argument("--script", default="tavern_dialogue", help="whose states (default: %(default)s)")
    parser.add_argument("--tier", default="standard", choices=list(TIERS))
    add_server_options(parser)
    parser.add_argument("--role", choices=["host", "idle"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role is not None:
        from cutscene_server.__main__ import loop_factory

        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(host(options) if options.role == "host" else idle(options))
        return 0
    print(describe_machine())
    figures = asyncio.run(measure(options))
    print(f"{options.sessions} sessions, {figures['fps']} frames/s together: event-loop lag p50 "
          f"{figures['loop_lag_p50_ms']} ms, p99 {figures['loop_lag_p99_ms']} ms (wanted: under 5); "
          f"p99 less the wait for a core {figures['own_p99_ms']} ms; of a loop with nothing to do "
          f"{figures['bare_p99_ms']} ms")  # fmt: skip
    print(f"scraped every {options.scrape:g} s: p99 {figures['scraped_p99_ms']} ms, "
          f"less the wait for a core {figures['scraped_own_p99_ms']} ms")  # fmt: skip
    if options.json:
        print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
