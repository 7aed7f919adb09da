"""How responsive the front end stays while the model draws for several sessions at once.

    python benchmarks/loop_lag.py --json

Starts a real server in a process of its own and plays a shipped script's states to it in ``--sessions`` sessions
through the real client, turn after turn, so that the model is never idle. The server itself samples how late its event
loop comes to a timer (every 25 ms, in whole milliseconds of libuv's clock); this asks it for the figures once a minute
of samples has been filled with nothing but that load. Beside it, and for as long, an event loop with nothing to do is
sampled in a process of its own: what of the lag is the machine's. Then the metrics are scraped as Prometheus would.

  loop_lag_p50_ms, loop_lag_p99_ms  while nobody scrapes
  bare_p99_ms                       of the loop that has nothing to do, at the same time
  scraped_p99_ms                    while the metrics are scraped every ``--scrape`` seconds
  fps                               frames received a second, all sessions together
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator

from live import add_server_options, describe_machine, server_arguments, states_of

import cutscene_client as cc
from cutscene_client import scene, shipped
from cutscene_client.frames import TIERS
from cutscene_client.local_server import local_server
from cutscene_proto.v1 import cutscene_pb2 as pb

SAMPLED_S = 62.0  # what the server's figures look back on, and a little


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
        turn = scene.lockstep_turn(states_of(expansion, self._options.frames))
        async with await self._client.open_request(request) as session:
            while True:
                again = pb.Turn()
                again.CopyFrom(turn)
                again.turn_id = f"turn-{self.frames}-{time.monotonic_ns()}"
                async for _frame in session.perform(again):
                    self.frames += 1


@contextlib.asynccontextmanager
async def loaded(client: cc.Client, options: argparse.Namespace) -> AsyncIterator[Load]:
    """The load, for as long as the block lasts."""
    load = Load(client, options)
    tasks = [asyncio.create_task(load.play(seed)) for seed in range(options.sessions)]
    try:
        while load.frames < 4 * options.sessions:
            for task in tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.1)
        yield load
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def scraped(url: str, period_s: float) -> None:
    """Reads the metrics now and then, until it is cancelled."""
    while True:
        await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=10).read())  # noqa: S310 - our own server
        await asyncio.sleep(period_s)


def bare_loop(seconds: float) -> int:
    """The process of the comparison: an event loop like the server's that has nothing to do but to be sampled."""
    from cutscene_server.__main__ import loop_factory
    from cutscene_server.loop_lag import sampling
    from cutscene_server.observer import Observer

    async def idle() -> None:
        observer = Observer()
        async with sampling(observer, []):
            await asyncio.sleep(seconds)
        print(observer.recent.lag.p99_us / 1000)

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(idle())
    return 0


async def measure(options: argparse.Namespace) -> dict[str, object]:
    """Runs everything and returns the figures."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as probe:
        metrics = f"127.0.0.1:{probe.getsockname()[1]}"
    with local_server([*server_arguments(options), "--metrics-listen", metrics]) as address:
        async with cc.connect(address) as client, loaded(client, options) as load:
            bare = await asyncio.create_subprocess_exec(
                sys.executable, __file__, "--bare", "--seconds", str(options.seconds - 2), stdout=subprocess.PIPE
            )
            begun, before = time.perf_counter(), load.frames
            await asyncio.sleep(options.seconds)
            fps = (load.frames - before) / (time.perf_counter() - begun)
            quiet = await client.stats()
            bare_p99_ms = float((await bare.communicate())[0])
            scraper = asyncio.create_task(scraped(f"http://{metrics}/metrics", options.scrape))
            await asyncio.sleep(options.seconds)
            scraper.cancel()
            busy = await client.stats()
    return {
        "loop_lag_p50_ms": quiet.loop_lag.p50_ms,
        "loop_lag_p99_ms": quiet.loop_lag.p99_ms,
        "bare_p99_ms": bare_p99_ms,
        "scraped_p99_ms": busy.loop_lag.p99_ms,
        "fps": round(fps, 2),
        "stages_p50_ms": {stage: figures.p50_ms for stage, figures in quiet.stages.items()},
        "sessions": options.sessions,
        "tier": options.tier,
    }


def main() -> int:
    """Parses the command line, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=4, help="at once (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=48, help="a turn (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=SAMPLED_S, help="of either part (default: %(default)s)")
    parser.add_argument("--scrape", type=float, default=5.0, help="seconds between scrapes (default: %(default)s)")
    parser.add_argument("--script", default="tavern_dialogue", help="whose states (default: %(default)s)")
    parser.add_argument("--tier", default="standard", choices=list(TIERS))
    add_server_options(parser)
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        return bare_loop(options.seconds)
    print(describe_machine())
    figures = asyncio.run(measure(options))
    print(f"{options.sessions} sessions, {figures['fps']} frames/s together: event-loop lag p50 "
          f"{figures['loop_lag_p50_ms']} ms, p99 {figures['loop_lag_p99_ms']} ms (wanted: under 5), "
          f"that of a loop with nothing to do {figures['bare_p99_ms']} ms, "
          f"p99 {figures['scraped_p99_ms']} ms while scraped every {options.scrape:g} s")  # fmt: skip
    if options.json:
        print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
