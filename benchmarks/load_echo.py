"""Bare ``grpc.aio``, for ``load.py`` to compare with: a two-way stream that gives back the bytes it gets.

python benchmarks/load_echo.py     says its address, and serves until its input ends
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc

METHOD = "/cutscene.bench/Echo"


async def _echo(request_iterator: AsyncIterator[bytes], context: Any) -> None:
    # As the service does it: read and write rather than iterate and yield.
    while (message := await context.read()) is not grpc.aio.EOF:
        await context.write(message)


class _Handler(grpc.GenericRpcHandler):
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        if handler_call_details.method != METHOD:
            return None
        return grpc.stream_stream_rpc_method_handler(_echo)


async def serve() -> None:
    """Until the input ends."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([_Handler()])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)


def main() -> int:
    """Serves."""
    from cutscene_server.__main__ import loop_factory

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve())
    return 0


if __name__ == "__main__":
    sys.exit(main())
