"""A whole server for as long as a block lasts: in the program, in tests, in benchmarks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from cutscene_server.config import ServerConfig
from cutscene_server.errors import ConfigError
from cutscene_server.loop_lag import sampling
from cutscene_server.observer import Observer
from cutscene_server.rendering.renders import Renders
from cutscene_server.runtime import Runtime
from cutscene_server.service.host import GrpcHost

log = logging.getLogger("cutscene_server")


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that is healthy."""

    address: str  # host:port as it is bound
    runtime: Runtime
    metrics_address: str | None = None  # host:port of the metrics; None if they are not exported


@contextlib.asynccontextmanager
async def run_server(config: ServerConfig) -> AsyncIterator[RunningServer]:
    """Starts a server, yields once it is healthy, and stops it in order when the block ends.

    Raises ``ConfigError`` if an address or the port file cannot be had, ``NotServing`` if the model cannot be loaded.
    """
    with _observing(config) as (observer, metrics_address):
        told: set[asyncio.Task[None]] = set()
        runtime = Runtime(
            config,
            on_health=lambda healthy: told.add(asyncio.create_task(host.set_healthy(healthy))),
            observer=observer,
        )
        renders = Renders(config, runtime)
        host = GrpcHost(config, runtime, renders)
        await host.start()
        try:
            if config.port_file is not None:
                # What is there is of a server that was killed: it would mislead whoever waits.
                _check_port_file(config.port_file)
            async with runtime.running(), renders.running(), sampling(observer, runtime.sessions):
                observer.serving(runtime.manifest, lambda: runtime.process_ids)
                await host.set_healthy(True)
                log.info("listening on %s", host.address)
                if config.port_file is not None:
                    write_address(config.port_file, host.address)
                try:
                    yield RunningServer(host.address, runtime, metrics_address)
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


@contextlib.contextmanager
def _observing(config: ServerConfig) -> Iterator[tuple[Observer, str | None]]:
    """What the server tells of itself, and where its metrics are if it exports them."""
    if config.metrics_address is None:
        yield Observer(), None
        return
    from prometheus_client import CollectorRegistry

    from cutscene_server.metrics import Metrics
    from cutscene_server.metrics_endpoint import serving

    registry = CollectorRegistry()
    observer = Observer(Metrics(registry))
    with serving(registry, *config.metrics_address) as address:
        log.info("metrics at http://%s/metrics", address)
        yield observer, address


def _check_port_file(file: Path) -> None:
    """Takes an old one away. Raises ``ConfigError`` if none could be written there, before a model is loaded."""
    try:
        file.unlink(missing_ok=True)
        trial = _unfinished(file)
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise ConfigError(f"port_file: {file} cannot be written: {error.strerror or error}") from error


def _unfinished(file: Path) -> Path:
    return file.with_name(f"{file.name}.{os.getpid()}.tmp")


def write_address(file: Path, address: str) -> None:
    """Writes the bound address so that whoever waits for the file never reads half of it."""
    unfinished = _unfinished(file)
    unfinished.write_text(address + "\n", encoding="utf-8")
    unfinished.replace(file)
