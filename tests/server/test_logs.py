"""Lines about a session or a turn carry their ids as fields, in both processes, and no line carries a token."""

from __future__ import annotations

import ast
import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import grpc
import pytest

from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1.cutscene_pb2_grpc import CutsceneServiceStub
from cutscene_server import logs
from messages import lockstep_turn, open_message
from raw_client import RawStream
from server_program import serving

SERVER = Path(__file__).resolve().parents[2] / "server" / "cutscene_server"


async def test_every_line_of_a_session_can_be_found_by_its_id_and_none_has_a_token(tmp_path: Path) -> None:
    opened: dict[str, pb.Opened] = {}
    async with serving(tmp_path, "--log-json", "--log-level", "DEBUG") as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            good, bad, unbegun = RawStream(channel), RawStream(channel), RawStream(channel)
            opened["good"] = await good.open(open_message())
            await good.say(turn=lockstep_turn("good-turn", 3))
            await good.frames(3)
            opened["bad"] = await bad.open(open_message(cast=("actor-0", "fail_frame_3")))
            await bad.say(turn=lockstep_turn("bad-turn", 6))
            await bad.hear_until("closed")
            with pytest.raises(grpc.aio.AioRpcError):
                await unbegun.open(open_message(cast=("fail_begin",)))
            stub = CutsceneServiceStub(channel)  # type: ignore[no-untyped-call]
            fork = pb.ForkSessionRequest(session_id=opened["good"].session_id, token=opened["good"].token, frame=2)
            opened["fork"] = await RawStream(channel).resume(
                pb.Opened(session_id=(forked := await stub.ForkSession(fork)).session_id, token=forked.token), 2
            )
        text = await server.stop()
    lines = [json.loads(line) for line in text.splitlines()]
    for message in opened.values():
        assert message.session_id in text
        for token in (message.token, message.watch_token):
            assert not token or token not in text
    assert forked.token not in text

    def of(session_id: str) -> list[dict[str, Any]]:
        return [line for line in lines if line.get("session_id") == session_id]

    good_lines = of(opened["good"].session_id)
    told = [line["message"] for line in good_lines]
    for expected in ("opened", "took a turn of 3 frames", "forked at frame 2", "detached at frame 3"):
        assert any(expected in message for message in told), told
    assert [line["turn_id"] for line in good_lines if "turn_id" in line] == ["good-turn"]
    failures = [line for line in of(opened["bad"].session_id) if line["level"] == "ERROR"]
    drawn, failed = (
        next(line for line in failures if text in line["message"]) for text in ("could not draw", "failed")
    )
    assert (drawn["turn_id"], drawn["frame"]) == ("bad-turn", 3)
    assert (failed["frame"], failed["logger"]) == (3, "cutscene_server.worker")
    assert "frame 3 cannot be drawn" in failed["exception"]
    for line in lines:
        if line["message"].startswith("session "):
            assert line["session_id"]
            assert line["message"].startswith(f"session {line['session']} ")
        assert set(line) <= {"time", "level", "logger", "process", "message", "exception", *logs.FIELDS}
    assert any("could not begin" in line["message"] and line["process"] != "MainProcess" for line in lines)


def test_lines_about_sessions_go_by_the_session() -> None:
    """A format that names a session itself would leave the line without its fields."""
    for path in sorted(SERVER.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            format_ = node.args[0]
            if node.func.attr not in ("debug", "info", "warning", "error", "exception", "critical"):
                continue
            if isinstance(format_, ast.Constant) and isinstance(format_.value, str):
                assert "session %" not in format_.value, f"{path.name}:{node.lineno}: use the session's own `log`"


def formatted(record: logging.LogRecord) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(logs.JsonFormatter().format(record))
    return line


def test_fields_of_a_line_go_before_those_of_its_task(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("cutscene_server.test")
    plain = logs.SessionLogger(logger, 3, "3f9a")
    with caplog.at_level(logging.INFO):
        plain.info("opened: %s", "kaykit")
        plain.info("drew", extra={"turn_id": "one", "frame": 0})
    first, second = map(formatted, caplog.records)
    assert (first["message"], first["session"], first["session_id"]) == ("session 3 opened: kaykit", 3, "3f9a")
    assert "turn_id" not in first
    assert (second["turn_id"], second["frame"]) == ("one", 0)


async def test_a_tasks_lines_are_about_its_session_and_no_other_tasks_are(capfd: pytest.CaptureFixture[str]) -> None:
    root, logger = logging.getLogger(), logging.getLogger("cutscene_server.test")
    before, level = root.handlers[:], root.level
    root.handlers.clear()

    async def call(key: int) -> None:
        logs.about(key, f"id-{key}")
        await asyncio.sleep(0)
        logger.info("a line of a call")
        logger.info("of another session", extra={"session_id": "other"})

    try:
        with logs.to_standard_error("INFO", as_json=True):
            await asyncio.gather(asyncio.create_task(call(1)), asyncio.create_task(call(2)))
            logger.info("of none")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [line.get("session_id") for line in lines] == ["id-1", "other", "id-2", "other", None]
    assert [line.get("session") for line in lines] == [1, None, 2, None, None]


class ExecuteBatchError(Exception):
    """Named as grpc's."""


@pytest.mark.parametrize(
    ("text", "news"),
    [
        ('Failed "execute_batch": (<grpc._cython.cygrpc.SendStatusFromServerOperation object at 0x7f>,)', False),
        ('Failed "execute_batch": (<grpc._cython.cygrpc.SendMessageOperation object at 0x7f>,)', True),
    ],
)
def test_a_client_that_left_as_its_call_ended_is_no_news(text: str, news: bool) -> None:
    record = logging.LogRecord("grpc._cython.cygrpc", logging.ERROR, "", 0, "raised in core", None, None)
    assert logs.is_news(record)
    record.exc_info = (ExecuteBatchError, ExecuteBatchError(text), None)
    assert logs.is_news(record) is news
