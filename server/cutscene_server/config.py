"""The server's configuration: one frozen record, read once at the edge.

Each setting has one name everywhere: ``idle_timeout`` in a TOML file, ``CUTSCENE_SERVER_IDLE_TIMEOUT`` in the
environment, ``--idle-timeout`` on the command line. The command line wins over the environment, the environment over
the file, the file over the defaults. A name that is not a setting is an error wherever it stands.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cutscene_model.engine import PRECISIONS
from cutscene_server.errors import ConfigError

ENVIRONMENT_PREFIX = "CUTSCENE_SERVER_"
MOST_THREADS = 256
LEAST_TIMEOUT_S = 0.1  # of what an inference process does: it may well take less than that
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Every setting of one server."""

    listen: str = "127.0.0.1:50400"  # host:port; port 0 takes a free one
    allow_insecure_remote: bool = False  # listen without TLS on an address that other machines reach
    port_file: Path | None = None  # the bound address is written here once the server is healthy
    model: Path | None = None  # a directory with manifest.json; None: the weights that ship with the package
    engine: str = "cutscene_model.loading:load_engine"  # module:function that loads the model
    device: str = "cpu"
    threads: int | None = None  # of the model's arithmetic; None: the engine's choice
    precision: str = "auto"  # of the networks' layers; auto: bfloat16 where the device multiplies such numbers
    data: Path | None = None  # where sessions are stored; None: cutscene-server in the user's data directory
    max_disk: int = 50 << 30  # bytes that stored sessions may take: then closed ones are deleted, and no more opened
    keep_closed: float = 30 * 86400.0  # seconds that closed sessions are stored
    keep_open: float = 180 * 86400.0  # seconds that open sessions are stored after their last turn
    sweep_period: float = 60.0  # seconds between looks at the disk
    max_sessions: int = 32  # in memory at once; those without a client make place for others
    max_frames: int = 1_000_000  # that one session may draw
    frame_latency: float = 0.3  # seconds, beside a frame time, that a frame with pacing may take
    hold_place: float = 30.0  # seconds that such a session keeps its place without drawing
    max_waiting: int = 64  # clients that may wait for room
    tenant_sessions: int = 0  # sessions that one tenant may have open; 0: no limit
    tenant_frames: float = 0.0  # frames a second drawn for one tenant; 0: no limit
    tenant_bytes: float = 0.0  # bytes a second sent to one tenant; 0: no limit
    workers: int = 1  # inference processes
    niceness: int = 5  # of theirs, so that whatever wakes to deliver a frame need not wait for a core
    max_import: int = 1 << 30  # bytes of a session's file that is brought from another server
    render_output: str | None = None  # where films go: a directory, or s3://bucket/prefix; None: none are made
    max_films: int = (
        20 << 30
    )  # bytes that films in a local directory may take; then no job is taken and no film put there
    max_render_jobs: int = 32  # that may wait or be drawn at once
    render_at_once: int = 1  # films that are drawn side by side, while no live session wants a frame
    max_unfetched: int = 32 << 20  # bytes of pictures in memory for clients that are away; beyond, sessions are on disk
    frame_timeout: float = 20.0  # seconds that an inference process may be at one frame, or it hangs; 0: no limit
    load_timeout: float = 600.0  # seconds that it may take to load its model; 0: no limit
    idle_timeout: float = 900.0  # seconds that a session without a client stays in memory; it is on disk in any case
    closed_linger: float = 60.0  # seconds that a closed session's last frames can still be fetched
    write_timeout: float = 20.0  # seconds a client may leave a message unread, or a file unsent, before it is gone
    first_request_timeout: float = 30.0  # seconds a new stream has to say `open` or `resume`
    stop_grace: float = 3.0  # seconds that streams have to end when the server stops
    metrics_listen: str | None = None  # host:port at which Prometheus finds the metrics; None: nowhere
    log_level: str = "INFO"
    log_json: bool = False

    def __post_init__(self) -> None:
        self._check_reach("listen", self.listen, self.address)
        if self.metrics_listen is not None:
            self._check_reach("metrics_listen", self.metrics_listen, _address("metrics_listen", self.metrics_listen))
        module, separator, function = self.engine.partition(":")
        if not (module and separator and function):
            raise ConfigError(f"engine: {self.engine!r} is not of the form module:function")
        if self.log_level not in LOG_LEVELS:
            raise ConfigError(f"log_level: {self.log_level!r} is not one of {', '.join(LOG_LEVELS)}")
        if self.precision not in PRECISIONS:
            raise ConfigError(f"precision: {self.precision!r} is not one of {', '.join(PRECISIONS)}")
        # OpenMP ends the process, without a word, if the machine will not start that many.
        if self.threads is not None and not 1 <= self.threads <= MOST_THREADS:
            raise ConfigError(f"threads: {self.threads} is not one of 1 to {MOST_THREADS}")
        for name in (
            "max_sessions",
            "max_frames",
            "max_import",
            "max_waiting",
            "workers",
            "max_render_jobs",
            "render_at_once",
            "max_unfetched",
        ):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: {getattr(self, name)} is not at least 1")
        if not 0 <= self.niceness <= 19:
            raise ConfigError(f"niceness: {self.niceness} is not one of 0 to 19")
        for name in ("tenant_sessions", "tenant_frames", "tenant_bytes"):
            if not 0 <= getattr(self, name) < 1e15:
                raise ConfigError(f"{name}: {getattr(self, name)} is not a number from 0, which is no limit")
        if self.render_output is not None:
            _check_output(self.render_output)
        for name in ("max_disk", "max_films"):
            if getattr(self, name) < 1 << 20:
                raise ConfigError(f"{name}: {getattr(self, name)} is not at least {1 << 20} bytes")
        for name in ("frame_timeout", "load_timeout"):
            seconds = getattr(self, name)
            if seconds != 0.0 and not LEAST_TIMEOUT_S <= seconds < 1e9:
                raise ConfigError(f"{name}: {seconds} is neither at least {LEAST_TIMEOUT_S} nor 0, which is no limit")
        for name in (
            "keep_closed",
            "keep_open",
            "sweep_period",
            "idle_timeout",
            "closed_linger",
            "write_timeout",
            "first_request_timeout",
            "stop_grace",
            "frame_latency",
            "hold_place",
        ):
            if not 0.0 < getattr(self, name) < 1e9:
                raise ConfigError(f"{name}: {getattr(self, name)} is not a positive number of seconds")

    @property
    def data_directory(self) -> Path:
        """Where sessions are stored."""
        return self.data or user_data_directory() / "cutscene-server"

    @property
    def threads_each(self) -> int | None:
        """Of one inference process's arithmetic. Several share the machine's cores; one is the engine's to place."""
        if self.threads is not None or self.workers == 1:
            return self.threads
        return max(1, (os.cpu_count() or 1) // self.workers)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of ``listen``."""
        return _address("listen", self.listen)

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Host and port of ``metrics_listen``; None if there is to be no such place."""
        return None if self.metrics_listen is None else _address("metrics_listen", self.metrics_listen)

    def _check_reach(self, name: str, value: str, address: tuple[str, int]) -> None:
        if not self.allow_insecure_remote and not is_loopback(address[0]):
            raise ConfigError(
                f"{name}: {value!r} can be reached from other machines, and this server has no TLS yet; "
                "listen on 127.0.0.1, or say allow_insecure_remote if the network is trusted"
            )


def _address(name: str, value: str) -> tuple[str, int]:
    host, separator, port = value.rpartition(":")
    if not separator or not host or not port.isascii() or not port.isdecimal():
        raise ConfigError(f"{name}: {value!r} is not of the form host:port")
    if int(port) > 65535:
        raise ConfigError(f"{name}: found port {port}, allowed are 0 to 65535")
    return host.strip("[]"), int(port)


def _check_output(output: str) -> None:
    scheme, separator, rest = output.partition("://")
    if not output or "\0" in output:
        raise ConfigError(f"render_output: {output!r} is neither a directory nor s3://bucket/prefix")
    if not separator:
        return
    if scheme != "s3" or not _S3_PLACE.fullmatch(rest):  # not shown: it may hold what somebody took for credentials
        raise ConfigError(
            "render_output: allowed are a directory and s3://bucket/prefix; credentials come from the environment"
        )


_S3_PLACE = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9!_.*'()-]+)*/?", re.ASCII)


def user_data_directory() -> Path:
    """Where programs keep a user's data (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_config(flags: Mapping[str, Any], environment: Mapping[str, str], file: Path | None) -> ServerConfig:
    """The configuration from all its sources. ``flags`` holds only what was given on the command line."""
    settings: dict[str, Any] = {}
    if file is not None:
        settings |= _from_file(file)
    settings |= _from_environment(environment)
    settings |= flags
    return ServerConfig(**settings)


_FIELDS: dict[str, str] = {field.name: str(field.type) for field in dataclasses.fields(ServerConfig)}


def _from_file(file: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file}: {error}") from error
    for name in table:
        if name not in _FIELDS:
            raise ConfigError(f"{file}: {name} is not a setting; the settings are {', '.join(_FIELDS)}")
    return {name: _checked(name, value, str(file)) for name, value in table.items()}


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    settings = {}
    for variable, text in environment.items():
        if not variable.startswith(ENVIRONMENT_PREFIX):
            continue
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if name not in _FIELDS:
            raise ConfigError(f"{variable}: {name} is not a setting; the settings are {', '.join(_FIELDS)}")
        settings[name] = parse(name, text, variable)
    return settings


def parse(name: str, text: str, source: str) -> Any:
    """A setting's value from text. Raises ``ConfigError``, naming ``source``, if it is not of the setting's type."""
    kind = _FIELDS[name].removesuffix(" | None")
    try:
        match kind:
            case "int":
                return int(text)
            case "float":
                return float(text)
            case "bool":
                return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
            case "Path":
                return Path(text)
            case _:
                return text
    except (ValueError, KeyError):
        raise ConfigError(f"{source}: {text!r} is not a value of type {kind}") from None


def _checked(name: str, value: object, source: str) -> Any:
    """A value from a TOML file, which has types of its own."""
    kind = _FIELDS[name].removesuffix(" | None")
    if kind == "Path" and isinstance(value, str):
        return Path(value)
    if kind == "float" and type(value) is int:
        return float(value)
    if type(value).__name__ != kind:
        raise ConfigError(f"{source}: {name} is {value!r}, which is not a value of type {kind}")
    return value
