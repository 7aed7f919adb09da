"""Files that come over the wire from whoever sends them: what a server does with them, and what it keeps."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1.cutscene_pb2_grpc import CutsceneServiceStub
from cutscene_server.running import RunningServer, run_server
from cutscene_server.transfers import MOST_EXPORTS, MOST_IMPORTS
from messages import keyframed_turn, lockstep_turn, open_message
from raw_client import RawStream, details
from server_program import serving
from synthetic_server import eventually, synthetic_config

from .session_file.samples import DRAWN, Parts, sample, written

pytestmark = pytest.mark.asyncio(loop_scope="module")

FILE = written(sample())
IMPORT = "/cutscene_proto.v1.CutsceneService/ImportSession"
MAX_IMPORT = 1 << 20


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def moving() -> AsyncIterator[RunningServer]:
    """One server for all of them: that they share it shows that nothing in them hurts it."""
    config = synthetic_config(write_timeout=0.5, max_import=MAX_IMPORT, max_frames=1000, sweep_period=0.05)
    async with run_server(config) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stub(moving: RunningServer) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(moving.address) as channel:
        yield CutsceneServiceStub(channel)  # type: ignore[no-untyped-call]


def pieces(file: bytes, size: int = 4096) -> list[pb.ImportSessionRequest]:
    return [pb.ImportSessionRequest(data=file[start : start + size]) for start in range(0, len(file), size)]


async def imported(stub: Any, file: bytes, size: int = 4096) -> pb.ImportSessionResponse:
    response: pb.ImportSessionResponse = await stub.ImportSession(iter(pieces(file, size)))
    return response


async def refusal(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value


async def to_the_end(call: Any) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


async def kept(server: RunningServer, stub: Any) -> tuple[int, list[Path]]:
    """How many sessions there are, and whose frames lie on the disk."""
    sessions = (await stub.ListSessions(pb.ListSessionsRequest(page_size=1000))).sessions
    data = server.runtime.config.data_directory
    assert list((data / "incoming").iterdir()) == []
    return len(sessions), sorted((data / "sessions").iterdir())


async def nothing_more(server: RunningServer, stub: Any, before: tuple[int, list[Path]]) -> None:
    async def as_before() -> bool:
        return await kept(server, stub) == before

    await eventually(as_before)


async def test_a_file_is_taken_in_pieces_of_any_size(stub: Any) -> None:
    for size in (len(FILE), 1000, 37):
        answer = await imported(stub, FILE, size)
        assert answer.next_frame == DRAWN
        asked = pb.GetSessionRequest(session_id=answer.session_id, token=answer.token)
        assert (await stub.GetSession(asked)).session.next_frame == DRAWN


async def test_what_waited_is_drawn_once_somebody_comes(moving: RunningServer, stub: Any) -> None:
    answer = await imported(stub, FILE)
    async with grpc.aio.insecure_channel(moving.address) as channel:
        stream = RawStream(channel)
        opened = await stream.resume(pb.Opened(session_id=answer.session_id, token=answer.token), DRAWN)
        assert list(opened.recent_turn_ids) == ["one", "two", "three"]
        frames = await stream.frames(2 + 25)
        assert [frame.frame_index for frame in frames] == list(range(DRAWN, 37))
        assert [frame.turn_id for frame in frames] == ["two"] * 2 + ["three"] * 25
        await stream.say(turn=lockstep_turn("four", 1))
        assert (await stream.frames(1))[0].frame_index == 37
        await stream.say(turn=lockstep_turn("one", 1))
        assert "used before" in (await stream.hear_until("rejected")).violations[0].description
        stream.leave()


Bend = Callable[[Parts], object]
HOSTILE: dict[str, tuple[Bend, grpc.StatusCode, str, str]] = {
    "another model": (
        lambda parts: parts.manifest.update(model={"name": "other", "digest": "1" * 64}),
        grpc.StatusCode.FAILED_PRECONDITION, "drawn by other 1111111111111111", "",
    ),
    "too many frames": (
        lambda parts: parts.manifest.update(frames=1001),
        grpc.StatusCode.RESOURCE_EXHAUSTED, "has 1001 frames; this server allows at most 1000", "",
    ),
    "another shape": (
        lambda parts: parts.manifest["latents"].update(shape=[64, 9, 16]),
        grpc.StatusCode.INVALID_ARGUMENT, "file.manifest.latents.shape", "file.manifest.latents.shape",
    ),
    "a bad state at its end": (
        lambda parts: parts.frame(DRAWN - 1).__setitem__(4, b"\x90"),
        grpc.StatusCode.INVALID_ARGUMENT, "frames[9].state", f"file.session.frames[{DRAWN - 1}].state",
    ),
    "a bad turn": (
        lambda parts: parts.turn(1).__setitem__(1, ""),
        grpc.StatusCode.INVALID_ARGUMENT, "turns[1].turn_id", "file.session.turns[1].turn_id",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
async def test_what_is_refused_is_refused_by_name_and_leaves_nothing(
    moving: RunningServer, stub: Any, name: str
) -> None:
    bend, code, says, field = HOSTILE[name]
    before = await kept(moving, stub)
    parts = Parts.of(FILE)
    bend(parts)
    error = await refusal(imported(stub, parts.packed()))
    assert error.code() is code
    assert says in str(error.details())
    fields, retry_s = details(error)
    assert list(fields) == ([field] if field else [])
    assert retry_s is None
    await nothing_more(moving, stub, before)


@pytest.mark.parametrize("seed", range(3))
async def test_files_with_noise_are_refused_or_harmless_and_the_server_goes_on(
    moving: RunningServer, stub: Any, seed: int
) -> None:
    chance = random.Random(seed)
    for _ in range(40):
        file = bytearray(FILE)
        for _ in range(chance.randrange(1, 4)):
            place = chance.randrange(len(file))
            match chance.randrange(3):
                case 0:
                    file[place] ^= 1 << chance.randrange(8)
                case 1:
                    del file[place:]
                    file.append(0)
                case 2:
                    file[place:place] = chance.randbytes(3)
        with contextlib.suppress(grpc.aio.AioRpcError):
            answer = await imported(stub, bytes(file))
            assert answer.next_frame == DRAWN
    assert (await imported(stub, FILE)).next_frame == DRAWN


async def test_whoever_sends_too_slowly_is_cut_off(moving: RunningServer, stub: Any) -> None:
    before = await kept(moving, stub)

    async def silent() -> AsyncIterator[pb.ImportSessionRequest]:
        yield pieces(FILE)[0]
        await asyncio.sleep(30)

    async def dripping() -> AsyncIterator[pb.ImportSessionRequest]:
        for number in range(1000):
            yield pb.ImportSessionRequest(data=FILE[number : number + 1])
            await asyncio.sleep(0.02)

    async def empty() -> AsyncIterator[pb.ImportSessionRequest]:
        while True:
            yield pb.ImportSessionRequest()
            await asyncio.sleep(0.001)

    for sender in (silent, dripping, empty):
        begun = asyncio.get_running_loop().time()
        error = await refusal(stub.ImportSession(sender()))
        assert error.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.INTERNAL)  # see client, moving
        assert asyncio.get_running_loop().time() - begun < 5.0
    await nothing_more(moving, stub, before)


async def test_whoever_never_ends_is_cut_off(moving: RunningServer, stub: Any) -> None:
    before = await kept(moving, stub)
    sent = 0

    async def endless() -> AsyncIterator[pb.ImportSessionRequest]:
        nonlocal sent
        while True:
            sent += 100_000
            yield pb.ImportSessionRequest(data=bytes(100_000))

    error = await refusal(stub.ImportSession(endless()))
    assert error.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL)
    assert sent < 8 * MAX_IMPORT
    await nothing_more(moving, stub, before)


async def test_pieces_have_a_size_and_are_messages(moving: RunningServer, stub: Any) -> None:
    error = await refusal(stub.ImportSession(iter([pb.ImportSessionRequest(data=bytes((1 << 20) + 1))])))
    assert details(error)[0] == {"data": "found 1048577 bytes; allowed are at most 1048576"}
    async with grpc.aio.insecure_channel(moving.address) as channel:
        call: Any = channel.stream_unary(IMPORT)()
        await call.write(b"\xff\xff\xff")
        error = await refusal(call)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "not an ImportSessionRequest" in str(error.details())


async def test_two_files_at_once_and_no_more(stub: Any) -> None:
    calls = [stub.ImportSession() for _ in range(MOST_IMPORTS)]
    for call in calls:
        await call.write(pieces(FILE)[0])
    error = await refusal(imported(stub, FILE))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details(error)[1] is not None
    for call in calls:
        call.cancel()

    async def there_is_room() -> bool:
        with contextlib.suppress(grpc.aio.AioRpcError):
            return (await imported(stub, FILE)).next_frame == DRAWN
        return False

    await eventually(there_is_room)


async def test_whoever_leaves_at_any_moment_leaves_nothing(moving: RunningServer, stub: Any) -> None:
    before = await kept(moving, stub)
    chance = random.Random(0)
    large = written(sample(), batch=1)
    for _ in range(60):
        call = stub.ImportSession()
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            for request in pieces(large, 3000):
                await call.write(request)
            await call.done_writing()
        await asyncio.sleep(chance.random() * 0.008)
        call.cancel()

    # Some were answered, whether or not anybody heard it; whatever else there was is gone.
    async def settled() -> bool:
        count, directories = await kept(moving, stub)
        return count - before[0] == len(directories) - len(before[1])

    await eventually(settled)
    assert (await imported(stub, FILE)).next_frame == DRAWN


async def test_exports_that_nobody_reads_end_and_there_are_not_many_at_once(moving: RunningServer, stub: Any) -> None:
    options = [("grpc.http2.lookahead_bytes", 1 << 14), ("grpc.http2.bdp_probe", 0)]
    async with grpc.aio.insecure_channel(moving.address, options=options) as narrow:
        stream = RawStream(narrow)
        message = open_message(frame_credit=256)
        opened = await stream.open(message)
        await stream.say(turn=keyframed_turn("long", 499 / 24))
        await stream.frames(500)
        asked = pb.ExportSessionRequest(session_id=opened.session_id, token=opened.token)
        lazy: Any = CutsceneServiceStub(narrow)  # type: ignore[no-untyped-call]
        calls = [lazy.ExportSession(asked) for _ in range(MOST_EXPORTS)]
        for call in calls:
            await call.read()
        error = await refusal(stub.ExportSession(asked).read())
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await asyncio.sleep(1.0)
        for call in calls:
            error = await refusal(to_the_end(call))
            assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert "read nothing" in str(error.details())
        file = b"".join([response.data async for response in stub.ExportSession(asked)])
        assert (await imported(stub, file, 1 << 16)).next_frame == 500
        stream.leave()


async def test_a_live_session_draws_the_same_while_files_come_and_go(moving: RunningServer, stub: Any) -> None:
    async with grpc.aio.insecure_channel(moving.address) as channel:

        async def played() -> tuple[pb.Opened, list[bytes]]:
            stream = RawStream(channel)
            opened = await stream.open(open_message())
            await stream.say(turn=lockstep_turn("one", 200))
            digests = [frame.pixel_digest for frame in await stream.frames(200)]
            stream.leave()
            return opened, digests

        opened, alone = await played()
        busy = asyncio.create_task(played())
        while not busy.done():
            asked = pb.ExportSessionRequest(session_id=opened.session_id, token=opened.token)
            file = b"".join([response.data async for response in stub.ExportSession(asked)])
            assert (await imported(stub, file, 1 << 16)).next_frame == 200
        assert (await busy)[1] == alone


async def test_a_server_that_is_killed_while_a_file_comes_has_nothing_of_it(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            raw: Any = CutsceneServiceStub(channel)  # type: ignore[no-untyped-call]
            call = raw.ImportSession()
            for request in pieces(FILE)[:-1]:
                await call.write(request)
            await server.kill()
        (tmp_path / "data" / "incoming" / "left").write_bytes(FILE)
        await server.start()
        async with grpc.aio.insecure_channel(server.address) as channel:
            raw = CutsceneServiceStub(channel)  # type: ignore[no-untyped-call]
            assert list((await raw.ListSessions(pb.ListSessionsRequest())).sessions) == []
            assert list((tmp_path / "data" / "incoming").iterdir()) == []
            assert (await imported(raw, FILE)).next_frame == DRAWN


async def test_a_server_that_stops_while_a_file_comes_has_nothing_of_it(tmp_path: Path) -> None:
    config = synthetic_config(tmp_path)
    async with run_server(config) as server, grpc.aio.insecure_channel(server.address) as channel:
        call: Any = CutsceneServiceStub(channel).ImportSession()  # type: ignore[no-untyped-call]
        for request in pieces(FILE)[:-1]:
            await call.write(request)
    async with run_server(config) as server, grpc.aio.insecure_channel(server.address) as channel:
        stub: Any = CutsceneServiceStub(channel)  # type: ignore[no-untyped-call]
        assert await kept(server, stub) == (0, [])


async def test_a_damaged_session_is_not_exported_as_if_it_were_whole(tmp_path: Path) -> None:
    config = synthetic_config(tmp_path)
    async with run_server(config) as server, grpc.aio.insecure_channel(server.address) as channel:
        stream = RawStream(channel)
        opened = await stream.open(open_message())
        await stream.say(turn=lockstep_turn("one", 20))
        await stream.frames(20)
        (path,) = (tmp_path / "sessions" / opened.session_id).iterdir()
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        asked = pb.ExportSessionRequest(session_id=opened.session_id, token=opened.token)
        stub: Any = CutsceneServiceStub(channel)  # type: ignore[no-untyped-call]
        error = await refusal(to_the_end(stub.ExportSession(asked)))
        assert error.code() is grpc.StatusCode.DATA_LOSS
