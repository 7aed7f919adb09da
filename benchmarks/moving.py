"""What a session's file takes, how fast it is made and taken in, and what a live session notices of that.

    python benchmarks/moving.py --json

One session of a shipped script on a real server, exported and imported through the real client, several times. Then
another session is played alone, and again while files are made and taken in without a pause.

  bytes_per_frame                          of the file
  export_frames_per_s, export_mb_per_s     from the call to the last byte; medians
  import_frames_per_s, import_mb_per_s     from the call to the answer, everything checked and stored; medians
  live_gap_ms, live_gap_ms_p99             between a live session's frames: alone, and while files come and go
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import time

from live import add_server_options, describe_machine, server_arguments, states_of, timed_turn

import cutscene_client as cc
from cutscene_client import shipped
from cutscene_client.local_server import local_server

TURN_FRAMES = 240


async def moved(client: cc.Client, session: cc.Session) -> tuple[bytes, float, float]:
    """The file, and the seconds that making it and taking it in took."""
    begun = time.perf_counter()
    file = b"".join([chunk async for chunk in client.export_session(session.id, session.token)])
    made = time.perf_counter()
    imported = await client.import_session(file)
    taken = time.perf_counter()
    await client.close_session(imported.session_id, imported.token)
    return file, made - begun, taken - made


async def measure(options: argparse.Namespace) -> dict[str, object]:
    """Plays, moves, and returns the figures."""
    expansion = shipped.load_expansion(options.script)
    states = states_of(expansion, options.frames)
    gaps: dict[str, tuple[float, ...]] = {}
    with local_server(server_arguments(options)) as address:
        async with cc.connect(address) as client, await client.open_request(expansion.open_request) as session:
            for start in range(0, options.frames, TURN_FRAMES):
                await timed_turn(session, states[start : start + TURN_FRAMES])
            runs = [await moved(client, session) for _ in range(options.runs)]

            async def without_a_pause() -> None:
                while True:
                    await moved(client, session)

            async with await client.open_request(expansion.open_request) as live:
                await timed_turn(live, states[:24])  # the first frames make the anchors
                gaps["alone"] = (await timed_turn(live, states[:TURN_FRAMES])).gaps
                busy = asyncio.create_task(without_a_pause())
                gaps["beside_files"] = (await timed_turn(live, states[:TURN_FRAMES])).gaps
                busy.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await busy
    size, times = len(runs[0][0]), {"export": [run[1] for run in runs], "import": [run[2] for run in runs]}
    figures: dict[str, object] = {"frames": options.frames, "bytes_per_frame": round(size / options.frames)}
    for name, taken in times.items():
        seconds = statistics.median(taken)
        figures[f"{name}_frames_per_s"] = round(options.frames / seconds)
        figures[f"{name}_mb_per_s"] = round(size / 1e6 / seconds, 1)
    for name, values in gaps.items():
        ordered = sorted(1000 * gap for gap in values)
        figures[f"live_gap_ms_{name}"] = round(statistics.median(ordered), 1)
        figures[f"live_gap_ms_p99_{name}"] = round(ordered[int(0.99 * len(ordered))], 1)
    return figures


def main() -> int:
    """Parses the command line, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=480, help="of the session that is moved (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=7, help="(default: %(default)s)")
    parser.add_argument("--script", default="tavern_dialogue", help="whose states (default: %(default)s)")
    add_server_options(parser)
    options = parser.parse_args()
    print(describe_machine())
    figures = asyncio.run(measure(options))
    for name, value in figures.items():
        print(f"{name:28} {value}")
    if options.json:
        print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
