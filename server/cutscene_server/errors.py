"""Everything the server refuses or fails at, as one tree; each exception carries the status it has on the wire.

ServerError
    InvalidRequest          INVALID_ARGUMENT     a value outside what the contract allows; names the fields
    WrongMoment             FAILED_PRECONDITION  not possible in the session's present state; names the field
        IllegalEvent                             the session's state table has no such edge
    OutOfRange              OUT_OF_RANGE         a frame that the session no longer has, or does not have yet
    UnknownSession          NOT_FOUND            no such session, or not its token: the two look the same from outside
    UnknownRender           NOT_FOUND            no such render job, or not its token
    Replaced                ABORTED              another stream resumed the session
    NoRoom                  RESOURCE_EXHAUSTED   a limit of this server is reached; says when to try again
    NotServing              UNAVAILABLE          starting, stopping, or without its inference process
    Late                    DEADLINE_EXCEEDED    the client did not say in time what it wants
    EngineFailed            INTERNAL             the model could not do what it was asked
        FilmFailed                               (``rendering.film``) a film's encoder ended too early
    StorageFailed           UNAVAILABLE          what must be durable could not be written or read
        DiskFull            RESOURCE_EXHAUSTED   as there is no room on the disk; says when to try again
    RecordingDamaged        DATA_LOSS            what was stored of this session is not what was written
    OtherModel              FAILED_PRECONDITION  the session was drawn by a model that this server does not play
    LocalOnly               PERMISSION_DENIED    only this machine may ask that
ConfigError                 (exit code 2)        the configuration cannot be used; names the setting

The status is a name rather than a ``grpc.StatusCode`` so that the session and its neighbours import no transport.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field that was not taken: its path, and what was found and what is allowed."""

    field: str
    description: str

    def __str__(self) -> str:
        return f"{self.field}: {self.description}"


class ServerError(Exception):
    """The root of what a client may be answered with."""

    status: ClassVar[str] = "INTERNAL"  # a name of grpc.StatusCode
    retry_after_s: float | None = None

    def __init__(self, message: str, violations: Sequence[FieldViolation] = ()) -> None:
        super().__init__(message)
        self.violations = tuple(violations)


FAULT = "fault"


def reason_of(error: Exception) -> str:
    """An error's kind in one word, one of ``reasons()``: ``NoRoom`` is ``no_room``; what is no ``ServerError`` is this
    server's own fault, ``fault``.
    """
    return _reason(type(error)) if isinstance(error, ServerError) else FAULT


def reasons() -> list[str]:
    """Every word that ``reason_of`` has: a closed set, for labels."""
    kinds = [ServerError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    return [FAULT, *map(_reason, kinds)]


def _reason(kind: type[ServerError]) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


class InvalidRequest(ServerError):
    """A value was outside what the contract allows."""

    status = "INVALID_ARGUMENT"

    def __init__(self, violations: Sequence[FieldViolation]) -> None:
        more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
        super().__init__(f"{violations[0]}{more}", violations)


class WrongMoment(ServerError):
    """The request is well formed, but not possible now."""

    status = "FAILED_PRECONDITION"

    def __init__(self, field: str, description: str) -> None:
        super().__init__(f"{field}: {description}", [FieldViolation(field, description)])


class IllegalEvent(WrongMoment):
    """The session's state table has no edge for this event in this state."""


class OutOfRange(ServerError):
    """A frame that the session no longer has, or does not have yet."""

    status = "OUT_OF_RANGE"

    def __init__(self, field: str, description: str) -> None:
        super().__init__(f"{field}: {description}", [FieldViolation(field, description)])


class UnknownSession(ServerError):
    """No such session, or the token is not its token."""

    status = "NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("there is no session with this id and token")


class UnknownRender(ServerError):
    """No such render job, or the token is not its token."""

    status = "NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("there is no render job with this id and token")


class Replaced(ServerError):
    """Another stream resumed the session that this stream carried."""

    status = "ABORTED"

    def __init__(self) -> None:
        super().__init__("another stream resumed this session; this one ends")


RETRY_AFTER_S = 5.0  # where nothing is known of when there will be room


class NoRoom(ServerError):
    """A limit of this server is reached. ``retry_after_s``: when it may be tried again; None: it is of no use."""

    status = "RESOURCE_EXHAUSTED"

    def __init__(self, message: str, retry_after_s: float | None = RETRY_AFTER_S) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotServing(ServerError):
    """The server is starting, stopping, or has lost its inference process."""

    status = "UNAVAILABLE"


class Late(ServerError):
    """The client did not say in time what it wants."""

    status = "DEADLINE_EXCEEDED"


class EngineFailed(ServerError):
    """The model could not do what it was asked."""


class StorageFailed(ServerError):
    """What must be durable could not be written, or what was could not be read."""

    status = "UNAVAILABLE"


class DiskFull(StorageFailed):
    """There is no room on the disk for what must be durable. Nothing that was told is lost by that."""

    status = "RESOURCE_EXHAUSTED"
    retry_after_s = RETRY_AFTER_S

    def __init__(self) -> None:
        super().__init__("the server's disk is full; what was stored is safe, and goes on once there is room")


class RecordingDamaged(ServerError):
    """What was stored of this session is not what was written. Other sessions are not touched by it."""

    status = "DATA_LOSS"


class OtherModel(ServerError):
    """The session was drawn by a model that this server does not play: its frames could not be gone on with."""

    status = "FAILED_PRECONDITION"


class LocalOnly(ServerError):
    """Only clients on this machine may ask that, as this server knows nobody."""

    status = "PERMISSION_DENIED"

    def __init__(self) -> None:
        super().__init__("this server answers that to clients on its own machine only")


class ConfigError(Exception):
    """The configuration cannot be used."""
