"""Where films go: a directory of this machine, or an S3-style store. Either way a film is there once it is whole.

What may be written where is the operator's to say, in the configuration and, for a store, in the environment
(``AWS_ACCESS_KEY_ID``, ``AWS_REGION``, ``AWS_ENDPOINT_URL`` and so on, or what a cloud gives its machines). A client
names an item, never a path.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import re
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from cutscene_server.errors import ConfigError, NoRoom, StorageFailed, WrongMoment
from cutscene_server.store.data_directory import sync_directory

if TYPE_CHECKING:
    from obstore.store import S3Store

log = logging.getLogger("cutscene_server")

FILM_NAME = re.compile(r"[0-9a-f]{32}/[0-9]{3}-[A-Za-z0-9_-]{1,64}\.mp4", re.ASCII)
CHUNK_BYTES = 256 << 10
FILMS_RETRY_AFTER_S = 60.0  # until somebody has moved some away
LOOK_EVERY_S = 600.0
LOOK_PAUSES = 20


class Output(Protocol):
    """A place for films."""

    @property
    def workshop(self) -> Path:
        """A directory in which films are made before they are ``put``."""

    async def check_room(self, byte_size: int = 0) -> None:
        """Raises ``NoRoom`` if the films that are there take as much as they may, or would with so many bytes more."""

    async def put(self, made: Path, name: str) -> None:
        """Puts a whole film where it belongs, instead of one of that name if there is one. Raises ``StorageFailed``,
        ``NoRoom``.
        """

    async def remove(self, names: Sequence[str]) -> None:
        """Lets films go that nobody can ask for any more, where they are the server's to keep; those that are not there
        are gone already. Raises ``StorageFailed``.
        """

    def read(self, name: str) -> AsyncGenerator[bytes, None]:
        """A film's bytes. Raises ``WrongMoment`` if it is not there, ``StorageFailed``."""


def open_output(place: str, data_directory: Path, max_films: int) -> Output:
    """The output that ``render_output`` names, for at most ``max_films`` bytes of films if it is a directory. Blocks.
    Raises ``ConfigError`` if it cannot be used.
    """
    try:
        if place.startswith("s3://"):
            workshop = data_directory / "renders" / "unfinished"
            workshop.mkdir(mode=0o700, parents=True, exist_ok=True)
            return ObjectStore(_s3_store(place), workshop)
        directory = Path(place)
        workshop = directory / ".unfinished"
        workshop.mkdir(parents=True, exist_ok=True)
        if not os.access(workshop, os.W_OK | os.X_OK):
            raise ConfigError(f"render_output: {place} cannot be written")
    except OSError as error:
        raise ConfigError(f"render_output: {error}") from error
    return LocalDirectory(directory, workshop, max_films)


class LocalDirectory:
    """A directory: films are made beside where they go, and renamed.

    What they take is counted along. All films are looked up, which takes the longer the more there are, at the first
    question, every ``LOOK_EVERY_S``, for other servers may write there, and before a refusal, for somebody may have
    taken films away: then with pauses of ``LOOK_PAUSES`` times what the last look took, however often clients ask.
    """

    def __init__(
        self, directory: Path, workshop: Path, max_films: int, now: Callable[[], float] = time.monotonic
    ) -> None:
        """``now``: seconds on a clock that only rises."""
        self._directory = directory
        self._max_films = max_films
        self._now = now
        self._used = 0  # bytes
        self._looked_at = -math.inf
        self._look_took = 0.0  # seconds
        self._changing = asyncio.Lock()  # held while films are counted, put or removed
        self.workshop = workshop

    async def check_room(self, byte_size: int = 0) -> None:
        async with self._changing:
            await self._check_room(byte_size)

    async def put(self, made: Path, name: str) -> None:
        path = self._path(name)

        def move() -> None:
            path.parent.mkdir(exist_ok=True)
            made.replace(path)
            sync_directory(path.parent)
            sync_directory(self._directory)

        async with self._changing:
            byte_size, instead = await asyncio.to_thread(lambda: (made.stat().st_size, _size(path)))
            if byte_size > instead:  # else it takes no more than the one that a crash left there
                await self._check_room(byte_size - instead)
            try:
                await asyncio.to_thread(move)
            except OSError as error:
                self._looked_at = -math.inf  # it may be there all the same
                raise _not_stored(name, error) from error
            self._used += byte_size - instead

    async def remove(self, names: Sequence[str]) -> None:
        paths = [self._path(name) for name in names]

        def unlink() -> int:
            gone = 0
            for path in paths:
                byte_size = _size(path)
                path.unlink(missing_ok=True)
                gone += byte_size
            for folder in {path.parent for path in paths}:
                with contextlib.suppress(OSError):  # there is none, or somebody keeps something else in it
                    folder.rmdir()
            return gone

        async with self._changing:
            try:
                self._used -= await asyncio.to_thread(unlink)
            except OSError as error:
                self._looked_at = -math.inf  # some may be gone
                log.error("films of job %s could not be deleted: %s", names[0].partition("/")[0], error)
                raise StorageFailed("a film could not be deleted; the server's log says why") from error

    async def read(self, name: str) -> AsyncGenerator[bytes, None]:
        path = self._path(name)
        try:
            file: IO[bytes] = await asyncio.to_thread(path.open, "rb")
            with file:
                while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                    yield chunk
        except FileNotFoundError:
            raise _gone() from None
        except OSError as error:
            raise _not_read(name, error) from error

    def _path(self, name: str) -> Path:
        return self._directory / _checked(name)

    async def _check_room(self, byte_size: int) -> None:
        await self._look(LOOK_EVERY_S)
        if not self._has_room(byte_size):
            await self._look(LOOK_PAUSES * self._look_took)
        if not self._has_room(byte_size):
            raise NoRoom(
                f"the films on this server take {self._used} bytes, and may take {self._max_films} (max_films); "
                "some must go first",
                FILMS_RETRY_AFTER_S,
            )

    def _has_room(self, byte_size: int) -> bool:
        return self._used < self._max_films and self._used + byte_size <= self._max_films

    async def _look(self, age_s: float) -> None:
        """Counts all films, if that was last done so long ago."""
        begun = self._now()
        if begun - self._looked_at < age_s:
            return
        try:
            self._used = await asyncio.to_thread(self._used_bytes)
        except OSError as error:
            raise _not_read("(all of them)", error) from error
        self._looked_at = self._now()
        self._look_took = self._looked_at - begun

    def _used_bytes(self) -> int:
        """Of all films, whichever server made them. Whatever else lies in the directory is not counted."""
        films = self._directory.glob("*/*.mp4")
        return sum(_size(path) for path in films if FILM_NAME.fullmatch(f"{path.parent.name}/{path.name}"))


class ObjectStore:
    """A bucket: films are made in the data directory and uploaded, large ones in parts, which the store makes one.

    What they take, and for how long they stay, is for the bucket's own rules to say.
    """

    def __init__(self, store: S3Store, workshop: Path) -> None:
        self._store = store
        self.workshop = workshop

    async def check_room(self, byte_size: int = 0) -> None:
        pass

    async def remove(self, names: Sequence[str]) -> None:
        pass

    async def put(self, made: Path, name: str) -> None:
        from obstore.exceptions import BaseError

        try:
            await self._store.put_async(_checked(name), made, attributes={"Content-Type": "video/mp4"})
        except (BaseError, OSError) as error:
            raise _not_stored(name, error) from error

    async def read(self, name: str) -> AsyncGenerator[bytes, None]:
        from obstore.exceptions import BaseError

        try:
            found = await self._store.get_async(_checked(name))
            async for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
                piece = bytes(chunk)
                for start in range(0, len(piece), CHUNK_BYTES):
                    yield piece[start : start + CHUNK_BYTES]
        except FileNotFoundError:
            raise _gone() from None
        except (BaseError, OSError) as error:
            raise _not_read(name, error) from error


def _s3_store(place: str) -> S3Store:
    try:
        from obstore.exceptions import BaseError
        from obstore.store import S3Store
    except ImportError:
        raise ConfigError(
            "render_output: an S3-style store needs obstore: pip install 'cutscene-runtime[s3]'"
        ) from None
    try:
        return S3Store.from_url(place)
    except BaseError as error:
        raise ConfigError(f"render_output: {place} cannot be used: {error}") from error


def _checked(name: str) -> str:
    """Names are made by ``Job.film_name``; that nothing else comes here is worth a look at every one of them."""
    if not FILM_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no film's name")
    return name


def _size(path: Path) -> int:
    """In bytes; 0 of a film that is not there, or was taken away meanwhile."""
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _not_stored(name: str, error: Exception) -> StorageFailed:
    log.error("film %s could not be stored: %s", name, error)
    return StorageFailed("the film could not be stored; the server's log says why")


def _not_read(name: str, error: Exception) -> StorageFailed:
    log.error("film %s could not be read: %s", name, error)
    return StorageFailed("the film could not be read; the server's log says why")


def _gone() -> WrongMoment:
    return WrongMoment("item", "its film is not where the server has put it any more")
