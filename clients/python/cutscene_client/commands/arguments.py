"""Arguments that several commands have."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import TypeAlias, TypeVar

from cutscene_client import remembered
from cutscene_client.client import DEFAULT_ADDRESS

T = TypeVar("T")
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # where a command adds its parser

SERVER_VARIABLE = "CUTSCENE_SERVER"


def add_server(parser: argparse.ArgumentParser) -> None:
    """``--server``, and ``--json``."""
    default = os.environ.get(SERVER_VARIABLE, DEFAULT_ADDRESS)
    parser.add_argument(
        "--server", default=default, metavar="HOST:PORT", help=f"(default: {SERVER_VARIABLE} or {DEFAULT_ADDRESS})"
    )
    add_json(parser)


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")


def add_session(parser: argparse.ArgumentParser) -> None:
    """A session that is stored: see ``session_of``."""
    parser.add_argument("session", metavar="ID", help="the session, or the beginning of its id (`cutscene recordings`)")
    parser.add_argument("--token", default="", help="of a session that was not played from here")


def session_of(options: argparse.Namespace) -> tuple[str, str]:
    """The id and token of the session that is meant. Raises ``UnknownRecording``."""
    return meant(options.session, options.token)


def meant(beginning: str, token: str, kind: str = remembered.SESSIONS) -> tuple[str, str]:
    """The id and token of a session or job: with a token as they are said, else what is remembered. Raises
    ``UnknownRecording``.
    """
    if token:
        return beginning, token
    entry = remembered.find(beginning, kind)
    return entry.session_id, entry.token


def readable(read: Callable[[str], T]) -> Callable[[str], T]:
    """A reader whose complaint argparse shows as it is."""

    def checked(text: str) -> T:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return checked
