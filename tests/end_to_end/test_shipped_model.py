"""The weights that ship, played by a real server: the whole path, nothing doubled."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest

import cutscene_client as cc
from cutscene_client import scene, shipped
from cutscene_client.expand import Expansion
from cutscene_client.local_server import local_server


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with local_server() as bound:
        yield bound


@pytest.fixture(scope="module")
def expansion() -> Expansion:
    return shipped.load_expansion("tavern_dialogue")


async def played(client: cc.Client, expansion: Expansion, shot: int = 1, count: int = 6) -> list[cc.Frame]:
    session = await client.open_request(expansion.open_request)
    async with session:
        turn = scene.lockstep_turn(expansion.shots[shot].states[:count])
        return [frame async for frame in session.perform(turn)]


async def test_frames_are_pictures(address: str, expansion: Expansion) -> None:
    async with cc.connect(address) as client:
        (model,) = await client.models()
        assert (model.width, model.height) == (512, 288)
        frames = await played(client, expansion)
    for frame in frames:
        assert frame.rgb.shape == (288, 512, 3)
        assert frame.rgb.std() > 10, "not flat"
        # A picture has large shapes: neighbouring pixels are alike, which noise is not.
        across = np.abs(np.diff(frame.rgb.astype(np.int16), axis=1)).mean()
        assert across < frame.rgb.std() / 2
    assert frames[0].blocks_computed > 0
    assert frames[-1].blocks_reused > frames[0].blocks_reused
    assert frames[-1].blocks_computed == 1, "a frame makes one block, that of the frame before it"


async def test_a_neighbour_changes_no_pixel(address: str, expansion: Expansion) -> None:
    other = shipped.load_expansion("throne_duel")
    async with cc.connect(address) as client:
        alone = await played(client, expansion)
        beside, _ = await asyncio.gather(played(client, expansion), played(client, other))
    assert [frame.digest for frame in alone] == [frame.digest for frame in beside]


async def test_every_shipped_script_is_in_the_model_s_vocabulary(address: str) -> None:
    async with cc.connect(address) as client:
        for name in shipped.names():
            frames = await played(client, shipped.load_expansion(name), shot=0, count=1)
            assert len(frames) == 1, name


async def test_a_dropped_stream_is_resumed_with_the_same_pixels(address: str, expansion: Expansion) -> None:
    async with cc.connect(address) as client:
        whole = {frame.index: frame.digest for frame in await played(client, expansion, count=10)}
        session = await client.open_request(expansion.open_request)
        seen: dict[int, bytes] = {}
        async for frame in session.perform(scene.lockstep_turn(expansion.shots[1].states[:10])):
            seen[frame.index] = frame.digest
            if frame.index == 2:
                break
        session.detach()
        resumed = await client.resume(session.id, session.token, session.next_frame)
        async for frame in resumed.remaining():
            assert frame.index not in seen
            seen[frame.index] = frame.digest
        await resumed.close()
    assert seen == whole
