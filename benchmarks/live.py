"""One live session as a game would play it, against the bare model loop drawing the very same states.

    python benchmarks/live.py --json

Starts a real server in a process of its own, plays a shipped script's states to it through the real client (512x288,
standard tier, JPEG), and, turn and turn about with it, draws the same states with the engine alone in another process
that waits while the server works. Needs the client and server extras and the shipped weights (or ``--model``).

  fps                           frames received over the time from sending a turn to its last frame, median of the turns
  first_frame_ms                from sending a later turn to having its first frame, median
  later_turn_first_frame_ratio  that over the median time between two frames
  overhead_ratio                a frame's time through the service over its time in the bare loop, median of pairs
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cutscene_client as cc
from cutscene_client import scene, shipped
from cutscene_client.expand import Expansion
from cutscene_client.frames import TIERS
from cutscene_client.local_server import local_server
from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1 import scene_pb2 as spb

REST_S = 0.3  # between turns, so that a turn begins on a server with nothing left to do


@dataclass(frozen=True, slots=True)
class TurnTimes:
    """One turn as the client saw it, seconds."""

    first_frame: float
    whole: float
    gaps: tuple[float, ...]
    frames: int


def states_of(expansion: Expansion, count: int) -> list[spb.SceneState]:
    """``count`` states of a script, over again from the start where it is shorter."""
    every = [state for shot in expansion.shots for state in shot.states]
    return list(itertools.islice(itertools.cycle(every), count))


async def timed_turn(session: cc.Session, states: Sequence[spb.SceneState]) -> TurnTimes:
    """Performs one turn."""
    turn = scene.lockstep_turn(states)
    begun = time.perf_counter()
    arrivals = [time.perf_counter() async for _ in session.perform(turn)]
    gaps = tuple(later - earlier for earlier, later in itertools.pairwise(arrivals))
    return TurnTimes(arrivals[0] - begun, arrivals[-1] - begun, gaps, len(arrivals))


class BareLoop:
    """The engine alone in its own process: one line in, one run timed, one line out."""

    def __init__(self, options: argparse.Namespace) -> None:
        command = [sys.executable, __file__, "--bare", *forwarded(options)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._ask()  # loaded and warm

    def run(self) -> float:
        """Seconds a frame."""
        return float(self._ask())

    def _ask(self) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("run\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit("the bare loop's process has ended")
        return answer

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


def bare_loop(options: argparse.Namespace) -> int:
    """The process of ``BareLoop``: draws the states once for each line that it reads."""
    import importlib

    from cutscene_model.pipeline import Pipeline
    from cutscene_server.wire.scene import names_of, read_stage, read_state
    from cutscene_server.wire.violations import Violations

    module, _, function = options.engine.partition(":")
    engine = getattr(importlib.import_module(module), function)(options.model, threads=options.threads)
    expansion = shipped.load_expansion(options.script)
    violations = Violations()
    stage = read_stage(violations, expansion.open_request, engine.manifest)
    names = names_of(stage, engine.manifest)
    states = [read_state(violations, "state", s, names) for s in states_of(expansion, options.frames)]
    violations.raise_if_any()
    timeline, pipeline = engine.begin(stage, 1), Pipeline()
    for _line in sys.stdin:
        begun = time.perf_counter()
        for _ in pipeline.play(timeline, states, options.tier):
            pass
        print((time.perf_counter() - begun) / len(states), flush=True)
    return 0


def forwarded(options: argparse.Namespace) -> list[str]:
    """The options that the bare loop must share."""
    shared = ["--script", options.script, "--frames", str(options.frames), "--tier", options.tier]
    shared += ["--engine", options.engine]
    if options.model:
        shared += ["--model", str(options.model)]
    if options.threads:
        shared += ["--threads", str(options.threads)]
    return shared


def server_arguments(options: argparse.Namespace) -> list[str]:
    """The server that both benchmarks start."""
    arguments = ["--engine", options.engine, "--log-level", "WARNING"]
    if options.model:
        arguments += ["--model", str(options.model)]
    if options.threads:
        arguments += ["--threads", str(options.threads)]
    return arguments


def describe_machine() -> str:
    """One line on where this ran."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return (
        f"{os.cpu_count()} cores {platform.machine()}, Python {platform.python_version()}, load {load:.1f} at the start"
    )


async def measure(options: argparse.Namespace) -> dict[str, object]:
    """Runs everything and returns the figures."""
    expansion = shipped.load_expansion(options.script)
    states = states_of(expansion, options.frames)
    request = pb.Open()
    request.CopyFrom(expansion.open_request)
    request.tier = TIERS[options.tier]
    through, bare = [], []
    loop = BareLoop(options)
    try:
        with local_server(server_arguments(options)) as address:
            async with cc.connect(address) as client, await client.open_request(request) as session:
                print(f"{session.model} {session.video.width}x{session.video.height} JPEG, {session.tier} tier; "
                      f"{options.repeats} turns of {options.frames} frames of {options.script}")  # fmt: skip
                opening = await timed_turn(session, states)
                print(f"first turn of the session: first frame after {1000 * opening.first_frame:.0f} ms (not counted)")
                for number in range(options.repeats):
                    await asyncio.sleep(REST_S)
                    through.append(await timed_turn(session, states))
                    await asyncio.sleep(REST_S)
                    bare.append(loop.run())
                    frame_ms = 1000 * through[-1].whole / options.frames
                    print(f"  turn {number + 2}: first frame {1000 * through[-1].first_frame:6.1f} ms, "
                          f"{frame_ms:6.2f} ms a frame; bare loop {1000 * bare[-1]:6.2f}")  # fmt: skip
    finally:
        loop.close()
    frame = statistics.median(gap for turn in through for gap in turn.gaps)
    first = statistics.median(turn.first_frame for turn in through)
    pairs = [turn.whole / turn.frames / alone for turn, alone in zip(through, bare, strict=True)]
    return {
        "fps": round(statistics.median(turn.frames / turn.whole for turn in through), 2),
        "first_frame_ms": round(1000 * first, 2),
        "median_frame_ms": round(1000 * frame, 2),
        "later_turn_first_frame_ratio": round(first / frame, 3),
        "overhead_ratio": round(statistics.median(pairs), 3),
        "bare_frame_ms": round(1000 * statistics.median(bare), 2),
        "session_first_frame_ms": round(1000 * opening.first_frame, 2),
        "frames": options.frames,
        "repeats": options.repeats,
        "tier": options.tier,
    }


def main() -> int:
    """Parses the command line, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=96, help="a turn (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="turns that count (default: %(default)s)")
    parser.add_argument("--script", default="tavern_dialogue", help="whose states (default: %(default)s)")
    parser.add_argument("--tier", default="standard", choices=list(TIERS))
    add_server_options(parser)
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        return bare_loop(options)
    print(describe_machine())
    figures = asyncio.run(measure(options))
    print(f"{figures['fps']} frames/s (wanted: 15 now, 24 next); "
          f"later turns' first frame {figures['first_frame_ms']} ms, "
          f"{figures['later_turn_first_frame_ratio']} frame times (wanted: under 2); "
          f"{figures['overhead_ratio']} times the bare loop (wanted: at most 1.15)")  # fmt: skip
    if options.json:
        print(json.dumps(figures))
    return 0


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """What both benchmarks can vary in the server."""
    parser.add_argument("--model", type=Path, help="directory of the model (default: the shipped weights)")
    parser.add_argument("--engine", default="cutscene_model.loading:load_engine", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, help="of the model's arithmetic (default: the engine's choice)")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")


if __name__ == "__main__":
    sys.exit(main())
