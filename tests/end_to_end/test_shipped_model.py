"""The weights that ship, played by a real server: the whole path, nothing doubled."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

import cutscene_client as cc
from cutscene_client import scene, shipped
from cutscene_client.expand import Expansion
from cutscene_client.frames import TIERS
from cutscene_client.local_server import local_server
from cutscene_client.moving import save
from cutscene_client.references import read_references
from cutscene_proto.v1 import cutscene_pb2 as pb

Pixels = npt.NDArray[np.uint8]


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


def sepia(pixels: Pixels) -> Pixels:
    grey = pixels @ np.array([0.2126, 0.7152, 0.0722])
    shown: Pixels = np.clip(grey[..., None] * [1.05, 0.95, 0.75] + [14, 5, -8], 0, 255).astype(np.uint8)
    return shown


def night(pixels: Pixels) -> Pixels:
    shown: Pixels = (255 * (pixels / 255) ** 1.25 * [0.6, 0.75, 1.0]).astype(np.uint8)
    return shown


def psnr(frames: list[cc.Frame], wanted: list[Pixels]) -> float:
    errors = [
        np.square((frame.rgb.astype(float) - want) / 255).mean() for frame, want in zip(frames, wanted, strict=True)
    ]
    return float(-10 * np.log10(np.mean(errors)))


async def test_a_still_under_a_look_brings_a_whole_film_near_it_and_one_without_leaves_it(
    address: str, expansion: Expansion
) -> None:
    async def referring(still: Pixels, tier: str) -> list[cc.Frame]:
        request = pb.Open()
        request.CopyFrom(expansion.open_request)
        request.tier = TIERS[tier]
        request.references.extend(read_references([still] if still.size else []))
        return await played(client, dataclasses.replace(expansion, open_request=request), shot=3, count=2)

    async with cc.connect(address) as client:
        (model,) = await client.models()
        assert model.references == 4
        (still, *_) = await played(client, expansion, shot=1, count=1)  # another moment, another camera
        for tier in ("draft", "standard", "high"):
            plain = await referring(np.empty(0, np.uint8), tier)
            for look in (sepia, night):
                wanted = [look(frame.rgb) for frame in plain]
                gained = psnr(await referring(look(still.rgb), tier), wanted) - psnr(plain, wanted)
                assert gained > 3, "dB"
            assert psnr(await referring(still.rgb, tier), [frame.rgb for frame in plain]) > 32, "dB"


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


async def test_a_session_is_moved_to_another_server_with_the_same_pixels(
    address: str, expansion: Expansion, tmp_path: Path
) -> None:
    """Between keyframes, so that what decides about pixels is finer than a client's float32."""
    states = expansion.shots[1].states
    turn, further = (scene.keyframed_turn({0.0: states[start], 0.2: states[start + 5]}) for start in (0, 5))
    file = tmp_path / "moved.cutscene"
    async with cc.connect(address) as client:
        session = await client.open_request(expansion.open_request)
        before = [frame.digest async for frame in session.perform(turn)]
        size = await save(client, session.id, session.token, file)
        undisturbed = [frame.digest async for frame in session.perform(further)]
        await session.close()
    assert size < 25_000 * len(before)
    with local_server() as other:
        async with cc.connect(other) as client:
            imported = await client.import_session(file)
            assert imported.differences == ()
            moved = await client.resume(imported.session_id, imported.token, 0)
            assert [frame.digest async for frame in moved.remaining()] == before
            assert [frame.digest async for frame in moved.perform(further)] == undisturbed
            await moved.close()


async def test_a_render_job_s_film_is_that_of_the_live_performance(expansion: Expansion, tmp_path: Path) -> None:
    shots = [scene.lockstep_turn(expansion.shots[shot].states[:8], f"shot-{shot}") for shot in (0, 1)]
    with local_server(["--render-output", str(tmp_path)]) as other:
        async with cc.connect(other) as client:
            session = await client.open_request(expansion.open_request)
            async with session:
                live = [frame async for frame in session.play([shots[0], cc.CUT, shots[1]])]
            render = await client.render([cc.RenderItem("short", expansion.open_request, [shots[0], cc.CUT, shots[1]])])
            (item,) = (await render.wait()).items
    digest = hashlib.blake2b(b"".join(frame.digest for frame in live), digest_size=16).digest()
    assert (item.state, item.pixel_digest) == ("done", digest)
    with av.open(str(tmp_path / item.film)) as container:
        (stream,) = container.streams.video
        assert (stream.width, stream.height, stream.average_rate) == (512, 288, Fraction(24))
        assert container.duration is not None
        assert abs(container.duration / 1e6 - 16 / 24) < 0.001
        pictures = [picture.to_ndarray(format="rgb24") for picture in container.decode(stream)]
    assert len(pictures) == 16
    for picture, frame in zip(pictures, live, strict=True):
        error = np.mean((picture.astype(np.float32) - frame.rgb.astype(np.float32)) ** 2)
        assert 10 * np.log10(255**2 / error) > 32, "each picture is its frame"
