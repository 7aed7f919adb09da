"""Reference pictures over the wire: what is refused, what a session keeps, and a process that ends on seeing one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import grpc
import pytest
import pytest_asyncio

from cutscene_model.scene import Stage
from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1.cutscene_pb2_grpc import CutsceneServiceStub
from cutscene_server.crew import Crew
from cutscene_server.errors import NoRoom
from cutscene_server.packed_scene import pack_stage, unpack_stage
from cutscene_server.references import MOST_WAITING, References
from cutscene_server.running import RunningServer, run_server
from messages import lockstep_turn, open_message
from pictures import jpeg, noise, png, top_row
from raw_client import RawStream, details
from synthetic_engine import MANIFEST
from synthetic_server import synthetic_config

pytestmark = pytest.mark.asyncio(loop_scope="module")

LARGEST = 1 << 20
WHITE, RED = png(top_row((255, 255, 255))), png(top_row((255, 0, 0)))  # see ``SyntheticEngine.encode``


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def serving() -> AsyncIterator[RunningServer]:
    async with run_server(synthetic_config(stop_grace=1.0)) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def channel(serving: RunningServer) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(serving.address) as opened:
        yield opened


def opening(*pictures: bytes) -> pb.Open:
    message = open_message()
    message.references.extend(pb.ReferencePicture(data=picture) for picture in pictures)
    return message


async def refused(channel: grpc.aio.Channel, message: pb.Open) -> tuple[grpc.StatusCode, dict[str, str]]:
    stream = RawStream(channel)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stream.open(message)
    return raised.value.code(), details(raised.value)[0]


async def digests(channel: grpc.aio.Channel, message: pb.Open) -> list[bytes]:
    stream = RawStream(channel)
    await stream.open(message)
    await stream.say(turn=lockstep_turn("one", 3))
    frames = [frame.pixel_digest for frame in await stream.frames(3)]
    stream.leave()
    return frames


def stage_of(serving: RunningServer, session_id: str) -> Stage:
    record = serving.runtime.sessions.get(session_id)
    assert record is not None
    return unpack_stage(record.packed_stage)


@pytest.mark.parametrize(
    ("pictures", "field", "says"),
    [
        ([png(noise())] * 4, "open.references", "found 4 items; allowed are 0 to 3"),
        ([b"x"] * 10_000, "open.references", "found 10000 items"),
        ([png(noise()), b""], "open.references[1].data", "found 0 bytes; allowed are 1 to 1048576"),
        ([bytes(LARGEST + 1)], "open.references[0].data", "found 1048577 bytes"),
        ([bytes(LARGEST)], "open.references[0].data", "is neither a JPEG nor a PNG"),
        ([png(noise()), jpeg(noise())[:-40]], "open.references[1].data", "is no whole JPEG"),
        ([png(noise(40, 64))], "open.references[0].data", "found 40x64 pixels; allowed are sides of 64 to 4096"),
    ],
    ids=["one too many", "very many", "empty", "a byte too large", "not a picture", "torn", "small"],
)
async def test_what_is_no_reference_is_an_invalid_argument_that_names_field_and_limit(
    channel: grpc.aio.Channel, pictures: list[bytes], field: str, says: str
) -> None:
    code, fields = await refused(channel, opening(*pictures))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert says in fields[field]


async def test_a_refused_reference_leaves_no_session(serving: RunningServer, channel: grpc.aio.Channel) -> None:
    before = len(list(serving.runtime.sessions))
    await refused(channel, opening(b"nothing"))
    assert len(list(serving.runtime.sessions)) == before


async def test_models_say_how_many_they_take(channel: grpc.aio.Channel) -> None:
    stub = CutsceneServiceStub(channel)  # type: ignore[no-untyped-call]
    assert (await stub.ListModels(pb.ListModelsRequest())).models[0].references == 3


async def test_references_change_the_frames_and_only_what_the_model_sees_of_them_is_kept(
    serving: RunningServer, channel: grpc.aio.Channel
) -> None:
    first, second = png(noise(seed=1)), png(noise(seed=2))
    stream = RawStream(channel)
    opened = await stream.open(opening(first, second))
    kept = stage_of(serving, opened.session_id).references
    assert [len(seen) for seen in kept] == [MANIFEST.reference_bytes] * 2
    record = serving.runtime.sessions.get(opened.session_id)
    assert record is not None
    stored = await serving.runtime.archive.stored(record)
    assert unpack_stage(stored.opened.packed_stage).references == kept
    assert first[40:80] not in stored.opened.packed_stage
    stream.leave()

    without = await digests(channel, opening())
    chosen = ((first,), (second,), (first, second), (second, first))
    variants = [await digests(channel, opening(*pictures)) for pictures in chosen]
    assert len({tuple(each) for each in (without, *variants)}) == 5
    assert await digests(channel, opening(first, second)) == variants[2]
    assert await digests(channel, opening()) == without


async def test_what_the_model_cannot_encode_ends_the_call_and_nothing_else(channel: grpc.aio.Channel) -> None:
    assert (await refused(channel, opening(WHITE)))[0] is grpc.StatusCode.INTERNAL
    assert await digests(channel, opening(png(noise())))


async def test_a_picture_that_ends_processes_is_given_up_and_other_sessions_go_on() -> None:
    async with run_server(synthetic_config()) as server, grpc.aio.insecure_channel(server.address) as channel:
        unhurried = open_message(cast=("actor-0", "slow"))  # so that its frames are being drawn when processes end
        calm, playing = RawStream(channel), RawStream(channel)
        for stream in (calm, playing):
            await stream.open(unhurried)
            await stream.say(turn=lockstep_turn("one", 40))
            if stream is calm:
                expected = [frame.pixel_digest for frame in await stream.frames(40)]
        code, _ = await refused(channel, opening(RED))
        assert code is grpc.StatusCode.INTERNAL
        assert [frame.pixel_digest for frame in await playing.frames(40)] == expected
        assert await digests(channel, opening(png(noise())))


class HeldCrew:
    """A process that encodes once it is told to."""

    at_work = True

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.asked = asyncio.Event()

    def roomiest(self) -> HeldCrew:
        return self

    async def encode(self, pixels: bytes) -> bytes:
        self.asked.set()
        await self.go_on.wait()
        return bytes(MANIFEST.reference_bytes)


async def test_some_sessions_wait_with_their_pictures_others_are_refused_and_whoever_leaves_makes_room() -> None:
    crew = HeldCrew()
    references = References(cast("Crew", crew), lambda: MANIFEST)
    stage, pictures = pack_stage(Stage()), [png(noise())]
    waiting = [asyncio.create_task(references.added(stage, pictures)) for _ in range(MOST_WAITING)]
    await crew.asked.wait()
    with pytest.raises(NoRoom) as raised:
        await references.added(stage, pictures)
    assert raised.value.retry_after_s
    assert await references.added(stage, []) == stage  # without pictures nobody waits
    waiting[0].cancel()  # the one that is in hand
    waiting[5].cancel()
    await asyncio.gather(waiting[0], waiting[5], return_exceptions=True)
    waiting.append(asyncio.create_task(references.added(stage, pictures)))
    crew.go_on.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    left = [isinstance(result, asyncio.CancelledError) for result in results]
    assert left == [index in (0, 5) for index in range(MOST_WAITING + 1)]
    assert isinstance(results[-1], bytes)
    assert unpack_stage(results[-1]).references == (bytes(MANIFEST.reference_bytes),)
    references.close()
