"""Sessions as files: out of one server, into another."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cutscene_client.sending import send_all
from cutscene_proto.v1 import cutscene_pb2 as pb

if TYPE_CHECKING:
    from cutscene_client.client import Client

CHUNK_BYTES = 256 << 10
MAX_CHUNK_BYTES = 1 << 20  # what a message may carry

Source = str | os.PathLike[str] | bytes | Iterable[bytes] | AsyncIterable[bytes]
"""A file's path, or its bytes, whole or in pieces."""


@dataclass(frozen=True, slots=True)
class ImportedSession:
    """A session that came in a file. It waits on the server's disk."""

    session_id: str
    token: str = field(repr=False)
    next_frame: int  # where to resume it
    differences: tuple[str, ...]  # why its next frames need not be those of the other server; empty: the same


async def send(call: Any, source: Source) -> pb.ImportSessionResponse:
    """Sends a file on an ImportSession call. Raises ``grpc.aio.AioRpcError``, and ``OSError`` if it cannot be read."""

    async def requests() -> AsyncIterator[pb.ImportSessionRequest]:
        async for chunk in _pieces(source):
            yield pb.ImportSessionRequest(data=chunk)

    response: pb.ImportSessionResponse = await send_all(call, requests())
    return response


async def save(
    client: Client, session_id: str, token: str, path: Path, on_bytes: Callable[[int], object] = lambda count: None
) -> int:
    """Exports a session into a file, which is there only once it is whole. Returns its size in bytes."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    try:
        with unfinished.open("wb") as file:
            async for chunk in client.export_session(session_id, token):
                file.write(chunk)
                size += len(chunk)
                on_bytes(len(chunk))
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return size


def read_file(path: Path, on_bytes: Callable[[int], object] = lambda count: None) -> Iterator[bytes]:
    """A file in pieces, as ``Client.import_session`` takes them."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
            on_bytes(len(chunk))


async def _pieces(source: Source) -> AsyncIterator[bytes]:
    """Pieces that a message may carry."""
    async for chunk in _chunks(source):
        for start in range(0, len(chunk), MAX_CHUNK_BYTES):
            yield bytes(chunk[start : start + MAX_CHUNK_BYTES])


async def _chunks(source: Source) -> AsyncIterator[bytes]:
    if isinstance(source, AsyncIterable):
        async for chunk in source:
            yield chunk
    elif isinstance(source, (str, os.PathLike)):
        for chunk in read_file(Path(source)):
            yield chunk
    else:
        for chunk in [source] if isinstance(source, bytes) else source:
            yield chunk
