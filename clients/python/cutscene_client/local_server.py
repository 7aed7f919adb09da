"""A server in a process of its own for as long as a block lasts: for the demo, for benchmarks, for tests."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cutscene_client.errors import CutsceneError

START_TIMEOUT_S = 120.0  # torch alone takes seconds to load from a cold disk
STOP_TIMEOUT_S = 20.0


class ServerDidNotStart(CutsceneError):
    """The server's process ended, or was not healthy in time. The message holds the end of its log."""


@contextlib.contextmanager
def local_server(arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """Starts ``cutscene-server`` on a free loopback port, yields its address, and stops it in order.

    What it stores goes when the block ends, unless ``arguments`` name another ``--data`` directory.
    """
    with tempfile.TemporaryDirectory(prefix="cutscene-") as folder:
        port_file, log_file = Path(folder, "address"), Path(folder, "log")
        command = [
            sys.executable, "-m", "cutscene_server", "--listen", "127.0.0.1:0", "--port-file", str(port_file),
            "--data", str(Path(folder, "data")), *arguments,
        ]  # fmt: skip
        with log_file.open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - our own module, no shell
                command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                env={**os.environ, **(environment or {})},
            )  # fmt: skip
        try:
            yield _address(process, port_file, log_file)
        finally:
            _stop(process)


def _address(process: subprocess.Popen[bytes], port_file: Path, log_file: Path) -> str:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not port_file.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            why = "ended" if process.poll() is not None else f"was not healthy within {START_TIMEOUT_S:.0f} s"
            tail = log_file.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise ServerDidNotStart(f"the server {why}; the end of its log:\n{tail}")
        time.sleep(0.02)
    return port_file.read_text(encoding="utf-8").strip()


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
