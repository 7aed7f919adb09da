"""A line between a client and a server that can be broken, while both of them live."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator


class BreakingLine:
    """Connections that come to ``address`` go on to a server. ``breaking_line`` makes one."""

    def __init__(self, address: str) -> None:
        self.address = ""
        self._host, _, self._port = address.rpartition(":")
        self._writers: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """Ends every connection there is. New ones are taken as before."""
        for writer in self._writers:
            writer.transport.abort()

    async def taken(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._host, int(self._port))
        both = {writer, far_writer}
        self._writers |= both
        try:
            await asyncio.gather(_pass_on(reader, far_writer), _pass_on(far_reader, writer))
        finally:
            self._writers -= both
            for each in both:
                each.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def breaking_line(address: str) -> AsyncIterator[BreakingLine]:
    """A line to the server at ``address`` (host:port) for as long as the block lasts."""
    line = BreakingLine(address)
    listening = await asyncio.start_server(line.taken, "127.0.0.1", 0)
    line.address = f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield line
    finally:
        listening.close()
        line.cut()
        await listening.wait_closed()
