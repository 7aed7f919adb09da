"""Sessions that leave memory to make room: never one that somebody is just coming to, and nothing is left of them."""

from __future__ import annotations

import asyncio
from collections import Counter

import grpc
import pytest

from cutscene_server.running import run_server
from messages import lockstep_turn, open_message
from raw_client import RawStream
from synthetic_server import synthetic_config

pytestmark = pytest.mark.asyncio


async def test_a_session_that_is_being_opened_is_not_parked_for_another_one() -> None:
    async with run_server(synthetic_config(max_sessions=1)) as server, grpc.aio.insecure_channel(server.address) as ch:

        async def comes() -> str:
            stream = RawStream(ch)
            try:
                await stream.open(open_message())
            except grpc.aio.AioRpcError as error:
                return str(error.code().name)
            await stream.say(turn=lockstep_turn("one", 1))
            await stream.frames(1)
            return "opened"

        told = Counter(await asyncio.gather(*[comes() for _ in range(6)]))
        assert told == {"opened": 1, "RESOURCE_EXHAUSTED": 5}
