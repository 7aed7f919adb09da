"""The asset packs are data beside the project: tests that draw or move skip where they are not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def assets() -> Path:
    folder = os.environ.get("CUTSCENE_ASSETS")
    if not folder:
        pytest.skip("CUTSCENE_ASSETS is unset: it names the folder of the art packs, with adventurers/ and dungeon/")
    return Path(folder)
