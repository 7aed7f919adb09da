"""What is needed to write scripts, without a server: those that ship, the library, a check, the schema."""

from __future__ import annotations

import argparse
import json

from cutscene_client import shipped
from cutscene_client.commands.arguments import Commands, add_json
from cutscene_client.library import load_library
from cutscene_client.script import json_schema


def add_commands(commands: Commands) -> None:
    """Adds ``scripts``, ``check``, ``library`` and ``schema`` to the tool's commands."""
    scripts = commands.add_parser("scripts", help="the scripts that ship with this package")
    add_json(scripts)
    scripts.set_defaults(run=_scripts)

    check = commands.add_parser("check", help="validate a script without a server")
    check.add_argument("script", metavar="SCRIPT", help="a YAML file, or the name of a shipped script")
    add_json(check)
    check.set_defaults(run=_check)

    library = commands.add_parser("library", help="rooms, clips, costumes and looks to write scripts with")
    library.add_argument("room", nargs="?", metavar="ROOM", help="show this room's marks and lights")
    add_json(library)
    library.set_defaults(run=_library)

    schema = commands.add_parser("schema", help="print the JSON schema of the script format")
    schema.set_defaults(run=_schema)


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
