"""The shipped scripts, expanded once for all tests that look at them."""

from __future__ import annotations

import pytest

from cutscene_client import shipped
from cutscene_client.expand import Expansion


@pytest.fixture(scope="session")
def expansions() -> dict[str, Expansion]:
    return {name: shipped.load_expansion(name) for name in shipped.names()}
