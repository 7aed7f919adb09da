"""Does a turn cost more the longer a session has lasted? The first frame of turns about 2, 20 and 200 of one session.

    python benchmarks/turns.py --json

One session on a real server through the real client, 200 turns of a few frames each. One turn's first frame is a noisy
figure, so each is the median of the seven turns about it: 2 to 8, 17 to 23, 194 to 200. Turn 1 is left out because it
makes the anchors. A turn has more frames than the model's window, so that every turn but the first finds a full one.

  turn_200_over_turn_2  median of turns 194-200 over median of turns 2-8; 1 is flat
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys

from live import add_server_options, describe_machine, server_arguments, states_of, timed_turn

import cutscene_client as cc
from cutscene_client import shipped
from cutscene_client.frames import TIERS
from cutscene_client.local_server import local_server
from cutscene_proto.v1 import cutscene_pb2 as pb

TURNS = 200
GROUPS = {"turn_2": range(2, 9), "turn_20": range(17, 24), "turn_200": range(194, 201)}
PAUSE_S = 0.02  # the last frame's block is made after the frame is sent


async def measure(options: argparse.Namespace) -> dict[str, object]:
    """Plays 200 turns and returns the figures."""
    expansion = shipped.load_expansion(options.script)
    request = pb.Open()
    request.CopyFrom(expansion.open_request)
    request.tier = TIERS[options.tier]
    states = states_of(expansion, options.frames)  # the same in every turn: only the session's age differs
    firsts: dict[int, float] = {}
    with local_server(server_arguments(options)) as address:
        async with cc.connect(address) as client, await client.open_request(request) as session:
            print(f"{session.model} {session.video.width}x{session.video.height}, {session.tier} tier; "
                  f"{TURNS} turns of {options.frames} frames of {options.script}, medians of 7 turns each")  # fmt: skip
            for number in range(1, TURNS + 1):
                firsts[number] = (await timed_turn(session, states)).first_frame
                await asyncio.sleep(PAUSE_S)
    medians = {name: 1000 * statistics.median(firsts[turn] for turn in turns) for name, turns in GROUPS.items()}
    return {
        **{f"{name}_first_frame_ms": round(value, 2) for name, value in medians.items()},
        "turn_20_over_turn_2": round(medians["turn_20"] / medians["turn_2"], 3),
        "turn_200_over_turn_2": round(medians["turn_200"] / medians["turn_2"], 3),
        "frames_a_turn": options.frames,
        "tier": options.tier,
    }


def main() -> int:
    """Parses the command line, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=6, help="a turn (default: %(default)s)")
    parser.add_argument("--script", default="tavern_dialogue", help="whose states (default: %(default)s)")
    parser.add_argument("--tier", default="standard", choices=list(TIERS))
    add_server_options(parser)
    options = parser.parse_args()
    print(describe_machine())
    figures = asyncio.run(measure(options))
    print(f"first frame of turns 2-8: {figures['turn_2_first_frame_ms']} ms, "
          f"17-23: {figures['turn_20_first_frame_ms']} ms, 194-200: {figures['turn_200_first_frame_ms']} ms; "
          f"the last over the first: "
          f"{figures['turn_200_over_turn_2']} (1 is flat)")  # fmt: skip
    if options.json:
        print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
