"""Bare ``grpc.aio``, for ``load.py`` to compare with: a two-way stream that gives back the bytes it gets.

python benchmarks/load_echo.py     says its address, and serves until its input ends

With ``--pictures FILE`` it gives back something else: one of the pictures, digested and encoded in two threads. So
it does a frame's arithmetic, and none of what sessions, storage and an inference process take.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np

METHOD = "/cutscene.bench/Echo"


Answer = Callable[[bytes], Awaitable[bytes]]

ENCODED_AT_ONCE = 2


async def _same(message: bytes) -> bytes:
    return message


def encoder(path: Path, digest: str) -> Answer:
    """Answers with the pictures in ``path``, uint8 (n, height, width, 3), one after the other."""
    from cutscene_server import picture
    from cutscene_server.terms import Codec, PixelDigest

    pictures, kind = np.load(path, allow_pickle=False), PixelDigest[digest.upper()]
    threads = ThreadPoolExecutor(ENCODED_AT_ONCE)
    given = 0

    async def answer(_message: bytes) -> bytes:
        nonlocal given
        given += 1
        pixels = pictures[given % len(pictures)]
        loop = asyncio.get_running_loop()
        encoded = await loop.run_in_executor(threads, picture.encode, pixels, Codec.JPEG, 90, kind)
        return encoded.pixel_digest + encoded.data

    return answer


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def _echo(self, request_iterator: AsyncIterator[bytes], context: Any) -> None:
        # As the service does it: read and write rather than iterate and yield.
        while (message := await context.read()) is not grpc.aio.EOF:
            await context.write(await self._answer(message))

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        if handler_call_details.method != METHOD:
            return None
        return grpc.stream_stream_rpc_method_handler(self._echo)


async def serve(answer: Answer) -> None:
    """Until the input ends."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([_Handler(answer)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)


def main() -> int:
    """Serves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, help="encodes one of these for each message")
    parser.add_argument("--digest", default="blake2b", help="with --pictures (default: %(default)s)")
    options = parser.parse_args()
    from cutscene_server.__main__ import loop_factory

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve(encoder(options.pictures, options.digest) if options.pictures else _same))
    return 0


if __name__ == "__main__":
    sys.exit(main())
