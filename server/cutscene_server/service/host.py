"""The gRPC server itself: its options, its services, its address, its health and its end."""

from __future__ import annotations

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from cutscene_proto.v1 import cutscene_pb2_grpc, render_pb2_grpc
from cutscene_server.config import ServerConfig
from cutscene_server.errors import ConfigError
from cutscene_server.rendering.renders import Renders
from cutscene_server.runtime import Runtime
from cutscene_server.service.calls import SERVICE_NAME, CutsceneService
from cutscene_server.service.render_calls import RENDER_SERVICE_NAME, RenderCalls

MAX_REQUEST_BYTES = 16 << 20  # the largest turn, 4096 states of 4 actors and 16 props, takes about 9 MiB
STOP_S = 0.25  # for calls other than live streams, health watches among them


class GrpcHost:
    """One gRPC server around a runtime. It answers from ``start`` on, and is healthy when it is told so."""

    def __init__(self, config: ServerConfig, runtime: Runtime, renders: Renders) -> None:
        self._checks = health.aio.HealthServicer()
        self._service = CutsceneService(runtime)
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
                ("grpc.so_reuseport", 0),  # a second server on one port is an error, not a silent sharing
                ("grpc.keepalive_time_ms", 30_000),  # a client whose machine vanished is found out
                ("grpc.keepalive_timeout_ms", 10_000),
                # Clients look for a dead path likewise. By default a server ends connections that have been pinged
                # five times in as many minutes of silence, and a stream may have little to say for longer.
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ]
        )
        cutscene_pb2_grpc.add_CutsceneServiceServicer_to_server(self._service, self._server)  # type: ignore[no-untyped-call]
        calls = RenderCalls(runtime, renders, self._service.typed_errors)
        render_pb2_grpc.add_RenderServiceServicer_to_server(calls, self._server)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(self._checks, self._server)
        names = (SERVICE_NAME, RENDER_SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        self.address = self._bind(config)

    async def start(self) -> None:
        await self.set_healthy(False)
        await self._server.start()

    async def set_healthy(self, healthy: bool) -> None:
        """What health checks are answered, and watchers told."""
        statuses = health_pb2.HealthCheckResponse
        for name in ("", SERVICE_NAME, RENDER_SERVICE_NAME):
            await self._checks.set(name, statuses.SERVING if healthy else statuses.NOT_SERVING)

    async def retire(self, seconds: float) -> None:
        """Is unhealthy for good, and gives live streams so long to end. Then every call is ended."""
        await self._checks.enter_graceful_shutdown()
        await self._service.streams_ended(seconds)
        await self.stop()

    async def stop(self) -> None:
        """Ends every call. Safe to repeat."""
        await self._server.stop(STOP_S)

    def _bind(self, config: ServerConfig) -> str:
        host, port = config.address
        shown_host = f"[{host}]" if ":" in host else host
        try:
            bound = self._server.add_insecure_port(f"{shown_host}:{port}")
        except RuntimeError as error:
            raise ConfigError(f"listen: cannot listen on {config.listen}: {error}") from error
        return f"{shown_host}:{bound}"
