"""A render job beside a live session: what the job takes from the session, and what it makes of idle time.

    python benchmarks/renders.py --json

Starts a real server and plays a live session's turns (512x288, standard tier, JPEG), turn and turn about alone and
while a render job waits for every moment that the session leaves. Between turns the job has the machine to itself,
encoder included: that is its pace. Needs the client and server extras and the shipped weights (or ``--model``).

  live_fps_ratio        the session's frames a second beside a job over those alone, median of pairs
  live_gap_p99_ratio    the same of the 99th percentile of the time between two frames, over all turns
  first_frame_extra_ms  how much longer a turn's first frame takes beside a job, median of pairs
  render_fps            frames a second that the job draws while no live session wants one, median
  render_over_live      that over the live session's frames a second alone
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time

from live import REST_S, TurnTimes, add_server_options, describe_machine, server_arguments, states_of, timed_turn

import cutscene_client as cc
from cutscene_client import scene, shipped
from cutscene_client.frames import TIERS
from cutscene_client.local_server import local_server
from cutscene_proto.v1 import cutscene_pb2 as pb

WARM_FRAMES = 24  # of a job, before it is looked at


async def drawn(render: cc.Render, frames: int) -> int:
    """Waits until so many of the job's frames are drawn. Returns how many are."""
    while (done := (await render.progress()).frames_done) < frames:  # noqa: ASYNC110 - another process's
        await asyncio.sleep(0.02)
    return done


async def pace(render: cc.Render, frames: int) -> float:
    """Frames a second over the next ``frames``."""
    first, begun = await drawn(render, (await render.progress()).frames_done + 1), time.perf_counter()
    last = await drawn(render, first + frames)
    return (last - first) / (time.perf_counter() - begun)


async def measure(options: argparse.Namespace, films: str) -> dict[str, object]:
    """Runs everything and returns the figures."""
    expansion = shipped.load_expansion(options.script)
    states = states_of(expansion, options.frames)
    request = pb.Open()
    request.CopyFrom(expansion.open_request)
    request.tier = TIERS[options.tier]
    long_turn = scene.lockstep_turn(states_of(expansion, 2048), "long")
    alone: list[TurnTimes] = []
    beside: list[TurnTimes] = []
    paces: list[float] = []
    stolen: list[int] = []
    with local_server([*server_arguments(options), "--render-output", films]) as address:
        async with cc.connect(address) as client, await client.open_request(request) as session:
            print(f"{session.model} {session.video.width}x{session.video.height}, {session.tier} tier; "
                  f"{options.repeats} pairs of turns of {options.frames} frames of {options.script}")  # fmt: skip
            await timed_turn(session, states)
            for number in range(options.repeats):
                await asyncio.sleep(REST_S)
                alone.append(await timed_turn(session, states))
                render = await client.render([cc.RenderItem("beside", request, [long_turn])])
                await drawn(render, WARM_FRAMES)
                paces.append(await pace(render, options.frames))
                before = (await render.progress()).frames_done
                beside.append(await timed_turn(session, states))
                stolen.append((await render.progress()).frames_done - before)
                await render.cancel()
                print(f"  pair {number + 1}: {1000 * alone[-1].whole / options.frames:6.2f} ms a frame alone, "
                      f"{1000 * beside[-1].whole / options.frames:6.2f} beside a job that drew {stolen[-1]} frames "
                      f"meanwhile; the job by itself {1000 / paces[-1]:6.2f}")  # fmt: skip
    live_fps = statistics.median(turn.frames / turn.whole for turn in alone)
    pairs = list(zip(alone, beside, strict=True))
    return {
        "live_fps_ratio": round(statistics.median(one.whole / other.whole for one, other in pairs), 3),
        "live_gap_p99_ratio": round(gap_p99(beside) / gap_p99(alone), 3),
        "first_frame_extra_ms": round(
            1000 * statistics.median(other.first_frame - one.first_frame for one, other in pairs), 1
        ),
        "render_fps": round(statistics.median(paces), 2),
        "render_over_live": round(statistics.median(paces) / live_fps, 3),
        "live_fps": round(live_fps, 2),
        "frames_drawn_beside": stolen,
        "frames": options.frames,
        "repeats": options.repeats,
        "tier": options.tier,
    }


def gap_p99(turns: list[TurnTimes]) -> float:
    """Seconds."""
    gaps = sorted(gap for turn in turns for gap in turn.gaps)
    return gaps[int(0.99 * (len(gaps) - 1))]


def main() -> int:
    """Parses the command line, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=96, help="a turn (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="pairs of turns (default: %(default)s)")
    parser.add_argument("--script", default="tavern_dialogue", help="whose states (default: %(default)s)")
    parser.add_argument("--tier", default="standard", choices=list(TIERS))
    add_server_options(parser)
    options = parser.parse_args()
    print(describe_machine())
    with tempfile.TemporaryDirectory(prefix="cutscene-films-") as films:
        figures = asyncio.run(measure(options, films))
    print(f"a live session beside a render job keeps {figures['live_fps_ratio']} of its frame rate, its first frames "
          f"come {figures['first_frame_extra_ms']} ms later; by itself the job draws {figures['render_fps']} frames/s, "
          f"{figures['render_over_live']} of a live session's")  # fmt: skip
    if options.json:
        print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
