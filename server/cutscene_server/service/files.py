"""Files over a stream, either way: chunks as long as the other side keeps up.

Backpressure policy, "pace": a client that takes no chunk within the write timeout, or sends less than ``PACE_BYTES`` in
as long a time, is let go. Silence would be caught by less, but a byte now and then would hold a place for days.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, TypeVar, cast

import grpc
from google.protobuf.message import DecodeError

from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_server.errors import FieldViolation, InvalidRequest, Late

PACE_BYTES = 256 << 10  # 105 kbit/s with the default timeout
MAX_CHUNK_BYTES = 1 << 20

M = TypeVar("M")


async def send(write: Callable[[M], Awaitable[None]], message: M, seconds: float) -> None:
    """Raises ``Late`` if the client does not take it in time."""
    try:
        async with asyncio.timeout(seconds):
            await write(message)
    except TimeoutError:
        raise Late(f"the client read nothing for {seconds:g} s") from None


async def received(context: grpc.aio.ServicerContext[Any, Any], seconds: float) -> AsyncGenerator[bytes, None]:
    """What an ImportSession's client sends, until it is done. Raises ``Late``, ``InvalidRequest``."""
    clock = asyncio.get_running_loop().time
    deadline, missing = clock() + seconds, PACE_BYTES
    while True:
        try:
            async with asyncio.timeout_at(deadline):
                request: object = await context.read()
        except TimeoutError:
            raise Late(f"less than {PACE_BYTES} bytes of the file came within {seconds:g} s") from None
        except DecodeError:
            raise InvalidRequest([FieldViolation("request", "these bytes are not an ImportSessionRequest")]) from None
        if request is grpc.aio.EOF:
            return
        data = cast("pb.ImportSessionRequest", request).data
        if len(data) > MAX_CHUNK_BYTES:
            raise InvalidRequest(
                [FieldViolation("data", f"found {len(data)} bytes; allowed are at most {MAX_CHUNK_BYTES}")]
            )
        told = clock()
        yield data
        deadline += clock() - told  # what the server itself took is not the client's delay
        missing -= len(data)
        if missing <= 0:
            deadline, missing = clock() + seconds, PACE_BYTES
