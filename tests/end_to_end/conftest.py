"""A real server in its own process, started by the client's own code, with the engine double that knows every look."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cutscene_client.local_server import local_server

DOUBLES = Path(__file__).resolve().parents[1] / "doubles"


@pytest.fixture(scope="session")
def server_address() -> Iterator[str]:
    with local_server(["--engine", "sketch_engine:load"], {"PYTHONPATH": str(DOUBLES)}) as address:
        yield address
