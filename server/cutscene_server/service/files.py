"""Files that come over a stream: chunks as long as the other side keeps up. ``sending`` has the other way.

Backpressure policy, "pace": a client that sends less than ``PACE_BYTES`` within the write timeout is let go. Silence
would be caught by less, but a byte now and then would hold a place for days.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, cast

import grpc
from google.protobuf.message import DecodeError

from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_server.errors import FieldViolation, InvalidRequest, Late

PACE_BYTES = 256 << 10  # 105 kbit/s with the default timeout
MAX_CHUNK_BYTES = 1 << 20


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
