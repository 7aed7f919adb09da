"""Writes to a process's pipe from the event loop, which never waits for whoever reads.

A message is written at once, as a rule with one call. What a full pipe does not take waits here, and is written as the
process reads. How much may wait is for the owner to say: see ``held``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
from multiprocessing.connection import Connection

log = logging.getLogger("cutscene_server")

HEADER = struct.Struct("!i")  # a message's length, as ``Connection.recv_bytes`` reads it on the other side
MOST_AT_ONCE = 1 << 20  # bytes of what waits that are written in one turn of the loop


class CommandPipe:
    """One end of ``multiprocessing.Pipe(duplex=True)``, which is written to only.

    Nobody can wait for what it would bring: a loop that watches a file descriptor may set it not to wait, whoever uses
    it and by whichever number (uvloop does, see ``uv_poll_init`` of libuv).
    """

    def __init__(self, connection: Connection) -> None:
        """The connection stays its owner's to close."""
        self._socket = socket.socket(fileno=os.dup(connection.fileno()))
        self._waiting = bytearray()
        self._written = asyncio.Event()
        self._written.set()
        self._closed = False

    @property
    def held(self) -> int:
        """Bytes that wait until the process reads."""
        return len(self._waiting)

    def send(self, message: bytes) -> None:
        """Writes a message, or has it wait behind those before it. Once the process is gone it is dropped."""
        if self._closed:
            return
        framed = HEADER.pack(len(message)) + message
        taken = 0 if self._waiting else self._write(framed)
        if taken < len(framed) and not self._closed:
            if not self._waiting:
                self._written.clear()
                asyncio.get_running_loop().add_writer(self._socket.fileno(), self._write_on)
            self._waiting += memoryview(framed)[taken:]

    async def written(self) -> None:
        """Waits until nothing waits any more: the pipe has taken it, or the process is gone."""
        await self._written.wait()

    def close(self) -> None:
        """Drops what waits; whoever reads at the other side finds the end. Safe to repeat."""
        if self._closed:
            return
        self._closed = True
        self._forget_waiting()
        with contextlib.suppress(OSError):  # the other side may have ended it already
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _write_on(self) -> None:
        with memoryview(self._waiting) as waiting, waiting[:MOST_AT_ONCE] as some:
            taken = self._write(some)
        if self._closed:
            return
        del self._waiting[:taken]
        if not self._waiting:
            self._forget_waiting()

    def _write(self, data: bytes | memoryview) -> int:
        """Bytes that the pipe took now."""
        try:
            return self._socket.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        except OSError:
            log.debug("the inference process is gone; dropped %d bytes of commands", len(data) + self.held)
            self.close()
            return 0

    def _forget_waiting(self) -> None:
        if not self._written.is_set():
            asyncio.get_running_loop().remove_writer(self._socket.fileno())
            self._written.set()
        self._waiting = bytearray()
