"""A real server in its own process, started by the client's own code, with the engine double that knows every look."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cutscene_client.local_server import local_server

DOUBLES = Path(__file__).resolve().parents[1] / "doubles"


@pytest.fixture(scope="session")
def metrics_address() -> str:
    """Where that server's metrics are."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as probe:
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture(scope="session")
def server_address(metrics_address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = os.pathsep.join([str(DOUBLES), *filter(None, [os.environ.get("PYTHONPATH")])])
    films = tmp_path_factory.mktemp("films")
    arguments = ["--engine", "sketch_engine:load", "--render-output", str(films), "--metrics-listen", metrics_address]
    with local_server(arguments, {"PYTHONPATH": path}) as address:
        yield address
