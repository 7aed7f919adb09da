"""Peer: LitServe, streaming. An API process takes requests, a worker process has the model.

    python -m peers_hosts.litserve_host --port 8101

``enable_async`` with ``stream``: turns that come at once are drawn side by side; without it LitServe streams one turn
to its end before it begins the next. ``fast_queue`` (ZeroMQ) between the processes. One worker, since the model's
pipeline fills the cores by itself and another would hold the weights twice. No batching: frames of one turn depend on
one another, and LitServe does not batch asynchronous streams. Requests are JSON, as LitServe has it, around the packed
turn in base64.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import litserve

from peers_hosts.hosting import host_options, load_host
from peers_hosts.turn import MOST_REQUEST_BYTES, TurnRequest


class TurnAPI(litserve.LitAPI):
    """One turn a request."""

    def __init__(self, placement: dict[str, Any]) -> None:
        super().__init__(stream=True, enable_async=True, api_path="/perform")
        self._placement = placement

    def setup(self, device: str) -> None:
        """In the worker process."""
        self._host = load_host(**self._placement)

    async def decode_request(self, request: dict[str, str]) -> TurnRequest:
        """The turn in a request's JSON."""
        return TurnRequest.unpack(base64.b64decode(request["turn"]))

    async def predict(self, x: TurnRequest) -> AsyncIterator[bytes]:
        """The turn's frames."""
        async for frame in self._host.perform(x):
            yield frame

    async def encode_response(self, output: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Frames travel as they are."""
        async for frame in output:
            yield frame


def main() -> None:
    """Starts the server; the worker loads the model."""
    options = host_options(__doc__)
    placement = {
        "engine": options.engine,
        "model": options.model,
        "threads": options.threads,
        "keep_blocks": options.keep_blocks,
    }
    server = litserve.LitServer(
        TurnAPI(placement), accelerator="cpu", devices=1, workers_per_device=1, timeout=False, fast_queue=True,
        max_payload_size=MOST_REQUEST_BYTES,
    )  # fmt: skip
    server.run(host="127.0.0.1", port=options.port, log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    main()
