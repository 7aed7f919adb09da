"""Peer: FastAPI and a WebSocket, on uvicorn. The model is in threads of the web process.

    python -m peers_hosts.fastapi_host --port 8100

One connection a client, kept open. A binary message in is a turn, each message out a frame, an empty one its end.
uvicorn[standard]: uvloop, httptools, ``websockets``. Per-message compression is off: JPEG does not get smaller.
"""

from __future__ import annotations

from typing import Any

import fastapi
import uvicorn

from peers_hosts.hosting import ModelHost, host_options, load_host
from peers_hosts.turn import MOST_REQUEST_BYTES, TurnRequest


def application(host: ModelHost) -> Any:
    """The ASGI application."""
    app = fastapi.FastAPI()

    async def perform(socket: fastapi.WebSocket) -> None:
        await socket.accept()
        try:
            while True:
                request = TurnRequest.unpack(await socket.receive_bytes())
                async for frame in host.perform(request):
                    await socket.send_bytes(frame)
                await socket.send_bytes(b"")
        except fastapi.WebSocketDisconnect:
            pass

    app.add_api_websocket_route("/perform", perform)
    return app


def main() -> None:
    """Loads the model, then listens."""
    options = host_options(__doc__)
    host = load_host(options.engine, options.model, options.threads, options.keep_blocks)
    uvicorn.run(
        application(host), host="127.0.0.1", port=options.port, log_level="warning",
        ws_max_size=MOST_REQUEST_BYTES, ws_per_message_deflate=False, timeout_graceful_shutdown=2,
    )  # fmt: skip


if __name__ == "__main__":
    main()
