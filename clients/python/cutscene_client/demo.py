"""``make demo``: starts a server, plays a shipped script through the real client, shows what came out."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cutscene_client import shipped
from cutscene_client.commands.play import play
from cutscene_client.errors import CutsceneError
from cutscene_client.frames import TIERS
from cutscene_client.local_server import local_server


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demo. Returns the exit code."""
    parser = argparse.ArgumentParser("make demo", description=__doc__)
    parser.add_argument("--script", default="tavern_dialogue", help="a shipped script or a file (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for demo.mp4 and demo.png")
    parser.add_argument("--tier", choices=sorted(TIERS), default="", help="work a frame gets (default: the model's)")
    parser.add_argument("server_arguments", nargs="*", help="after --: passed to cutscene-server")
    options = parser.parse_args(arguments)
    film, sheet = options.out / "demo.mp4", options.out / "demo.png"
    try:
        expansion = shipped.load_expansion(options.script)
        begun = time.perf_counter()
        with local_server(options.server_arguments) as address:
            print(f"server on {address}, ready after {time.perf_counter() - begun:.1f} s", flush=True)
            figures = asyncio.run(play(expansion, address, film, sheet, "", options.tier, None))
    except CutsceneError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    print(figures.report())
    print(f"server stopped; look at {film} and {sheet}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
