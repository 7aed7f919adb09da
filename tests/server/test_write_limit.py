"""One timer for a stream's writes: it ends one that takes too long, and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from cutscene_server.service.write_limit import WriteLimit


async def write(limit: WriteLimit, taken: asyncio.Future[None]) -> str:
    limit.begin()
    try:
        await taken
    except asyncio.CancelledError:
        if limit.was_exceeded():
            return "exceeded"
        raise
    finally:
        limit.end()
    return "written"


async def test_a_write_that_nobody_takes_is_ended_also_after_others_that_were_taken() -> None:
    loop = asyncio.get_running_loop()
    limit = WriteLimit(0.05)

    async def writes() -> list[str]:
        said = []
        for _ in range(3):
            taken = loop.create_future()
            loop.call_later(0.02, taken.set_result, None)
            said.append(await write(limit, taken))
        said.append(await write(limit, loop.create_future()))
        return said

    task = asyncio.create_task(writes())
    assert await task == ["written", "written", "written", "exceeded"]
    assert task.cancelling() == 0
    limit.close()


async def test_a_task_that_somebody_else_cancels_is_cancelled() -> None:
    limit = WriteLimit(30.0)
    task = asyncio.create_task(write(limit, asyncio.get_running_loop().create_future()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    limit.close()


async def test_time_between_writes_does_not_count_and_a_closed_limit_ends_nothing() -> None:
    limit = WriteLimit(0.02)
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    assert await write(limit, done) == "written"
    await asyncio.sleep(0.06)
    assert await write(limit, done) == "written"
    limit.begin()
    limit.close()
    await asyncio.sleep(0.06)  # would be cancelled here
    limit.end()
