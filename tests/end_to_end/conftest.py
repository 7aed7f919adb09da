"""A real server in its own process, started by the client's own code, with the engine double that knows every look."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cutscene_client.local_server import local_server

DOUBLES = Path(__file__).resolve().parents[1] / "doubles"


@pytest.fixture(scope="session")
def server_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = os.pathsep.join([str(DOUBLES), *filter(None, [os.environ.get("PYTHONPATH")])])
    films = tmp_path_factory.mktemp("films")
    arguments = ["--engine", "sketch_engine:load", "--render-output", str(films)]
    with local_server(arguments, {"PYTHONPATH": path}) as address:
        yield address
