"""Sending many messages on one call whose answer comes at its end, and learning why the server would not have them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, Coroutine
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from cutscene_client.errors import status_of

T = TypeVar("T")

STATUS_S = 0.5


async def send_all(call: Any, messages: AsyncIterable[Message]) -> Any:
    """Sends messages on a client-streaming call. Returns the answer. Raises ``grpc.aio.AioRpcError``, and whatever
    ``messages`` raises."""
    said: list[grpc.aio.AioRpcError] = []
    call.add_done_callback(lambda ended: said.append(_at_once(status_of(ended))))
    try:
        async for message in messages:
            await call.write(message)
        await call.done_writing()
        return await call
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
        raise await _refusal(call, said) from error
    finally:
        call.cancel()


async def _refusal(call: Any, said: list[grpc.aio.AioRpcError]) -> grpc.aio.AioRpcError:
    """Why the server ended a call that was still being written to.

    grpc says INTERNAL for the write that failed, in place of what the server said. That is known either from the moment
    before, or it comes a moment after.
    """
    for error in said:
        if error.code() is not grpc.StatusCode.INTERNAL:
            return error
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STATUS_S):
            while await call.code() is grpc.StatusCode.INTERNAL:  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.005)
    return await status_of(call)


def _at_once(known: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that has nothing to wait for."""
    try:
        known.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    known.close()
    raise RuntimeError("a finished call has no status")
