"""Servers with the synthetic engine, real in every other part."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest_asyncio

# Here for the tests, and for the inference process: a spawned child gets its parent's path.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "doubles"))

from cutscene_server.running import RunningServer, run_server
from synthetic_server import synthetic_config


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[RunningServer]:
    """One server for all tests of a module: that they share it shows that nothing in them hurts it."""
    async with run_server(synthetic_config(stop_grace=1.0)) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def channel(server: RunningServer) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(server.address) as opened:
        yield opened
