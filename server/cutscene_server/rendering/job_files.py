"""Render jobs on disk: one small JSON file each, written anew when an item's state changes.

DATA/renders/<job id>.json    written beside itself, then renamed: it is there whole or as it was before

How far an item is, is not in it: its session's frames say that. A job that was being handed in when the server ended is
``arriving`` still; its sessions are deleted with it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from cutscene_server.errors import DiskFull, StorageFailed
from cutscene_server.rendering.jobs import FinishedFilm, Item, Job, RenderState
from cutscene_server.store import NO_ROOM
from cutscene_server.store.data_directory import sync_directory

log = logging.getLogger("cutscene_server")

VERSION = 1

T = TypeVar("T")


class JobFiles:
    """See the module's docstring. One thread does all the writing, in the order it is asked to."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jobs")

    def close(self) -> None:
        """Waits for what is being written."""
        self._thread.shutdown(wait=True)

    async def load(self) -> tuple[list[Job], list[Job]]:
        """All jobs in order, and those that never arrived. A file that is no job is logged and left alone."""
        return await self._run(self._read_all)

    async def keep(self, job: Job, *, arriving: bool = False) -> None:
        """Makes a job durable as it is now. Raises ``StorageFailed``."""
        text = json.dumps(_to_plain(job, arriving), indent=1)
        await self._run(lambda: self._write(job.job_id, text))

    async def remove(self, job: Job) -> None:
        await self._run(lambda: self._path(job.job_id).unlink(missing_ok=True))

    # ---- inside, in the thread --------------------------------------------------------------------------------------

    def _path(self, job_id: str) -> Path:
        return self._directory / f"{job_id}.json"

    def _write(self, job_id: str, text: str) -> None:
        path = self._path(job_id)
        unfinished = path.with_suffix(".tmp")
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        sync_directory(self._directory)

    def _read_all(self) -> tuple[list[Job], list[Job]]:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        jobs: list[Job] = []
        arriving: list[Job] = []
        for path in self._directory.glob("*.json"):
            try:
                plain = json.loads(path.read_text(encoding="utf-8"))
                (arriving if plain["arriving"] else jobs).append(_from_plain(plain))
            except (ValueError, KeyError, TypeError) as error:
                log.error("%s is not a render job: %s", path, error)
        return sorted(jobs, key=lambda job: job.number), arriving

    async def _run(self, work: Callable[[], T]) -> T:
        future = asyncio.get_running_loop().run_in_executor(self._thread, work)
        try:
            return await asyncio.shield(future)
        except OSError as error:
            log.error("a render job could not be stored: %s", error)
            if error.errno in NO_ROOM:
                raise DiskFull from error
            raise StorageFailed("the server could not store or read a render job; its log says why") from error


def _to_plain(job: Job, arriving: bool) -> dict[str, Any]:
    return {
        "version": VERSION,
        "arriving": arriving,
        "job_id": job.job_id,
        "number": job.number,
        "token_digest": job.token_digest.hex(),
        "created_unix_us": job.created_unix_us,
        "ended_unix_us": job.ended_unix_us,
        "items": [_item_to_plain(item) for item in job.items],
    }


def _item_to_plain(item: Item) -> dict[str, Any]:
    film = item.film
    return {
        **{name: getattr(item, name) for name in ("name", "session_id", "frame_count", "rate_factor", "failure")},
        # What is being drawn is queued for the next server, and its session says how far it is.
        "state": (RenderState.QUEUED if item.state is RenderState.DRAWING else item.state).name,
        "frames_done": item.frames_done,
        "film": None if film is None else [film.byte_size, film.digest.hex(), film.pixel_digest.hex()],
    }


def _from_plain(plain: dict[str, Any]) -> Job:
    if plain["version"] != VERSION:
        raise ValueError(f"its version is {plain['version']}; this server reads version {VERSION}")
    return Job(
        job_id=plain["job_id"],
        number=plain["number"],
        token_digest=bytes.fromhex(plain["token_digest"]),
        created_unix_us=plain["created_unix_us"],
        ended_unix_us=plain["ended_unix_us"],
        items=[_item_from_plain(item) for item in plain["items"]],
    )


def _item_from_plain(plain: dict[str, Any]) -> Item:
    known = {field.name for field in dataclasses.fields(Item)}
    values = {name: value for name, value in plain.items() if name in known - {"state", "film"}}
    film = plain["film"]
    return Item(
        **values,
        state=RenderState[plain["state"]],
        film=None if film is None else FinishedFilm(film[0], bytes.fromhex(film[1]), bytes.fromhex(film[2])),
    )
