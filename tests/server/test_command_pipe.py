"""Writing to a pipe that nobody reads: it never waits, everything comes in order, and the end is no error."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import AsyncIterator, Coroutine
from multiprocessing.connection import Connection

import pytest
import pytest_asyncio

from cutscene_server import worker_messages
from cutscene_server.__main__ import loop_factory
from cutscene_server.command_pipe import CommandPipe
from cutscene_server.worker_link import WorkerLink
from synthetic_server import synthetic_config

Ends = tuple[CommandPipe, Connection]


@pytest_asyncio.fixture
async def ends() -> AsyncIterator[Ends]:
    """The pipe, and the other side's connection."""
    here, there = multiprocessing.Pipe()
    pipe = CommandPipe(here)
    yield pipe, there
    pipe.close()
    here.close()
    there.close()


MESSAGES = [bytes([number % 256]) * (1 + 7919 * number % 50_000) for number in range(200)]
MESSAGES[50:50] = [bytes(3_000_000), b"x"]


def received(there: Connection, count: int) -> list[bytes]:
    return [there.recv_bytes() for _ in range(count)]


@pytest.mark.asyncio
async def test_a_message_that_has_room_is_written_at_once(ends: Ends) -> None:
    pipe, there = ends
    for message in (b"", b"one", bytes(20_000)):
        pipe.send(message)
        assert pipe.held == 0
        assert there.recv_bytes() == message
    await pipe.written()


def on_the_servers_loop(run: Coroutine[None, None, None]) -> None:
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(run)


async def through_a_full_pipe(ends: Ends) -> None:
    pipe, there = ends
    for message in MESSAGES:
        pipe.send(message)
    assert 0 < sum(map(len, MESSAGES)) - pipe.held < 1 << 20
    first = received(there, 5)
    pipe.send(b"behind")  # there is room now, but what waits is not overtaken
    reading = asyncio.create_task(asyncio.to_thread(received, there, len(MESSAGES) - 5 + 1))
    assert first + await reading == [*MESSAGES, b"behind"]
    await pipe.written()
    assert pipe.held == 0
    pipe.send(b"after")
    assert pipe.held == 0
    assert there.recv_bytes() == b"after"


@pytest.mark.asyncio
async def test_what_a_full_pipe_does_not_take_waits_and_comes_in_its_order(ends: Ends) -> None:
    await through_a_full_pipe(ends)


def test_the_same_on_the_loop_that_the_server_runs_on() -> None:
    async def run() -> None:
        here, there = multiprocessing.Pipe()
        pipe = CommandPipe(here)
        await through_a_full_pipe((pipe, there))
        pipe.close()

    on_the_servers_loop(run())


def test_a_process_is_heard_after_it_was_sent_more_than_a_pipe_takes() -> None:
    async def run() -> None:
        link = WorkerLink(synthetic_config())
        try:
            await link.start()
            facts = link.facts()
            for number in range(3):
                link.send(worker_messages.Encode(number, bytes(3_000_000)))  # which is no picture
                assert isinstance(failed := await anext(facts), worker_messages.EncodeFailed)
                assert failed.number == number
        finally:
            await link.stop()

    on_the_servers_loop(run())


@pytest.mark.asyncio
async def test_nobody_waits_for_a_reader_that_is_gone(ends: Ends) -> None:
    pipe, there = ends
    pipe.send(bytes(3_000_000))
    waiting = asyncio.create_task(pipe.written())
    await asyncio.sleep(0)
    assert not waiting.done()
    there.close()
    await waiting
    for _ in range(3):
        pipe.send(b"lost")
    assert pipe.held == 0


@pytest.mark.asyncio
async def test_closing_drops_what_waits_and_ends_whoever_reads(ends: Ends) -> None:
    pipe, there = ends
    pipe.send(bytes(3_000_000))
    waiting = asyncio.create_task(pipe.written())
    await asyncio.sleep(0)
    pipe.close()
    pipe.close()
    await waiting
    with pytest.raises((EOFError, OSError)):
        there.recv_bytes()
    assert pipe.held == 0
    pipe.send(b"lost")
