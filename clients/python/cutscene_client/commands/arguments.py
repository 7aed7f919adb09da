"""Arguments that several commands have."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable
from typing import TypeAlias, TypeVar

from cutscene_client import remembered
from cutscene_client.client import DEFAULT_ADDRESS, Client, connect

T = TypeVar("T")
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # where a command adds its parser

SERVER_VARIABLE = "CUTSCENE_SERVER"
MOST_64 = 2**64 - 1  # of the contract's seeds and frame numbers


def add_server(parser: argparse.ArgumentParser) -> None:
    """``--server``, and ``--json``."""
    parser.add_argument(
        "--server", type=readable(read_address), default=os.environ.get(SERVER_VARIABLE, DEFAULT_ADDRESS),
        metavar="HOST:PORT", help=f"(default: {SERVER_VARIABLE} or {DEFAULT_ADDRESS})",
    )  # fmt: skip
    add_json(parser)


def add_tenant(parser: argparse.ArgumentParser) -> None:
    """``--tenant``, of commands that have frames drawn or files sent: see ``client_of``."""
    parser.add_argument(
        "--tenant", type=readable(read_tenant), metavar="NAME",
        help="in whose name, if the server shares itself out among several (default: that of whoever says none)",
    )  # fmt: skip


def client_of(options: argparse.Namespace) -> Client:
    """Of the server that is meant, in the name that is said."""
    return connect(options.server, tenant=options.tenant or "")


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


def read_address(text: str) -> str:
    """``host:port`` as it is, an IPv6 address in brackets. Raises ``ValueError``."""
    host, _, port = text.rpartition(":")
    if not re.fullmatch(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.%]+\]", host):
        raise ValueError(f"found {text!r}, which is not of the form host:port")
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise ValueError(f"found {text!r}; allowed are ports 1 to 65535")
    return text


def whole(text: str, least: int = 0, most: int = MOST_64) -> int:
    """A whole number in a range. Raises ``ValueError``."""
    if not re.fullmatch(r"[0-9]{1,20}", text) or not least <= int(text) <= most:
        raise ValueError(f"found {text!r}, allowed are {least} to {most}")
    return int(text)


def read_tenant(text: str) -> str:
    """In whose name sessions are opened. Raises ``ValueError``."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text, re.ASCII):
        raise ValueError(f"found {text!r}, allowed are 1 to 64 characters of [A-Za-z0-9_-]")
    return text


def readable(read: Callable[[str], T]) -> Callable[[str], T]:
    """A reader whose complaint argparse shows as it is."""

    def checked(text: str) -> T:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return checked
