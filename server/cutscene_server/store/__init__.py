"""What determines a session's frames, durable before a frame is shown: sessions, accepted turns, delivered frames.

DATA/format                              the version of all below
DATA/lock                                held while a store is open
DATA/catalogue.sqlite                    small rows: sessions, timelines, turns
DATA/sessions/<session id>/frames-<epoch>.log    the frames that one timeline epoch has of its own, append-only
DATA/incoming/                           files that sessions are being brought from; emptied when a store is opened

store        the verbs, on one screen each: start there
records      the values that go in and come out
catalogue    all the SQL;  frame_log  the files of frames;  data_directory  lock and format;  errors  what goes wrong
"""

from cutscene_server.store.errors import (
    NO_ROOM,
    StoreDamagedError,
    StoreError,
    StoreFailedError,
    StoreFormatError,
    StoreFullError,
    StoreInUseError,
    StoreLostError,
    UnknownSessionError,
)
from cutscene_server.store.records import (
    ForkPoint,
    NewSession,
    Retention,
    SessionEnd,
    SessionSummary,
    StoredFrame,
    StoredSession,
    StoredTurn,
    Swept,
)
from cutscene_server.store.store import MOST_OPEN_LOGS, Store

__all__ = [
    "MOST_OPEN_LOGS",
    "NO_ROOM",
    "ForkPoint",
    "NewSession",
    "Retention",
    "SessionEnd",
    "SessionSummary",
    "Store",
    "StoreDamagedError",
    "StoreError",
    "StoreFailedError",
    "StoreFormatError",
    "StoreFullError",
    "StoreInUseError",
    "StoreLostError",
    "StoredFrame",
    "StoredSession",
    "StoredTurn",
    "Swept",
    "UnknownSessionError",
]
