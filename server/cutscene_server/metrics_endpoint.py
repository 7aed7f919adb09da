"""The metrics over HTTP, for Prometheus to scrape. A thread of its own, and one scrape at a time.

Backpressure policy, "one": whoever connects while a scrape is answered waits in the listening socket's short queue, and
a connection that says nothing is closed after some seconds. So scrapers can neither pile up nor reach the event loop.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Iterator
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, disable_created_metrics, make_wsgi_app

from cutscene_server.errors import ConfigError

log = logging.getLogger("cutscene_server")


@contextlib.contextmanager
def serving(registry: CollectorRegistry, host: str, port: int) -> Iterator[str]:
    """Serves a registry's metrics while the block lasts; yields host:port as it is bound.

    Raises ``ConfigError`` if the address cannot be had.
    """
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, that no panel reads
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        kind = _Server6 if family is socket.AF_INET6 else _Server
        server = make_server(host, port, make_wsgi_app(registry), server_class=kind, handler_class=_Handler)
    except OSError as error:
        raise ConfigError(f"metrics_listen: cannot listen on {host}:{port}: {error}") from error
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="metrics", daemon=True)
    thread.start()
    shown_host = f"[{host}]" if ":" in host else host
    try:
        yield f"{shown_host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(WSGIServer):
    def server_bind(self) -> None:
        # HTTPServer's own asks the name service who the host is, which may take seconds.
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def handle_error(self, request: object, client_address: object) -> None:
        log.debug("a scrape of the metrics failed", exc_info=True)


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = 5.0  # seconds that a scraper may take to say what it wants, or to read on

    def address_string(self) -> str:
        return str(self.client_address[0])

    def log_message(self, format: str, *args: object) -> None:
        """Scrapes are not worth a line each."""
