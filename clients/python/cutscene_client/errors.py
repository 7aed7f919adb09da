"""Everything that can go wrong for a caller, as one tree, read from what the server said.

CutsceneError
    ServerUnreachable        nobody answers at the address
    ConnectionLost           the stream broke while a session was live; carries what ``Client.resume`` needs
    ServerGoingAway          the server is stopping, and its sessions with it
    SessionReplaced          another stream resumed this session
    SessionClosed            the session has ended; carries the reason
    RequestRefused           the server answered with a status
        InvalidRequest       INVALID_ARGUMENT, with the fields it named
        SessionNotFound      NOT_FOUND: no such session, or not this token
        RenderNotFound       NOT_FOUND: no such render job, or not its token
        FailedPrecondition   FAILED_PRECONDITION: not possible in the session's present state
        ResourceExhausted    RESOURCE_EXHAUSTED, with the time after which to try again
        Unauthenticated      UNAUTHENTICATED or PERMISSION_DENIED
        ServerFault          INTERNAL, UNKNOWN and whatever else is not the caller's doing
    CaptureError             (``capturing``) what was to be captured is not what can be
    ReferencePictureError    (``references``) a reference picture cannot be sent
    OutputUnusable           a film or picture could not be written where it is to go
    FilmDamaged              a film that came is not the one that the server made
    TurnRejected             one request was not taken, with the fields it named; the session lives on
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field that the server would not take, and what it allows instead."""

    field: str
    description: str

    def __str__(self) -> str:
        return f"{self.field}: {self.description}"


class CutsceneError(Exception):
    """The root: catch it to catch everything that this package raises."""


class ServerUnreachable(CutsceneError):
    """Nobody answers at the address. ``refused``: there is a machine, and nothing listens at that port of it."""

    def __init__(self, address: str, detail: str = "", *, refused: bool = False) -> None:
        super().__init__(f"no cutscene server answers at {address}" + (f" ({detail})" if detail else ""))
        self.address = address
        self.refused = refused


class ConnectionLost(CutsceneError):
    """The stream broke. The session lives on in the server: ``client.resume(lost.session_id, lost.token, ...)``."""

    def __init__(self, session_id: str, token: str, next_frame: int, detail: str = "") -> None:
        reason = f": {detail}" if detail else ""
        super().__init__(f"the stream of session {session_id} broke before frame {next_frame}{reason}")
        self.session_id = session_id
        self.token = token
        self.next_frame = next_frame


class ServerGoingAway(CutsceneError):
    """The server is stopping, and said so before it closed the stream."""


class SessionReplaced(CutsceneError):
    """Another stream resumed this session, so this one ended."""


class SessionClosed(CutsceneError):
    """The session has ended and takes no more turns."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class RequestRefused(CutsceneError):
    """The server answered with a status instead of a result."""

    def __init__(self, message: str, *, code: str = "", violations: Sequence[FieldViolation] = ()) -> None:
        # A lone one is often all of the message.
        named = "".join(f"\n  {violation}" for violation in violations if str(violation) != message)
        super().__init__(message + named)
        self.code = code
        self.violations = tuple(violations)


class InvalidRequest(RequestRefused):
    """A value was outside what the contract allows; ``violations`` names the fields."""


class SessionNotFound(RequestRefused):
    """There is no such session, or the token is not its token."""


class RenderNotFound(RequestRefused):
    """There is no such render job, or the token is not its token."""


class FailedPrecondition(RequestRefused):
    """The request is not possible in the session's present state."""


class ResourceExhausted(RequestRefused):
    """The server has no room for this now."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        violations: Sequence[FieldViolation] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, code=code, violations=violations)
        self.retry_after = retry_after  # seconds, where the server said


class Unauthenticated(RequestRefused):
    """The server does not know the caller, or does not let it do this."""


class ServerFault(RequestRefused):
    """The server failed; nothing that the caller sent is to blame as far as it knows."""


class OutputUnusable(CutsceneError):
    """A film or picture could not be written where it is to go. Found before anything is asked of a server."""


class FilmDamaged(CutsceneError):
    """What came of a film has not the digest that the server gives."""


class TurnRejected(CutsceneError):
    """The server did not take this turn. The session lives on and the next turn may follow."""

    def __init__(self, turn_id: str, violations: Sequence[FieldViolation], retry_after: float | None = None) -> None:
        named = "".join(f"\n  {violation}" for violation in violations)
        super().__init__(f"turn {turn_id or '(none)'} was rejected{named}")
        self.turn_id = turn_id
        self.violations = tuple(violations)
        self.retry_after = retry_after  # seconds, if there was only no room for it; None: trying again does not help


_KINDS: dict[grpc.StatusCode, type[RequestRefused]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequest,
    grpc.StatusCode.NOT_FOUND: SessionNotFound,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.ABORTED: FailedPrecondition,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: Unauthenticated,
}


def refusal(error: grpc.aio.AioRpcError) -> RequestRefused:
    """The typed form of a status that the server answered with, details included."""
    code = error.code()
    message = error.details() or code.name
    violations, retry_after = _details(error)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return ResourceExhausted(message, code=code.name, violations=violations, retry_after=retry_after)
    return _KINDS.get(code, ServerFault)(message, code=code.name, violations=violations)


def is_transport_failure(error: grpc.aio.AioRpcError) -> bool:
    """Whether the connection failed, as opposed to the server's having answered."""
    return error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED)


async def status_of(call: Any) -> grpc.aio.AioRpcError:
    """How a finished call ended, as the error that reading it would have raised."""
    return grpc.aio.AioRpcError(
        await call.code(), await call.initial_metadata(), await call.trailing_metadata(), await call.details()
    )


def _details(error: grpc.aio.AioRpcError) -> tuple[list[FieldViolation], float | None]:
    """The field violations and the retry delay of ``grpc-status-details-bin``, where the server sent them."""
    violations: list[FieldViolation] = []
    retry_after: float | None = None
    metadata = error.trailing_metadata() or ()
    for key, value in metadata:
        if key != "grpc-status-details-bin" or not isinstance(value, bytes):
            continue
        for detail in Status.FromString(value).details:
            if detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
                bad = error_details_pb2.BadRequest()
                detail.Unpack(bad)
                violations += [FieldViolation(v.field, v.description) for v in bad.field_violations]
            elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
                retry = error_details_pb2.RetryInfo()
                detail.Unpack(retry)
                retry_after = retry.retry_delay.ToNanoseconds() / 1e9
    return violations, retry_after
