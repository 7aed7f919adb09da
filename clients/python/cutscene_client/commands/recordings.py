"""What was played from here, and what can be done with it: listed, performed again, moved to another server."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import sys
import time
from pathlib import Path

from tqdm import tqdm

from cutscene_client import connect, remembered
from cutscene_client.client import ReplayWish, SessionInfo
from cutscene_client.commands.arguments import (
    Commands,
    add_server,
    add_session,
    add_tenant,
    client_of,
    readable,
    session_of,
    whole,
)
from cutscene_client.frames import TIERS, Frame
from cutscene_client.moving import ImportedSession, read_file, save
from cutscene_client.replaying import ReplayFigures, read_camera, read_setting, replay


def add_commands(commands: Commands) -> None:
    """Adds ``recordings``, ``replay``, ``export`` and ``import`` to the tool's commands."""
    recordings = commands.add_parser(
        "recordings", help="the sessions that were played from here", description="Lists the sessions played from here."
    )
    add_server(recordings)
    recordings.set_defaults(run=_recordings)

    again = commands.add_parser(
        "replay", help="perform a recording again", description="Performs a recording again, as it was or otherwise."
    )
    add_session(again)
    again.add_argument("-o", "--output", type=Path, metavar="FILM", help="the MP4 to write")
    again.add_argument("--verify", action="store_true", help="compare every frame's digest with the recording's")
    again.add_argument(
        "--from", dest="first", type=readable(whole), default=0, metavar="FRAME", help="the first frame (default: 0)"
    )
    again.add_argument(
        "--to", dest="end", type=readable(whole), default=0, metavar="FRAME", help="one past the last frame"
    )
    again.add_argument("--tier", choices=sorted(TIERS), default="", help="work a frame gets (default: as it was)")
    again.add_argument("--camera", type=readable(read_camera), metavar="X,Y,Z:X,Y,Z[:DEGREES]",
                       help="from where, at what, and how wide (default: as it was; 40 degrees)")  # fmt: skip
    again.add_argument("--set", dest="settings", type=readable(read_setting), action="append", default=[],
                       metavar="cast.ID=COSTUME[/R,G,B]", help="how one of them is to look; repeatable")  # fmt: skip
    add_tenant(again)
    add_server(again)
    again.set_defaults(run=_replay)

    out = commands.add_parser(
        "export", help="write a session into a file", description="Writes a session into a file, for another server."
    )
    add_session(out)
    out.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the .cutscene file to write")
    add_tenant(out)
    add_server(out)
    out.set_defaults(run=_export)

    into = commands.add_parser(
        "import", help="bring a session from a file", description="Brings a session that another server has exported."
    )
    into.add_argument("file", type=Path, metavar="FILE", help="a .cutscene file")
    add_server(into)
    into.set_defaults(run=_import)


def _recordings(options: argparse.Namespace) -> int:
    async def ask() -> dict[str, SessionInfo]:
        async with connect(options.server) as client:
            return {session.id: session for session in await client.sessions()}

    known = [entry for entry in remembered.remembered() if entry.server == options.server]
    stored = asyncio.run(ask())
    shown = [(entry, stored[entry.session_id]) for entry in known if entry.session_id in stored]
    if options.json:
        plain = [{"id": e.session_id, "title": e.title, "frames": s.next_frame, "status": s.status} for e, s in shown]
        print(json.dumps(plain))
        return 0
    if not shown:
        print("no recordings: `cutscene play` makes one")
    for entry, session in shown:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.opened_unix_s))
        print(f"{entry.session_id}  {when}  {session.status:9} {session.next_frame:6} frames  {entry.title}")
    return 0


def _replay(options: argparse.Namespace) -> int:
    session_id, token = session_of(options)
    if options.output is None and not options.verify:
        print("cutscene: replay: say -o FILM, --verify, or both", file=sys.stderr)
        return 2
    wish = ReplayWish(options.first, options.end, options.tier, options.camera, tuple(options.settings))

    async def run() -> ReplayFigures:
        with tqdm(unit=" frames", desc="performing again", leave=False) as bar:

            def on_known(count: int) -> None:
                bar.total = count
                bar.refresh()

            def on_frame(_frame: Frame) -> None:
                bar.update()

            async with client_of(options) as client:
                return await replay(
                    client, session_id, token, wish, options.output, verify=options.verify,
                    on_frame=on_frame, on_known=on_known,
                )  # fmt: skip

    figures = asyncio.run(run())
    if options.json:
        print(json.dumps({**dataclasses.asdict(figures), "film": str(options.output) if options.output else None}))
    else:
        print(figures.report() + (f"\nwrote {options.output}" if options.output else ""))
    # Pixels that differ although nothing was to be different: that is what --verify is there to find.
    return 1 if figures.first_difference is not None and not figures.differences else 0


def _export(options: argparse.Namespace) -> int:
    session_id, token = session_of(options)

    async def run() -> int:
        async with client_of(options) as client:
            with tqdm(unit="B", unit_scale=True, desc="exporting", leave=False) as bar:
                return await save(client, session_id, token, options.output, bar.update)

    size = asyncio.run(run())
    if options.json:
        print(json.dumps({"file": str(options.output), "bytes": size}))
    else:
        print(f"wrote {options.output}, {size / 1e6:.1f} MB")
    return 0


def _import(options: argparse.Namespace) -> int:
    async def run() -> ImportedSession:
        async with connect(options.server) as client:
            size = options.file.stat().st_size
            with tqdm(total=size, unit="B", unit_scale=True, desc="importing", leave=False) as bar:
                return await client.import_session(read_file(options.file, bar.update))

    imported = asyncio.run(run())
    remembered.remember(imported.session_id, imported.token, options.server, options.file.stem)
    if options.json:
        print(json.dumps(dataclasses.asdict(imported)))
        return 0
    print(f"{imported.session_id}  next frame {imported.next_frame}")
    if imported.differences:
        print("its next frames need not be those of the other server, because of")
        print("\n".join(f"  {reason}" for reason in imported.differences))
    return 0
