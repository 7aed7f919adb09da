"""What the calls beside the live one send: within what the tenant of the call may be sent, and taken in time.

Backpressure policy, "share": whatever is sent waits until its tenant may be sent more, as the live streams do. A large
message is paid for piece by piece before it is sent, so that a file leaves room for frames of the same tenant: these
would wait otherwise until all of a chunk is worked off. A server that stops holds back nothing.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from google.protobuf.message import Message

from cutscene_server import clock
from cutscene_server.errors import Late
from cutscene_server.runtime import Runtime
from cutscene_server.scheduling import Tenant
from cutscene_server.wire import requests

Context = grpc.aio.ServicerContext[Any, Any]

PIECE_BYTES = 32 << 10  # a frame's, roughly


def tenant_of(runtime: Runtime, context: Context) -> Tenant:
    """Whom a call is for, as its metadata says. Raises ``InvalidRequest``."""
    metadata = context.invocation_metadata() or ()
    named = [value for key, value in metadata if key == requests.TENANT_KEY]
    return runtime.admission.tenant(requests.read_tenant(named))


class Sending:
    """The messages of one call."""

    def __init__(self, runtime: Runtime, context: Context) -> None:
        """Raises ``InvalidRequest`` if the call names a tenant that nobody can be."""
        self._runtime = runtime
        self._context = context
        self._tenant = tenant_of(runtime, context)

    async def send(self, message: Message) -> None:
        """Raises ``Late`` if the client does not take it in time."""
        await self.wait_for(message.ByteSize())
        seconds = self._runtime.config.write_timeout
        try:
            async with asyncio.timeout(seconds):
                await self._context.write(message)
        except TimeoutError:
            raise Late(f"the client read nothing for {seconds:g} s") from None

    async def wait_for(self, size: int) -> None:
        """Returns once the tenant may be sent so many bytes, and counts them."""
        allowed = self._tenant.bytes
        if not allowed.rate:
            return
        for start in range(0, size, PIECE_BYTES):
            while (now_us := clock.now_us()) < (ready_us := allowed.ready_us(now_us)):
                if await self._runtime.stops_within((ready_us - now_us) / 1e6):
                    return
            allowed.take(min(PIECE_BYTES, size - start), clock.now_us())
