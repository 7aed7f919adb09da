"""Settings for a real server with the synthetic engine, and waiting for what it does in its own time."""

from __future__ import annotations

import asyncio
import atexit
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from cutscene_server.config import ServerConfig

DOUBLES = Path(__file__).resolve().parent
ENGINE = "synthetic_engine:load"


def synthetic_config(data: Path | None = None, **settings: object) -> ServerConfig:
    """Without ``data``, sessions are stored in a directory that goes with this process."""
    return ServerConfig(listen="127.0.0.1:0", engine=ENGINE, data=data or fresh_directory(), **settings)  # type: ignore[arg-type]


def fresh_directory() -> Path:
    """An empty directory that is removed when this process ends."""
    directory = Path(tempfile.mkdtemp(prefix="cutscene-test-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


async def eventually(condition: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    """Waits until something outside of this process's event loop has come to pass."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.02)


def shared_memory_of(process_id: int) -> set[Path]:
    """The blocks of shared memory that a process has mapped: its own, whatever else runs on this machine."""
    lines = Path(f"/proc/{process_id}/maps").read_text().splitlines()
    return {Path(line.split()[-1]) for line in lines if "/dev/shm/psm_" in line and not line.endswith("(deleted)")}  # noqa: S108


def left_over(blocks: set[Path]) -> set[Path]:
    """Those blocks that still have a name, and so their memory."""
    return {block for block in blocks if block.exists()}


def process_lives(process_id: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{process_id}/stat").read_text()
    except OSError:
        return False


def child_processes(process_id: int) -> list[int]:
    """A process's children; the kernel lists them by the thread that started them."""
    lists = Path(f"/proc/{process_id}/task").glob("*/children")
    return [int(child) for listed in lists for child in listed.read_text().split()]
