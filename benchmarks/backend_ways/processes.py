"""The ways' processes: begun, asked, and ended with the block that they were begun in."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

BENCHMARKS = Path(__file__).resolve().parents[1]
ANSWER_S = 60.0  # a timing takes less
STOP_S = 5.0


class WayFailed(Exception):
    """A way's process has ended, or does not answer. The message says why in one line."""


def environment() -> dict[str, str]:
    """For a process of this package. ``CI`` keeps OpenVINO's tools from reporting home."""
    path = os.pathsep.join([str(BENCHMARKS), *filter(None, [os.environ.get("PYTHONPATH")])])
    # One compiler at a time: inductor's other processes could outlive whoever is stopped.
    return {**os.environ, "PYTHONPATH": path, "CI": "true", "TORCHINDUCTOR_COMPILE_THREADS": "1"}


def last_line(log: Path) -> str:
    """What a process said last that is not empty."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"


def export(folder: Path, model: Path | None, limit_s: float) -> None:
    """Writes the networks as ONNX. Raises ``WayFailed``."""
    command = [sys.executable, "-m", "backend_ways.export", str(folder), *([str(model)] if model else [])]
    log = folder / "export.log"
    with log.open("wb") as out:
        try:
            done = subprocess.run(
                command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=environment(),
                timeout=limit_s, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise WayFailed(f"the export to ONNX took longer than {limit_s:.0f} s") from error
    if done.returncode:
        raise WayFailed(f"the export to ONNX: {last_line(log)}")


class WayProcess:
    """One way, ready to be asked once it is entered. Raises ``WayFailed`` where it does not come up in time."""

    def __init__(self, way: str, folder: Path, model: Path | None, threads: list[int], limit_s: float) -> None:
        self.way, self._limit_s = way, limit_s
        self._log = folder / f"{way}.log"
        asked = {"way": way, "folder": str(folder), "model": str(model) if model else None, "threads": threads}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "backend_ways.child", json.dumps(asked)], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=log, env=environment(),
            )  # fmt: skip
        self.networks: list[str] = []
        self.seconds = 0.0  # that it took to come up

    def __enter__(self) -> Self:
        try:
            said = self._answer(self._limit_s)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.networks, self.seconds = said["networks"], said["seconds"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # upon which it ends
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_S if self.networks else 0)
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def time(self, network: str, threads: int, passes: int) -> dict[str, float]:
        """Milliseconds a pass: ``ms`` and ``cpu_ms``. Raises ``WayFailed``."""
        assert self._process.stdin is not None
        try:
            asked = {"network": network, "threads": threads, "passes": passes}
            self._process.stdin.write(json.dumps(asked).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise WayFailed(last_line(self._log)) from error
        return self._answer(ANSWER_S)  # type: ignore[no-any-return]

    def _answer(self, limit_s: float) -> Any:
        assert self._process.stdout is not None
        deadline, line = time.monotonic() + limit_s, b""
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not waiting.select(max(0.0, deadline - time.monotonic())):
                    raise WayFailed(f"no answer within {limit_s:.0f} s")
                piece = os.read(self._process.stdout.fileno(), 65536)
                if not piece:
                    raise WayFailed(last_line(self._log))
                line += piece
        return json.loads(line)
