"""Log lines never make anybody wait, are bounded in number, and what is left out is counted."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import re
import socket
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from cutscene_server import log_lines
from cutscene_server.log_lines import MOST_REMEMBERED, MOST_REPEATS, REPEATS_WINDOW_S, LineQueue
from messages import lockstep_turn, open_message
from raw_client import RawStream
from server_program import serving


class Pipe:
    """A pipe that is full until somebody reads it."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.writing, False)
        self.filled = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                self.filled += os.write(self.writing, b" " * 4096)
        os.set_blocking(self.writing, True)

    def read_to_the_end(self) -> str:
        """What was written beyond the filling, once nobody can write any more."""
        os.close(self.writing)
        with os.fdopen(self.reading, "rb") as file:
            return file.read()[self.filled :].decode()


@contextlib.contextmanager
def lines_to(descriptor: int, *, most_lines: int = 1000, now: list[float] | None = None) -> Iterator[logging.Logger]:
    handler = LineQueue(descriptor, most_lines, lambda: now[0] if now else 0.0)
    logger = logging.Logger("test")
    logger.addHandler(handler)
    try:
        yield logger
    finally:
        handler.stop(20)
        handler.close()


def logged(path: Path) -> list[str]:
    return path.read_text().splitlines()


async def test_a_server_whose_standard_error_nobody_reads_plays_and_stops(tmp_path: Path) -> None:
    pipe = Pipe()
    async with serving(tmp_path, "--log-level", "DEBUG", standard_error=pipe.writing) as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            stream = RawStream(channel)
            await stream.open(open_message())
            for number in range(3):
                await stream.say(turn=lockstep_turn(f"turn-{number}", 2))
                assert len(await stream.frames(2)) == 2
            with pytest.raises(grpc.aio.AioRpcError):
                await RawStream(channel).open(open_message(cast=("fail_begin",)))
        assert server.program is not None
        await server.stop()
        assert server.program.returncode == 0
    pipe.read_to_the_end()


async def test_a_client_that_resumes_in_a_loop_makes_no_more_lines_than_a_few(tmp_path: Path) -> None:
    times = 40
    async with serving(tmp_path) as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            stream = RawStream(channel)
            opened = await stream.open(open_message())
            await stream.say(close={})
            await stream.hear_until("closed")
            for _ in range(times):
                again = RawStream(channel)
                await again.resume(opened, 0)
                await again.hear_until("closed")
                again.call.cancel()
        log = await server.stop()
    assert 0 < log.count("detached at frame 0\n") <= MOST_REPEATS
    (told,) = re.findall(r"detached at frame 0 \((\d+) times more within", log)
    assert int(told) >= times - MOST_REPEATS


async def test_what_a_broken_client_does_to_its_connection_writes_no_line(tmp_path: Path) -> None:
    """grpc's C core would write one from a thread of its own, past every bound there is here."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # RFC 9113: and empty settings
    goaway = bytes([0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2])

    def break_connections(host: str, port: int) -> None:
        for _ in range(3):
            with socket.create_connection((host, port)) as connection:
                connection.sendall(preface)
                connection.recv(9)  # the server's settings
                connection.sendall(goaway)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass

    async with serving(tmp_path) as server:
        host, _, port = server.address.partition(":")
        await asyncio.to_thread(break_connections, host, int(port))
        log = await server.stop()
    assert "listening" in log
    assert "goaway" not in log.lower()


def test_what_finds_the_queue_full_is_counted_and_told_where_the_gap_is() -> None:
    pipe = Pipe()
    with lines_to(pipe.writing, most_lines=4) as logger:
        for number in range(20):
            logger.warning("line %d", number)
        (handler,) = logger.handlers
        assert isinstance(handler, LineQueue)
        assert handler.dropped in (15, 16)  # the writer may hold one besides the four that wait
        os.read(pipe.reading, pipe.filled)  # somebody reads again
        pipe.filled = 0
    lines = pipe.read_to_the_end().splitlines()
    kept = 20 - handler.dropped
    assert lines[:kept] == [f"line {number}" for number in range(kept)]
    assert lines[kept:] == [f"{handler.dropped} lines were dropped here: whoever reads this log is too slow"]


def test_a_pipe_that_its_maker_set_not_to_wait_gets_every_line() -> None:
    pipe = Pipe()
    os.set_blocking(pipe.writing, False)
    with lines_to(pipe.writing) as logger:
        logger.warning("100 %")
        os.read(pipe.reading, pipe.filled)
        pipe.filled = 0
    assert pipe.read_to_the_end() == "100 %\n"


def test_stopping_gives_up_on_a_reader_that_does_not_read() -> None:
    pipe = Pipe()
    handler = LineQueue(pipe.writing, 2)
    for number in range(9):
        handler.handle(logging.makeLogRecord({"msg": f"line {number}"}))
    handler.stop(0.01)
    os.read(pipe.reading, pipe.filled)
    os.close(pipe.reading)


def test_lines_go_on_once_a_reader_has_gone(tmp_path: Path) -> None:
    """The writer outlives a broken pipe: the descriptor may lead somewhere else by then."""
    reading, writing = os.pipe()
    os.close(reading)
    with lines_to(writing) as logger, (tmp_path / "log").open("w") as file:
        logger.warning("lost")
        os.dup2(file.fileno(), writing)
        logger.warning("kept")
    os.close(writing)
    assert logged(tmp_path / "log")[-1:] == ["kept"]


def test_a_line_that_repeats_is_told_a_few_times_and_then_counted(tmp_path: Path) -> None:
    now = [0.0]
    with (tmp_path / "log").open("w") as file, lines_to(file.fileno(), now=now) as logger:
        for _ in range(100):
            logger.warning("detached at frame %d", 7)
            logger.warning("detached at frame %d", 8) if now[0] == 0.0 else None
            now[0] += 0.1
        logger.warning("another")
        now[0] = REPEATS_WINDOW_S + 1
        logger.warning("detached at frame %d", 7)
    assert logged(tmp_path / "log") == [
        "detached at frame 7",
        "detached at frame 8",
        *["detached at frame 7"] * (MOST_REPEATS - 1),
        "another",
        f"detached at frame 7 ({100 - MOST_REPEATS} times more within {REPEATS_WINDOW_S + 1:.0f} s)",
        "detached at frame 7",
    ]


def test_what_is_remembered_of_lines_is_bounded_and_what_was_held_back_is_told_at_the_end(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file, lines_to(file.fileno(), most_lines=9000) as logger:
        for _ in range(MOST_REPEATS + 2):
            logger.warning("again")
        for number in range(MOST_REMEMBERED):
            logger.warning("line %d", number)
        for _ in range(MOST_REPEATS + 3):
            logger.warning("at last")
    lines = logged(tmp_path / "log")
    assert lines.index("again (2 times more within 0 s)") < lines.index("at last")
    assert lines[-1] == "at last (3 times more within 0 s)"


def test_what_a_failed_call_knew_is_not_kept_in_memory() -> None:
    repeats = log_lines.Repeats(lambda: 0.0)

    def fail() -> weakref.ref[set[int]]:
        known = {1, 2, 3}
        try:
            raise ValueError("a fault")
        except ValueError as error:
            record = logging.makeLogRecord({"msg": "failed", "exc_info": (ValueError, error, error.__traceback__)})
        assert repeats.passed(record) == [record]
        assert record.exc_info  # it is still to be written with its traceback
        return weakref.ref(known)

    known = fail()
    gc.collect()
    assert known() is None


def test_a_server_may_have_no_standard_error() -> None:
    program = "import logging; from cutscene_server import logs\n"
    program += "with logs.to_standard_error('INFO', as_json=False): logging.warning('nobody hears')"
    done = subprocess.run(["sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, program], check=False)
    assert done.returncode == 0
