"""A host in a process of its own on a free loopback port, for as long as a block lasts; ended with all it started."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from proc_files import children_of, text_of

BENCHMARKS = Path(__file__).resolve().parents[1]
STOP_S = 15.0
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
    path = os.pathsep.join([str(BENCHMARKS), *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryDirectory(prefix="cutscene-peer-") as folder:
        log_file = Path(folder, "log")
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"peers_hosts.{peer}_host", "--port", str(port), *arguments],
                stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=folder,
                env={**os.environ, "PYTHONPATH": path},
            )  # fmt: skip
        try:
            yield HostProcess(peer, port, process, log_file)
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    started = descendants(process.pid)
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    process.kill()
    process.wait()
    for pid, began in started.items():  # what a framework leaves behind, or what outlived its own parent
        if _began(pid) == began:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + STOP_S
    while any(_began(pid) == began for pid, began in started.items()) and time.monotonic() < deadline:
        time.sleep(0.05)


def descendants(pid: int) -> dict[int, str]:
    """The processes below one, and when each began (Linux; elsewhere none are found), so that none is mistaken."""
    found: dict[int, str] = {}
    waiting = [pid]
    while waiting:
        for child in children_of(waiting.pop()):
            began = _began(child)
            if began is not None and child not in found:
                found[child] = began
                waiting.append(child)
    return found


def _began(pid: int) -> str | None:
    """The moment a living process began, in the kernel's words; None for one that is gone."""
    fields = text_of(pid, "stat").rpartition(")")[2].split()
    return None if not fields or fields[0] == "Z" else fields[19]
