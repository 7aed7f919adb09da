"""A film that is being made, as the front end sees it: frames go to the encoder's process, one at a time.

Backpressure policy, "wait": a frame is taken once the encoder's pipe has room for it, and until then no further one is
acknowledged to its session, so the session is drawn no further than its credit.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from cutscene_server.errors import EngineFailed


class FilmFailed(EngineFailed):
    """The encoder ended before its film was whole."""


@dataclass(frozen=True, slots=True)
class FilmFormat:
    """What the encoder has to know."""

    width: int  # pixels
    height: int  # pixels
    fps: float
    frame_count: int
    rate_factor: int  # libx264's constant rate factor


class Film:
    """One film. ``making_film`` makes one."""

    def __init__(self, process: Process, stdin: asyncio.StreamWriter, stdout: asyncio.StreamReader) -> None:
        self._process = process
        self._stdin = stdin
        self._stdout = stdout

    async def add(self, pixels: bytes) -> None:
        """The next frame, height * width * 3 bytes of RGB. Raises ``FilmFailed``."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if not self._stdin.is_closing():  # as it is once the encoder is gone
                self._stdin.write(pixels)
                return await self._stdin.drain()
        raise FilmFailed(await self._how_it_ended())

    async def finish(self) -> tuple[int, bytes]:
        """Waits until the film is whole and on disk. Returns its size and digest. Raises ``FilmFailed``."""
        self._stdin.close()
        said = await self._stdout.read()
        if await self._process.wait() != 0:
            raise FilmFailed(await self._how_it_ended())
        about = json.loads(said)
        return about["bytes"], bytes.fromhex(about["digest"])

    async def _how_it_ended(self) -> str:
        return f"the film's encoder ended with code {await self._process.wait()}; the server's log may say why"


@contextlib.asynccontextmanager
async def making_film(path: Path, film_format: FilmFormat) -> AsyncIterator[Film]:
    """Starts an encoder that writes to ``path``; ends it with the block, if it has not ended by itself."""
    about = film_format
    arguments = (path, about.width, about.height, about.fps, about.frame_count, about.rate_factor)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cutscene_server.rendering.encoder",
        *map(str, arguments),
        stdin=PIPE,
        stdout=PIPE,
        start_new_session=True,  # out of a terminal's reach: Ctrl-C is for the server
    )
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None and stdout is not None  # noqa: S101, PT018 - they were asked for
    try:
        yield Film(process, stdin, stdout)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.wait()
        stdin.close()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            await stdin.wait_closed()
