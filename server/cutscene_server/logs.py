"""What log lines look like, and how a line about a session or a turn carries their ids as fields.

A line about a session goes through ``SessionRecord.log``, which adds the fields; a line about one of its turns or
frames adds ``extra={"turn_id": ...}`` or ``frame``. Any other line that a call or a stream logs carries its session's
(``about``). With ``--log-json`` the fields stand beside the message, to be searched by; without it the message says
which session it is. No token is ever logged: nothing here is given one.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Iterator, MutableMapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from cutscene_server.log_lines import LineQueue

FIELDS = ("session", "session_id", "turn_id", "frame")
"""``session`` is its number within this run of the server, ``session_id`` what clients know it by."""

PLAIN = "%(asctime)s %(levelname)s %(name)s: %(message)s"

STOP_S = 1.0  # that the last lines may take to be written


class SessionLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose lines are about one session: ``log.info("opened")`` is "session 3 opened", with its fields."""

    def __init__(self, logger: logging.Logger, key: int, session_id: str) -> None:
        super().__init__(logger, {"session": key, "session_id": session_id})
        self._prefix = f"session {key} "

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Puts the session before the message, and the fields beside it."""
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return f"{self._prefix}{msg}", kwargs


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, process, message, fields, exception."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.processName,
            "message": record.getMessage(),
        }
        line |= {name: value for name in FIELDS if (value := getattr(record, name, None)) is not None}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


_about: ContextVar[dict[str, object] | None] = ContextVar("about", default=None)


def about(key: int, session_id: str) -> None:
    """What is logged by this task from here on, and by tasks that it starts, is about this session unless it says
    otherwise. For tasks that end with what they do for a session: a call, a stream.
    """
    _about.set({"session": key, "session_id": session_id})


def _add_fields(record: logging.LogRecord) -> bool:
    """A logging filter: the fields of the task that logs, for lines that have none."""
    fields = _about.get()
    if fields is not None and not hasattr(record, "session_id"):
        record.__dict__.update(fields)
    return True


def is_news(record: logging.LogRecord) -> bool:
    """A logging filter: not that a client left in the moment in which its call ended, which grpc logs as an error of
    the servicer's, with a traceback, after the servicer has returned.
    """
    error = record.exc_info[1] if record.exc_info else None
    left = type(error).__name__ == "ExecuteBatchError" and "SendStatusFromServer" in str(error)
    return not left


@contextlib.contextmanager
def to_standard_error(level: str, *, as_json: bool) -> Iterator[None]:
    """Sends this process's log lines to standard error, if it has one, while the block lasts: see ``log_lines``."""
    if sys.stderr is None:
        logging.basicConfig(handlers=[logging.NullHandler()])
        yield
        return
    handler = LineQueue(sys.stderr.fileno())
    handler.addFilter(_add_fields)
    handler.addFilter(is_news)
    handler.setFormatter(JsonFormatter() if as_json else logging.Formatter(PLAIN))
    logging.basicConfig(level=level, handlers=[handler])
    try:
        yield
    finally:
        handler.stop(STOP_S)
