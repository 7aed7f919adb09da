"""Client of a cutscene server: open a session, send turns of scene states, receive finished frames."""

from cutscene_client.capturing import CaptureError, CaptureProgress, CaptureWriter, capture
from cutscene_client.client import Client, ModelInfo, ReplayInfo, ReplayWish, SessionInfo, connect
from cutscene_client.errors import (
    ConnectionLost,
    CutsceneError,
    FailedPrecondition,
    FieldViolation,
    FilmDamaged,
    InvalidRequest,
    OutputUnusable,
    RenderNotFound,
    RequestRefused,
    ResourceExhausted,
    ServerFault,
    ServerGoingAway,
    ServerUnreachable,
    SessionClosed,
    SessionNotFound,
    SessionReplaced,
    TurnRejected,
    Unauthenticated,
)
from cutscene_client.frames import Frame, Timings, TurnFigures, Usage
from cutscene_client.moving import ImportedSession
from cutscene_client.references import ReferencePictureError
from cutscene_client.rendering import ItemProgress, Render, RenderItem, RenderProgress
from cutscene_client.session import CUT, Session
from cutscene_client.stats import ServerStats, SessionStats

__all__ = [
    "CUT",
    "CaptureError",
    "CaptureProgress",
    "CaptureWriter",
    "Client",
    "ConnectionLost",
    "CutsceneError",
    "FailedPrecondition",
    "FieldViolation",
    "FilmDamaged",
    "Frame",
    "ImportedSession",
    "InvalidRequest",
    "ItemProgress",
    "ModelInfo",
    "OutputUnusable",
    "ReferencePictureError",
    "Render",
    "RenderItem",
    "RenderNotFound",
    "RenderProgress",
    "ReplayInfo",
    "ReplayWish",
    "RequestRefused",
    "ResourceExhausted",
    "ServerFault",
    "ServerGoingAway",
    "ServerStats",
    "ServerUnreachable",
    "Session",
    "SessionClosed",
    "SessionInfo",
    "SessionNotFound",
    "SessionReplaced",
    "SessionStats",
    "Timings",
    "TurnFigures",
    "TurnRejected",
    "Unauthenticated",
    "Usage",
    "capture",
    "connect",
]
