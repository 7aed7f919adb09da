"""``cutscene-server``: the command line."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cutscene_server import logs
from cutscene_server.config import LOG_LEVELS, ServerConfig, parse, read_config
from cutscene_server.errors import ConfigError, NotServing

# The inference process imports this module again (that is how a spawned process starts), so whatever is heavy, grpc
# among it, is imported where it is used.

DESCRIPTION = "Plays cutscenes: scene states go in over gRPC, a world model's frames come out."

EXAMPLES = """\
examples:
  cutscene-server                                    the shipped model on 127.0.0.1:50400
  cutscene-server --listen 127.0.0.1:0 --port-file server.addr
                                                     a free port; its address is in the file once the server is healthy
  cutscene-server --model models/dungeon --threads 2 other weights (a directory with manifest.json), two threads
  cutscene-server --render-output films              takes render jobs (cutscene render), and writes their films there
  cutscene-server --config server.toml               settings from a file, for example:
                                                         listen = "127.0.0.1:50400"
                                                         max_sessions = 8

Every setting can also be given in the environment: CUTSCENE_SERVER_MAX_SESSIONS=8. Flags win over the environment,
the environment over the file. Then, from another terminal:
  cutscene play SCRIPT -o out.mp4

exit codes: 0 stopped in order, 1 failed, 2 wrong configuration
"""

FLAGS: dict[str, str] = {
    "listen": "host:port to listen on; port 0 takes a free one",
    "port_file": "write the bound address here, atomically, once the server is healthy",
    "model": "directory of the model, with its manifest.json (default: the shipped weights)",
    "device": "what the model runs on",
    "threads": "threads of the model's arithmetic (default: the engine's choice)",
    "precision": "of the picture's layers: float32, bfloat16, or auto, the one that is fast on the device",
    "data": "directory in which sessions are stored (default: cutscene-server in the user's data directory)",
    "max_disk": "bytes that stored sessions may take: then closed ones are deleted, oldest first, and no more opened",
    "keep_closed": "seconds that closed sessions are stored",
    "keep_open": "seconds that open sessions are stored after their last turn",
    "sweep_period": "seconds between looks at the disk",
    "max_sessions": "sessions in memory at once; those without a client make place for others",
    "max_frames": "frames that one session may draw",
    "frame_latency": "seconds: frames of a session with pacing are due so long, and a frame time, after their state's",
    "hold_place": "seconds that a session with pacing keeps its place without drawing",
    "max_waiting": "clients that may wait in line for room",
    "tenant_sessions": "sessions that one tenant may have open; 0 is no limit",
    "tenant_frames": "frames a second that are drawn for one tenant; 0 is no limit",
    "tenant_bytes": "bytes a second that are sent to one tenant; 0 is no limit",
    "workers": "inference processes; on a processor they share its cores",
    "niceness": "of inference processes, 0 to 19: on busy cores the front end, which delivers frames, comes first",
    "max_import": "bytes that a session's file may have that is brought from another server",
    "render_output": "where the films of render jobs go: a directory, or s3://bucket/prefix (default: none are made)",
    "max_films": "bytes that films in a directory may take: then no job is taken, and no film put there",
    "max_render_jobs": "render jobs that may wait or be drawn at once",
    "render_at_once": "films that are drawn side by side while no live session wants a frame",
    "max_unfetched": "bytes of pictures in memory for clients that are away; beyond it their sessions wait on disk",
    "frame_timeout": "seconds that an inference process may be at one frame before it counts as hung and is replaced; "
    "0 is no limit, for a debugger",
    "load_timeout": "seconds that an inference process may take to load its model; 0 is no limit",
    "idle_timeout": "seconds that a session without a client stays in memory (it is on disk in any case)",
    "closed_linger": "seconds that a closed session's last frames can still be fetched",
    "write_timeout": "seconds that a client may leave a message unread, or a file unsent, before its stream is ended",
    "first_request_timeout": "seconds that a new stream has to open or resume a session",
    "stop_grace": "seconds that streams have to end when the server stops",
    "engine": "module:function that loads the model: the place for a backend of your own",
    "metrics_listen": "host:port at which Prometheus finds metrics; port 0 takes a free one",
    "log_level": f"one of {', '.join(LOG_LEVELS)}",
}
SWITCHES: dict[str, str] = {
    "allow_insecure_remote": "listen on an address that other machines reach although there is no TLS",
    "log_json": "log one JSON object a line",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the server until SIGINT or SIGTERM. Returns the exit code."""
    try:
        config = _read_arguments(arguments)
    except ConfigError as error:
        print(f"cutscene-server: {error}", file=sys.stderr)
        return 2
    # grpc's own threads write a line whenever a client's connection tells of an error, and wait if nobody reads them.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # Nothing here forks but to start another program. For that grpc need not stop its threads, as it does by default;
    # if the fork then fails, for want of room, they stay stopped, and no call is ever answered again.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    try:
        with (
            logs.to_standard_error(config.log_level, as_json=config.log_json),
            asyncio.Runner(loop_factory=loop_factory()) as runner,
        ):
            runner.run(_serve(config))
    except ConfigError as error:
        print(f"cutscene-server: {error}", file=sys.stderr)
        return 2
    except NotServing as error:
        print(f"cutscene-server: {error}", file=sys.stderr)
        return 1
    return 0


async def _serve(config: ServerConfig) -> None:
    from cutscene_server.running import run_server

    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine that runs has a task
    stop = asyncio.Event()

    def on_signal() -> None:
        if started:
            stop.set()
        else:
            task.cancel()  # still loading the model: there is nothing to say goodbye to

    started = False
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    try:
        async with run_server(config):
            started = True
            await stop.wait()
    except asyncio.CancelledError:
        if started:
            raise


def _read_arguments(arguments: Sequence[str] | None) -> ServerConfig:
    defaults = {field.name: field.default for field in dataclasses.fields(ServerConfig)}
    parser = argparse.ArgumentParser(
        "cutscene-server",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file of settings")
    for name, text in FLAGS.items():
        shown = text if defaults[name] is None else f"{text} (default: {defaults[name]})"
        parser.add_argument(_flag(name), metavar=_metavar(name), help=shown)
    for name, text in SWITCHES.items():
        parser.add_argument(_flag(name), action="store_true", help=text)
    given: dict[str, Any] = vars(parser.parse_args(arguments))
    file = given.pop("config", None)
    flags = {name: value if value is True else parse(name, value, _flag(name)) for name, value in given.items()}
    return read_config(flags, os.environ, file)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _metavar(name: str) -> str:
    if name in ("tenant_frames", "tenant_bytes"):
        return "RATE"
    kind = next(str(field.type) for field in dataclasses.fields(ServerConfig) if field.name == name)
    return {"int": "N", "float": "SECONDS", "Path": "PATH"}.get(kind.removesuffix(" | None"), name.upper())


def loop_factory() -> Any:
    """uvloop halves the delivery jitter of paced streams (benchmarks); it does not exist on Windows."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    sys.exit(main())
