"""What a server has and does now: its models, its sessions, its rates."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json

from cutscene_client import connect
from cutscene_client.commands.arguments import Commands, add_server, readable
from cutscene_client.stats import ServerStats


def add_commands(commands: Commands) -> None:
    """Adds ``models``, ``sessions`` and ``top`` to the tool's commands."""
    for name, text, run in (
        ("models", "the models that the server can play", _models),
        ("sessions", "the sessions that the server holds", _sessions),
    ):
        command = commands.add_parser(name, help=text, description=f"Lists {text}.")
        add_server(command)
        command.set_defaults(run=run)

    top = commands.add_parser(
        "top", help="watch a running server", description="Shows a server's sessions, rates, tiers and latencies, live."
    )
    top.add_argument("--once", action="store_true", help="print one table and end")
    top.add_argument(
        "--interval", type=readable(_seconds), default=1.0, metavar="SECONDS", help="between looks (default: 1)"
    )
    add_server(top)
    top.set_defaults(run=_top)


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


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.1 <= seconds <= 3600.0:
        raise ValueError(f"found {text}, allowed are 0.1 to 3600")
    return seconds
