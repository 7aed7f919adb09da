"""A store that refuses for a moment, as a full disk does: the call fails, and the session is what it was before."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1.cutscene_pb2_grpc import CutsceneServiceStub
from cutscene_server.running import run_server
from cutscene_server.store import Store, StoreError
from messages import lockstep_turn, open_message
from raw_client import RawStream
from synthetic_server import synthetic_config

pytestmark = pytest.mark.asyncio


@contextlib.contextmanager
def refusing(directory: Path, table: str) -> Iterator[None]:
    """The catalogue takes no new row of a table while the block lasts."""
    with contextlib.closing(sqlite3.connect(directory / "catalogue.sqlite", isolation_level=None)) as catalogue:
        catalogue.execute(f"CREATE TRIGGER full BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'full'); END")
        yield
        catalogue.execute("DROP TRIGGER full")


async def test_a_session_whose_going_back_could_not_be_stored_is_where_it_was(tmp_path: Path) -> None:
    async with run_server(synthetic_config(tmp_path)) as server, grpc.aio.insecure_channel(server.address) as channel:
        stream = RawStream(channel)
        opened = await stream.open(open_message())
        await stream.say(turn=lockstep_turn("one", 10))
        await stream.frames(10)
        with refusing(tmp_path, "timelines"):
            await stream.say(rewind=pb.Rewind(frame=4))
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await stream.hear_to_end()
            assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        again = RawStream(channel)
        assert (await again.resume(opened, 10)).epoch == 0
        await again.say(turn=lockstep_turn("two", 2))
        assert [frame.frame_index for frame in await again.frames(2)] == [10, 11]
        await again.say(rewind=pb.Rewind(frame=4))
        assert (await again.hear_until("rewound")).next_frame == 4
        await again.say(turn=lockstep_turn("three", 2))
        assert [frame.frame_index for frame in await again.frames(2)] == [4, 5]


async def test_a_replay_that_could_not_be_stored_whole_leaves_nothing(tmp_path: Path) -> None:
    async with run_server(synthetic_config(tmp_path)) as server, grpc.aio.insecure_channel(server.address) as channel:
        stub: Any = CutsceneServiceStub(channel)  # type: ignore[no-untyped-call]
        stream = RawStream(channel)
        opened = await stream.open(open_message())
        await stream.say(turn=lockstep_turn("one", 4))
        await stream.frames(4)
        with refusing(tmp_path, "turns"), pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.ReplaySession(pb.ReplaySessionRequest(session_id=opened.session_id, token=opened.token))
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        (listed,) = (await stub.ListSessions(pb.ListSessionsRequest())).sessions
        assert listed.session_id == opened.session_id


async def test_states_whose_passing_over_could_not_be_stored_are_stored_with_what_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the turn they are of would be one frame longer on disk than it ever gets."""
    stored: list[tuple[int, int]] = []

    def skip_states(store: Store, session_id: str, turn_number: int, states: int) -> None:
        if turn_number == 1 and (turn_number, states) not in refused:
            refused.append((turn_number, states))
            raise StoreError("the disk is full")
        stored.append((turn_number, states))

    refused: list[tuple[int, int]] = []
    monkeypatch.setattr(Store, "skip_states", skip_states)
    async with run_server(synthetic_config(tmp_path)) as server, grpc.aio.insecure_channel(server.address) as channel:
        stream = RawStream(channel)
        opened = await stream.open(open_message())
        (record,) = server.runtime.sessions
        record.session.give_back_skips([(2, 5), (0, 3), (1, 4)])
        await stream.say(turn=lockstep_turn("one", 1))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stream.hear_to_end()
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        assert stored == [(0, 3)]
        again = RawStream(channel)
        await again.resume(opened, 0)
        await again.say(turn=lockstep_turn("one", 1))
        await again.frames(1)
        assert stored == [(0, 3), (1, 4), (2, 5)]
