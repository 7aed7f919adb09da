"""``cutscene play``: a script through a server, into a film."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from cutscene_client import connect, shipped
from cutscene_client.commands.arguments import Commands, add_server, add_tenant, readable, whole
from cutscene_client.expand import Expansion
from cutscene_client.frames import TIERS, Frame
from cutscene_client.playing import PlayFigures, play_script
from cutscene_client.references import read_references
from cutscene_proto.v1 import cutscene_pb2 as pb


def add_commands(commands: Commands) -> None:
    """Adds ``play`` to the tool's commands."""
    play = commands.add_parser("play", help="play a script into a film", description="Plays a script into a film.")
    play.add_argument(
        "script", metavar="SCRIPT", help="a YAML file, or the name of a shipped script (`cutscene scripts`)"
    )
    play.add_argument("-o", "--output", type=Path, required=True, metavar="FILM", help="the MP4 to write")
    play.add_argument("--sheet", type=Path, metavar="PNG", help="also write a contact sheet of 12 labelled frames")
    play.add_argument("--tier", choices=sorted(TIERS), default="", help="work a frame gets (default: the model's)")
    play.add_argument(
        "--model", default="", metavar="NAME", help="a model of `cutscene models` (default: the server's)"
    )
    play.add_argument("--pacing", choices=["lockstep", "live"], default="",
                      help="keep the script's frame rate: drawing every state, or skipping those that are overtaken"
                      " (default: no cadence, as fast as there is room)")  # fmt: skip
    play.add_argument("--lowest-tier", choices=sorted(TIERS), default="",
                      help="with --pacing: down to which tier frames may be drawn rather than be late")  # fmt: skip
    play.add_argument("--reference", type=Path, action="append", default=[], metavar="PICTURE",
                      help="a JPEG or PNG of what all is to look like, beside the script's own; up to four in all, if"
                      " the model takes any (`cutscene models`)")  # fmt: skip
    play.add_argument("--wait", action="store_true", help="wait in line if the server has no room")
    add_tenant(play)
    play.add_argument("--seed", type=readable(whole), metavar="N", help="in place of the script's own seed")
    add_server(play)
    play.set_defaults(run=_play)


def _play(options: argparse.Namespace) -> int:
    if options.lowest_tier and not options.pacing:
        print("cutscene: play: --lowest-tier is of a cadence: say --pacing too", file=sys.stderr)
        return 2
    expansion = shipped.load_expansion(options.script)
    for warning in expansion.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    figures = asyncio.run(
        play(
            expansion, options.server, options.output, options.sheet, options.model, options.tier, options.seed,
            pacing=options.pacing, lowest_tier=options.lowest_tier, wait=options.wait, tenant=options.tenant or "",
            references=read_references(options.reference),
        )
    )  # fmt: skip
    if options.json:
        written = {"film": str(options.output), "sheet": str(options.sheet) if options.sheet else None}
        print(json.dumps({**dataclasses.asdict(figures), **written}))
    else:
        print(figures.report())
        print(f"wrote {options.output}" + (f" and {options.sheet}" if options.sheet else ""))
    return 0


async def play(
    expansion: Expansion,
    server: str,
    film: Path,
    sheet: Path | None,
    model: str,
    tier: str,
    seed: int | None,
    *,
    pacing: str = "",
    lowest_tier: str = "",
    wait: bool = False,
    tenant: str = "",
    references: Sequence[pb.ReferencePicture] = (),
) -> PlayFigures:
    """``play_script`` with progress bars on the terminal."""
    async with connect(server, tenant=tenant) as client:
        with tqdm(total=expansion.frame_count, unit=" frames", desc="performing", leave=False) as bar:

            def on_frame(_frame: Frame) -> None:
                bar.update()

            def on_encoded(count: int) -> None:
                if count == 1:  # one after the other, so that the second is not timed from when the first began
                    bar.reset()
                    bar.set_description("writing", refresh=False)
                bar.update()

            def on_position(position: int) -> None:
                bar.set_postfix_str(f"waiting for room, at position {position}")

            return await play_script(
                client, expansion, film, sheet, model=model, tier=tier, seed=seed,
                pacing=pacing, lowest_tier=lowest_tier, references=references, wait=wait, on_position=on_position,
                on_frame=on_frame, on_encoded=on_encoded,
            )  # fmt: skip
