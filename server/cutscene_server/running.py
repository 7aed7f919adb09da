"""A whole server for as long as a block lasts: in the program, in tests, in benchmarks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
from cutscene_proto.v1 import cutscene_pb2_grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from cutscene_server.config import ServerConfig
from cutscene_server.errors import ConfigError
from cutscene_server.runtime import Runtime
from cutscene_server.service import SERVICE_NAME, CutsceneService

log = logging.getLogger("cutscene_server")

MAX_REQUEST_BYTES = 16 << 20  # the largest turn, 4096 states of 4 actors and 16 props, takes about 9 MiB
STOP_S = 0.25  # for calls other than live streams, health watches among them

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


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
    loop = asyncio.get_running_loop()
    checks = health.aio.HealthServicer()
    background: set[asyncio.Task[None]] = set()

    def on_lost() -> None:
        background.add(loop.create_task(_set_health(checks, NOT_SERVING)))

    runtime = Runtime(config, on_lost)
    service = CutsceneService(runtime)
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
            ("grpc.so_reuseport", 0),  # a second server on one port is an error, not a silent sharing
            ("grpc.keepalive_time_ms", 30_000),  # a client whose machine vanished is found out
            ("grpc.keepalive_timeout_ms", 10_000),
        ]
    )
    cutscene_pb2_grpc.add_CutsceneServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    reflection.enable_server_reflection((SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    await _set_health(checks, NOT_SERVING)
    address = _bind(server, config)
    await server.start()
    try:
        async with runtime.running():
            await _set_health(checks, SERVING)
            log.info("listening on %s", address)
            if config.port_file is not None:
                write_address(config.port_file, address)
            try:
                yield RunningServer(address, runtime)
            finally:
                log.info("stopping")
                await checks.enter_graceful_shutdown()
                runtime.begin_stopping()
                await service.streams_ended(config.stop_grace)
                await server.stop(STOP_S)
    finally:
        await server.stop(None)
        await asyncio.gather(*background)


def write_address(file: Path, address: str) -> None:
    """Writes the bound address so that whoever waits for the file never reads half of it."""
    unfinished = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    unfinished.write_text(address + "\n", encoding="utf-8")
    unfinished.replace(file)


def _bind(server: grpc.aio.Server, config: ServerConfig) -> str:
    host, port = config.address
    shown_host = f"[{host}]" if ":" in host else host
    try:
        bound = server.add_insecure_port(f"{shown_host}:{port}")
    except RuntimeError as error:
        raise ConfigError(f"listen: cannot listen on {config.listen}: {error}") from error
    return f"{shown_host}:{bound}"


async def _set_health(checks: health.aio.HealthServicer, status: int) -> None:
    for name in ("", SERVICE_NAME):
        await checks.set(name, status)
