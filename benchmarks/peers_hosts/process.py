"""A host in a process of its own on a free loopback port, for as long as a block lasts; ended with all it started."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from peers_hosts.guard import STOP_S

BENCHMARKS = Path(__file__).resolve().parents[1]
INSTALL = "pip install -e '.[client,server,peers]'"

NEEDS: dict[str, tuple[str, ...]] = {
    "fastapi": ("fastapi", "uvicorn", "websockets"),
    "litserve": ("litserve", "aiohttp"),
    "ray": ("ray", "starlette", "aiohttp"),
}
"""By peer: the modules that its host and its client import."""


def missing_modules(modules: Sequence[str]) -> list[str]:
    """Which of them are not installed."""
    return [module for module in modules if importlib.util.find_spec(module) is None]


class HostEnded(Exception):
    """A host's process has ended by itself. The message holds the end of its log."""


class HostProcess:
    """A host that was started and may not listen yet."""

    def __init__(self, peer: str, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
        self.peer = peer
        self.port = port
        self.process = process
        self._log = log

    def check(self) -> None:
        """Raises ``HostEnded`` if it has ended."""
        if self.process.poll() is not None:
            tail = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise HostEnded(f"{self.peer} ended with {self.process.returncode}; the end of its log:\n{tail}")


@contextlib.contextmanager
def hosted(peer: str, arguments: Sequence[str]) -> Iterator[HostProcess]:
    """Starts a peer's host and stops it, in order if it listens to that, and with everything that it started."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", f"peers_hosts.{peer}_host", "--port", str(port), *arguments]
    with started(command) as (process, log_file):
        yield HostProcess(peer, port, process, log_file)


@contextlib.contextmanager
def started(command: Sequence[str]) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A guard that runs ``command``, and the file of what that says. When the block ends, all of it is gone, however
    much it started, and though it ended first; so it is if this process is killed.
    """
    path = os.pathsep.join([str(BENCHMARKS), *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryDirectory(prefix="cutscene-peer-") as folder:
        log_file = Path(folder, "log")
        with log_file.open("wb") as log:
            guard = subprocess.Popen(
                [sys.executable, "-m", "peers_hosts.guard", *command], stdin=subprocess.PIPE, stdout=log,
                stderr=subprocess.STDOUT, cwd=folder, env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,  # what a terminal sends to all of its processes does not end it
            )  # fmt: skip
        try:
            yield guard, log_file
        finally:
            assert guard.stdin is not None
            guard.stdin.close()
            try:
                guard.wait(3 * STOP_S)
            except subprocess.TimeoutExpired:
                guard.kill()
                guard.wait()
