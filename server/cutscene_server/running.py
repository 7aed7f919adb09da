"""A whole server for as long as a block lasts: in the program, in tests, in benchmarks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from cutscene_server.config import ServerConfig
from cutscene_server.rendering.renders import Renders
from cutscene_server.runtime import Runtime
from cutscene_server.service.host import GrpcHost

log = logging.getLogger("cutscene_server")


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that is healthy."""

    address: str  # host:port as it is bound
    runtime: Runtime


@contextlib.asynccontextmanager
async def run_server(config: ServerConfig) -> AsyncIterator[RunningServer]:
    """Starts a server, yields once it is healthy, and stops it in order when the block ends.

    Raises ``ConfigError`` if the address cannot be had, ``NotServing`` if the model cannot be loaded.
    """
    told: set[asyncio.Task[None]] = set()
    runtime = Runtime(config, on_health=lambda healthy: told.add(asyncio.create_task(host.set_healthy(healthy))))
    renders = Renders(config, runtime)
    host = GrpcHost(config, runtime, renders)
    await host.start()
    try:
        if config.port_file is not None:
            config.port_file.unlink(missing_ok=True)  # of a server that was killed: it would mislead whoever waits
        async with runtime.running(), renders.running():
            await host.set_healthy(True)
            log.info("listening on %s", host.address)
            if config.port_file is not None:
                write_address(config.port_file, host.address)
            try:
                yield RunningServer(host.address, runtime)
            finally:
                log.info("stopping")
                if config.port_file is not None:
                    config.port_file.unlink(missing_ok=True)
                # In bounded time: half of it for what is being drawn, all of it for what is being sent.
                runtime.begin_stopping()
                asyncio.get_running_loop().call_later(config.stop_grace / 2, runtime.end_draining)
                await host.retire(config.stop_grace)
    finally:
        await host.stop()
        await asyncio.gather(*told)


def write_address(file: Path, address: str) -> None:
    """Writes the bound address so that whoever waits for the file never reads half of it."""
    unfinished = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    unfinished.write_text(address + "\n", encoding="utf-8")
    unfinished.replace(file)
