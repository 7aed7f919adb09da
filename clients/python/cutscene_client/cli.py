"""``cutscene``: plays scripts through a server, and shows what there is to play."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from cutscene_client import connect, remembered, render_command, shipped
from cutscene_client.client import DEFAULT_ADDRESS, ReplayWish, SessionInfo
from cutscene_client.errors import CutsceneError, ServerUnreachable
from cutscene_client.expand import Expansion
from cutscene_client.frames import TIERS, Frame
from cutscene_client.library import load_library
from cutscene_client.moving import ImportedSession, read_file, save
from cutscene_client.playing import PlayFigures, play_script
from cutscene_client.references import read_references
from cutscene_client.replaying import ReplayFigures, read_camera, read_setting, replay
from cutscene_client.script import json_schema
from cutscene_client.stats import ServerStats
from cutscene_proto.v1 import cutscene_pb2 as pb

T = TypeVar("T")

SERVER_VARIABLE = "CUTSCENE_SERVER"

EXAMPLES = """\
examples:
  cutscene scripts                                   what can be played right away
  cutscene play tavern_dialogue -o tavern.mp4        play a shipped script
  cutscene play my_scene.yaml -o out.mp4 --sheet out.png --tier high
  cutscene play my_scene.yaml -o out.mp4 --reference still.jpg
                                                     with a picture of what it is to look like, if the model takes any
  cutscene render tavern_dialogue my_scene.yaml -o films
                                                     films made by the server while it has time
  cutscene recordings                                what was played, and can be played again
  cutscene replay 3f9a --verify                      again, and are the pixels the same?
  cutscene replay 3f9a -o other.mp4 --camera 0,2,5:0,1,0 --set cast.ada=mage
  cutscene export 3f9a -o tavern.cutscene            a session as a file, to be moved to another server
  cutscene import tavern.cutscene --server other:50400
  cutscene top                                       what a running server does now: sessions, rates, latencies
  cutscene check my_scene.yaml                       is it valid, and will the camera see what it should?
  cutscene library tavern                            the marks and lights of a room, to write scripts with
  cutscene schema > cutscene.schema.json             for editors that complete YAML

`play`, `render`, `replay`, `export`, `import`, `models`, `sessions` and `top` need a server: run `cutscene-server` in
another terminal.

exit codes: 0 done, 1 failed, 2 wrong arguments
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except ServerUnreachable as error:
        print(f"cutscene: {error}\nStart a server in another terminal and try again:\n"
              f"  cutscene-server --listen {options.server}", file=sys.stderr)  # fmt: skip
        return 1
    except BrokenPipeError:  # the reader of a list had seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (CutsceneError, OSError) as error:
        print(f"cutscene: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("cutscene: stopped", file=sys.stderr)
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "cutscene", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

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
    play.add_argument("--tenant", default="", metavar="NAME", help="in whose name the session is opened")
    play.add_argument("--seed", type=int, metavar="N", help="in place of the script's own seed")
    _add_server(play)
    play.set_defaults(run=_play)

    for name, text, run in (
        ("models", "the models that the server can play", _models),
        ("sessions", "the sessions that the server holds", _sessions),
    ):
        command = commands.add_parser(name, help=text, description=f"Lists {text}.")
        _add_server(command)
        command.set_defaults(run=run)

    render_command.add_commands(commands, _add_server)

    top = commands.add_parser(
        "top", help="watch a running server", description="Shows a server's sessions, rates, tiers and latencies, live."
    )
    top.add_argument("--once", action="store_true", help="print one table and end")
    top.add_argument(
        "--interval", type=_readable(_seconds), default=1.0, metavar="SECONDS", help="between looks (default: 1)"
    )
    _add_server(top)
    top.set_defaults(run=_top)

    recordings = commands.add_parser(
        "recordings", help="the sessions that were played from here", description="Lists the sessions played from here."
    )
    _add_server(recordings)
    recordings.set_defaults(run=_recordings)

    again = commands.add_parser(
        "replay", help="perform a recording again", description="Performs a recording again, as it was or otherwise."
    )
    _add_session(again)
    again.add_argument("-o", "--output", type=Path, metavar="FILM", help="the MP4 to write")
    again.add_argument("--verify", action="store_true", help="compare every frame's digest with the recording's")
    again.add_argument(
        "--from", dest="first", type=int, default=0, metavar="FRAME", help="the first frame (default: 0)"
    )
    again.add_argument("--to", dest="end", type=int, default=0, metavar="FRAME", help="one past the last frame")
    again.add_argument("--tier", choices=sorted(TIERS), default="", help="work a frame gets (default: as it was)")
    again.add_argument("--camera", type=_readable(read_camera), metavar="X,Y,Z:X,Y,Z[:DEGREES]",
                       help="from where, at what, and how wide (default: as it was; 40 degrees)")  # fmt: skip
    again.add_argument("--set", dest="settings", type=_readable(read_setting), action="append", default=[],
                       metavar="cast.ID=COSTUME[/R,G,B]", help="how one of them is to look; repeatable")  # fmt: skip
    _add_server(again)
    again.set_defaults(run=_replay)

    out = commands.add_parser(
        "export", help="write a session into a file", description="Writes a session into a file, for another server."
    )
    _add_session(out)
    out.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the .cutscene file to write")
    _add_server(out)
    out.set_defaults(run=_export)

    into = commands.add_parser(
        "import", help="bring a session from a file", description="Brings a session that another server has exported."
    )
    into.add_argument("file", type=Path, metavar="FILE", help="a .cutscene file")
    _add_server(into)
    into.set_defaults(run=_import)

    scripts = commands.add_parser("scripts", help="the scripts that ship with this package")
    _add_json(scripts)
    scripts.set_defaults(run=_scripts)

    check = commands.add_parser("check", help="validate a script without a server")
    check.add_argument("script", metavar="SCRIPT", help="a YAML file, or the name of a shipped script")
    _add_json(check)
    check.set_defaults(run=_check)

    library = commands.add_parser("library", help="rooms, clips, costumes and looks to write scripts with")
    library.add_argument("room", nargs="?", metavar="ROOM", help="show this room's marks and lights")
    _add_json(library)
    library.set_defaults(run=_library)

    schema = commands.add_parser("schema", help="print the JSON schema of the script format")
    schema.set_defaults(run=_schema)
    return parser


def _readable(read: Callable[[str], T]) -> Callable[[str], T]:
    """A reader whose complaint argparse shows as it is."""

    def checked(text: str) -> T:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return checked


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.1 <= seconds <= 3600.0:
        raise ValueError(f"found {text}, allowed are 0.1 to 3600")
    return seconds


def _add_session(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("session", metavar="ID", help="the session, or the beginning of its id (`cutscene recordings`)")
    parser.add_argument("--token", default="", help="of a session that was not played from here")


def _session(options: argparse.Namespace) -> tuple[str, str]:
    """The id and token of the session that is meant. Raises ``UnknownRecording``."""
    if options.token:
        return options.session, options.token
    entry = remembered.find(options.session)
    return entry.session_id, entry.token


def _add_server(parser: argparse.ArgumentParser) -> None:
    default = os.environ.get(SERVER_VARIABLE, DEFAULT_ADDRESS)
    parser.add_argument(
        "--server", default=default, metavar="HOST:PORT", help=f"(default: {SERVER_VARIABLE} or {DEFAULT_ADDRESS})"
    )
    _add_json(parser)


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")


# ---- commands -------------------------------------------------------------------------------------------------------


def _play(options: argparse.Namespace) -> int:
    expansion = shipped.load_expansion(options.script)
    for warning in expansion.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    figures = asyncio.run(
        play(
            expansion, options.server, options.output, options.sheet, options.model, options.tier, options.seed,
            pacing=options.pacing, lowest_tier=options.lowest_tier, wait=options.wait, tenant=options.tenant,
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
    drawing = tqdm(total=expansion.frame_count, unit=" frames", desc="performing", leave=False)
    writing = tqdm(total=expansion.frame_count, unit=" frames", desc="writing   ", leave=False, delay=1)

    def on_frame(_frame: Frame) -> None:
        drawing.update()

    def on_encoded(_count: int) -> None:
        writing.update()

    def on_position(position: int) -> None:
        drawing.set_postfix_str(f"waiting for room, at position {position}")

    with drawing, writing:
        async with connect(server, tenant=tenant) as client:
            return await play_script(
                client, expansion, film, sheet, model=model, tier=tier, seed=seed,
                pacing=pacing, lowest_tier=lowest_tier, references=references, wait=wait, on_position=on_position,
                on_frame=on_frame, on_encoded=on_encoded,
            )  # fmt: skip


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
    session_id, token = _session(options)
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

            async with connect(options.server) as client:
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
    session_id, token = _session(options)

    async def run() -> int:
        async with connect(options.server) as client:
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


def _models(options: argparse.Namespace) -> int:
    async def ask() -> int:
        async with connect(options.server) as client:
            models = await client.models()
        if options.json:
            print(json.dumps([dataclasses.asdict(model) for model in models]))
            return 0
        for model in models:
            tiers = ", ".join(
                f"{name} ({steps} step{'s' if steps != 1 else ''})" for name, steps in model.tiers.items()
            )
            print(f"{model.name} {model.version}  {model.width}x{model.height}  tiers: {tiers}")
            print(f"  digest   {model.digest}\n  license  {model.license or 'not said'}")
            print(f"  costumes {', '.join(model.costumes)}\n  emotions {', '.join(model.emotions)}")
            print(f"  looks    {len(model.looks)} (all of them with --json)")
            print(f"  reference pictures {f'up to {model.references}' if model.references else 'none'}")
        return 0

    return asyncio.run(ask())


def _sessions(options: argparse.Namespace) -> int:
    async def ask() -> int:
        async with connect(options.server) as client:
            sessions = await client.sessions()
        if options.json:
            print(json.dumps([dataclasses.asdict(session) for session in sessions]))
            return 0
        if not sessions:
            print("no sessions")
        for session in sessions:
            print(
                f"{session.id}  {session.status:10}  {session.model}  next frame {session.next_frame}, "
                f"acknowledged {session.acked_frame}, {session.turns_waiting} turns waiting, "
                f"{session.usage.compute_us / 1e6:.1f} s computed"
            )
        return 0

    return asyncio.run(ask())


def _top(options: argparse.Namespace) -> int:
    # rich takes a tenth of a second to load, which the other commands need not wait for.
    from rich.console import Console

    from cutscene_client import top

    async def look() -> ServerStats:
        async with connect(options.server) as client:
            return await client.stats()

    async def watch() -> None:
        async with connect(options.server) as client:
            await top.watch(client, Console(), options.interval)

    if options.json:
        print(json.dumps(dataclasses.asdict(asyncio.run(look()))))
    elif options.once:
        top.plain_console().print(top.Screen(asyncio.run(look()), options.server))
    else:
        with contextlib.suppress(KeyboardInterrupt):  # how it is left
            asyncio.run(watch())
    return 0


def _scripts(options: argparse.Namespace) -> int:
    found = [(name, shipped.load(name)) for name in shipped.names()]
    if options.json:
        print(json.dumps([{"name": name, "title": script.title, "about": script.about} for name, script in found]))
        return 0
    for name, script in found:
        print(f"{name:18} {script.title}: {script.about}")
    return 0


def _check(options: argparse.Namespace) -> int:
    expansion = shipped.load_expansion(options.script)
    seconds = expansion.frame_count / expansion.open_request.fps
    if options.json:
        shots = [{"name": shot.name, "frames": len(shot.states)} for shot in expansion.shots]
        print(
            json.dumps({"title": expansion.title, "seconds": seconds, "shots": shots, "warnings": expansion.warnings})
        )
        return 0
    print(f"{expansion.title}: valid, {len(expansion.shots)} shots, {expansion.frame_count} frames, {seconds:.1f} s")
    for warning in expansion.warnings:
        print(f"warning: {warning}")
    return 0


def _library(options: argparse.Namespace) -> int:
    library = load_library()
    if options.room:
        room = library.room(options.room)
        marks = {mark.name: {"kind": mark.kind, "at": mark.position, "yaw": mark.yaw} for mark in room.marks.values()}
        if options.json:
            print(json.dumps({"room": room.name, "lights": list(room.lights), "marks": marks}))
            return 0
        print(f"{room.name}\nlights: {', '.join(room.lights)}\nmarks (x, z in metres):")
        for mark in room.marks.values():
            print(f"  {mark.name:16} {mark.kind:6} {mark.position[0]:6.2f} {mark.position[2]:6.2f}")
        return 0
    lists = {
        "rooms": list(library.rooms),
        "clips": list(library.clips),
        "costumes": list(library.costumes),
        "held": list(library.weapons),
        "looks": list(library.looks),
    }
    if options.json:
        print(json.dumps(lists))
        return 0
    for kind, names in lists.items():
        print(f"{kind}: {', '.join(names)}\n")
    return 0


def _schema(_options: argparse.Namespace) -> int:
    print(json.dumps(json_schema(), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
