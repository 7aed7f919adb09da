"""Peer: Ray Serve, streaming. A local cluster, its HTTP proxy, and one replica with the model.

    python -m peers_hosts.ray_host --port 8102

One deployment with one replica that takes as many turns at once as come (``max_ongoing_requests``) and streams each by
a generator. No autoscaling and no ``serve.batch``: there are cores for one replica, and frames of one turn depend on
one another. The dashboard is off, statistics of use are not sent, and every address is a loopback one.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import StreamingResponse

from peers_hosts.hosting import host_options, load_host
from peers_hosts.turn import TurnRequest

TURNS_AT_ONCE = 64


class Turns:
    """The replica."""

    def __init__(self, placement: dict[str, Any]) -> None:
        self._host = load_host(**placement)

    async def __call__(self, request: Request) -> StreamingResponse:
        """One turn a request."""
        turn = TurnRequest.unpack(await request.body())
        return StreamingResponse(self._host.perform(turn), media_type="application/octet-stream")


def main() -> None:
    """Starts the cluster and serves until it is told to stop."""
    options = host_options(__doc__)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    ray.init(
        num_cpus=os.cpu_count(), include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False,
        logging_level="warning",
    )  # fmt: skip
    try:
        serve.start(http_options=serve.HTTPOptions(host="127.0.0.1", port=options.port))
        placement = {
            "engine": options.engine,
            "model": options.model,
            "threads": options.threads,
            "keep_blocks": options.keep_blocks,
        }
        deployment = serve.deployment(
            num_replicas=1, max_ongoing_requests=TURNS_AT_ONCE, ray_actor_options={"num_cpus": 1}
        )(Turns)
        serve.run(deployment.bind(placement), name="turns", route_prefix="/perform")
        stop.wait()
        serve.shutdown()
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
