"""Sessions, timelines and turns as rows: all the SQL of the store. No file of frames is touched here.

A timeline is one epoch of one session. It has frames of its own from ``first_frame`` on; those below are its parent's,
or its parent's parent's. A parent always starts earlier than its child: an epoch that would contribute nothing is
skipped when the child is made, so that a walk up meets only timelines that have frames to give, and must end.

A deleted session leaves its row, and those of its timelines that others stem from, until none do. A timeline that
nobody needs is doomed first; its row goes after its file has gone.

A session that is brought from elsewhere arrives frame by frame. Until it is there whole, nobody sees it; what is still
arriving when the store is opened again never will be, and is doomed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cutscene_server.store.errors import (
    StoreDamagedError,
    StoreFormatError,
    StoreLostError,
    UnknownSessionError,
    refused,
)
from cutscene_server.store.records import (
    LARGEST_INT,
    SESSION_ID,
    ForkPoint,
    NewSession,
    SessionEnd,
    SessionSummary,
    StoredTurn,
)

VERSION = 1
THERE, GONE, ARRIVING = 0, 1, 2  # what ``sessions.deleted`` says
MOST_KNOWN = 4096  # timelines that are remembered
SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE owner (fence INTEGER NOT NULL) STRICT;  -- one row: how often the store was opened
INSERT INTO owner VALUES (0);
CREATE TABLE sessions (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id TEXT NOT NULL UNIQUE,
    token_digest BLOB NOT NULL,
    created_unix_us INTEGER NOT NULL,
    model TEXT NOT NULL,
    model_digest TEXT NOT NULL,
    environment TEXT NOT NULL,  -- JSON
    fork_of TEXT,  -- JSON: session id, epoch, frame
    epoch INTEGER NOT NULL DEFAULT 0,
    reason TEXT,
    closed_unix_us INTEGER,  -- NULL while open
    usage TEXT,  -- JSON
    deleted INTEGER NOT NULL DEFAULT 0,  -- 1: gone; 2: arriving
    packed_terms BLOB NOT NULL,  -- large values come last, so that nothing reads past them
    packed_stage BLOB NOT NULL
) STRICT;
CREATE INDEX deleted_sessions ON sessions (number) WHERE deleted;
CREATE INDEX closed_sessions ON sessions (closed_unix_us, number) WHERE closed_unix_us IS NOT NULL;
CREATE TABLE timelines (
    session INTEGER NOT NULL REFERENCES sessions (number),
    epoch INTEGER NOT NULL,
    first_frame INTEGER NOT NULL,
    parent_session INTEGER,
    parent_epoch INTEGER,
    sure_end INTEGER NOT NULL,
    doomed INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (session, epoch),
    FOREIGN KEY (parent_session, parent_epoch) REFERENCES timelines (session, epoch)
) STRICT, WITHOUT ROWID;
CREATE INDEX children ON timelines (parent_session, parent_epoch);
CREATE INDEX doomed_timelines ON timelines (session) WHERE doomed;
CREATE TABLE turns (
    session INTEGER NOT NULL REFERENCES sessions (number),
    turn_number INTEGER NOT NULL,
    turn_id TEXT NOT NULL,
    first_frame INTEGER NOT NULL,
    frame_count INTEGER NOT NULL,
    cut_before INTEGER NOT NULL,
    received_unix_us INTEGER NOT NULL,
    packed_run BLOB,
    PRIMARY KEY (session, turn_number)
) STRICT;
CREATE INDEX unfinished_turns ON turns (session, turn_number) WHERE packed_run IS NOT NULL;
CREATE VIEW named_timelines AS  -- the fields of Timeline, then what to choose by
    SELECT session, session_id, timelines.epoch, first_frame, sure_end, parent_session, parent_epoch,
        closed_unix_us IS NOT NULL, sessions.epoch AS current_epoch, deleted, doomed
    FROM timelines JOIN sessions ON number = session;
PRAGMA user_version = 1;
COMMIT;
"""


@dataclass(frozen=True, slots=True)
class Timeline:
    """One epoch of one session."""

    session: int
    session_id: str
    epoch: int
    first_frame: int  # its own frames start here
    sure_end: int  # its frames below are known to have been durable once
    parent_session: int | None
    parent_epoch: int | None
    closed: int  # whether its session is


class Catalogue:
    """One owner's connection to the rows. Taking it over makes every earlier owner a stranger."""

    def __init__(self, path: Path, *, sync: bool) -> None:
        self._path = path
        self._sync = sync
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._current: dict[str, Timeline] = {}  # by session id, as the rows have them: each frame asks for its own

    def take_over(self) -> None:
        """Becomes the owner. Comes first; makes the tables if there are none."""
        try:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA foreign_keys = ON")
            self._db.execute("PRAGMA journal_size_limit = 8388608")  # a turn of 32 MiB leaves no log of 32 MiB
            self._db.execute(f"PRAGMA synchronous = {'FULL' if self._sync else 'OFF'}")
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version == 0:
                self._db.executescript(SCHEMA)
            elif version != VERSION:
                raise StoreFormatError(
                    f"{self._path} has version {version}; this server reads and writes version {VERSION}"
                )
            ((self._fence,),) = self._db.execute("UPDATE owner SET fence = fence + 1 RETURNING fence").fetchall()
        except sqlite3.Error as error:
            raise refused(self._path, error) from error

    def close(self) -> None:
        self._db.close()

    def check_fence(self) -> None:
        """Raises ``StoreLostError`` if the store was opened again since."""
        ((fence,),) = self._rows("SELECT fence FROM owner")
        if fence != self._fence:
            raise StoreLostError(f"{self._path} was opened as owner {self._fence} and now belongs to owner {fence}")

    # ---- reading ----------------------------------------------------------------------------------------------------

    def session_ids(self) -> list[str]:
        return [row[0] for row in self._rows("SELECT session_id FROM sessions WHERE NOT deleted ORDER BY number")]

    def summaries(self, after: int, limit: int) -> list[SessionSummary]:
        rows = self._rows(
            "SELECT * FROM sessions WHERE number > ? AND NOT deleted ORDER BY number LIMIT ?", after, limit
        )
        return [_summary(*row) for row in rows]

    def turns(self, session: int, limit: int) -> list[StoredTurn]:
        """The last turns, in order, without their runs."""
        rows = self._rows(
            "SELECT turn_number, turn_id, first_frame, frame_count, cut_before, received_unix_us, NULL"
            " FROM turns WHERE session = ? ORDER BY turn_number DESC LIMIT ?",
            session,
            limit,
        )
        return [_turn(*row) for row in reversed(rows)]

    def unfinished(self, session: int) -> list[StoredTurn]:
        """The turns of which there may be something left to draw, in order."""
        rows = self._rows(
            "SELECT * FROM turns WHERE session = ? AND packed_run IS NOT NULL ORDER BY turn_number", session
        )
        return [_turn(*row[1:]) for row in rows]

    def timeline(self, session_id: str, epoch: int | None = None) -> Timeline:
        """A session's timeline of that epoch; the current one if None."""
        if epoch is None and (known := self._current.get(session_id)) is not None:
            return known
        rows = []
        if SESSION_ID.fullmatch(session_id) is not None and (epoch or 0) <= LARGEST_INT:
            rows = self._rows(
                "SELECT * FROM named_timelines"
                " WHERE session_id = ? AND epoch = coalesce(?, current_epoch) AND NOT deleted",
                session_id,
                epoch,
            )
        if rows:
            found = Timeline(*rows[0][:8])
            if epoch is None and not self._db.in_transaction:
                if len(self._current) >= MOST_KNOWN:
                    self._current.clear()
                self._current[session_id] = found
            return found
        if epoch is None:
            raise UnknownSessionError(f"there is no session {session_id!r}")
        raise ValueError(f"session {session_id} has the epochs 0 to {self.timeline(session_id).epoch}, not {epoch}")

    def arriving(self, session_id: str) -> Timeline:
        """The timeline of a session that is not there whole yet."""
        rows = self._rows("SELECT * FROM named_timelines WHERE session_id = ? AND deleted = ?", session_id, ARRIVING)
        if not rows:
            raise UnknownSessionError(f"no session {session_id!r} is arriving")
        return Timeline(*rows[0][:8])

    def lineage(self, timeline: Timeline) -> Iterator[Timeline]:
        """The timeline, then those that its earlier frames come from."""
        yield timeline
        while timeline.parent_session is not None:
            above = (timeline.parent_session, timeline.parent_epoch)
            rows = self._rows("SELECT * FROM named_timelines WHERE session = ? AND epoch = ?", *above)
            parent = Timeline(*rows[0][:8]) if rows else None
            if parent is None or parent.first_frame >= timeline.first_frame:
                missing = timeline.first_frame - 1
                raise StoreDamagedError(
                    timeline.session_id, missing, self._path, f"epoch {timeline.epoch} has no parent"
                )
            yield parent
            timeline = parent

    def closed_sessions(self) -> list[tuple[str, int]]:
        """Their ids and when they were closed, in microseconds of Unix time, oldest first."""
        return self._rows(
            "SELECT session_id, closed_unix_us FROM sessions WHERE closed_unix_us IS NOT NULL AND NOT deleted"
            " ORDER BY closed_unix_us, number"
        )

    def abandoned_sessions(self, before_unix_us: int) -> list[str]:
        """The ids of open sessions that were made, and had their last turn, before that; the oldest first."""
        rows = self._rows(
            "SELECT session_id FROM sessions WHERE closed_unix_us IS NULL AND NOT deleted AND created_unix_us < ?"
            " AND NOT EXISTS (SELECT 1 FROM turns WHERE session = number AND received_unix_us >= ?) ORDER BY number",
            before_unix_us,
            before_unix_us,
        )
        return [row[0] for row in rows]

    def doomed(self) -> list[tuple[str, int]]:
        """The session ids and epochs of the timelines whose files nobody needs."""
        return self._rows("SELECT session_id, epoch FROM named_timelines WHERE doomed")

    # ---- writing: one transaction each ------------------------------------------------------------------------------

    def add_session(
        self, new: NewSession, parent: Timeline | None = None, first_frame: int = 0, *, state: int = THERE
    ) -> None:
        values = asdict(new) | {
            "state": state,
            "environment": json.dumps(new.environment),
            "fork_of": json.dumps([parent.session_id, parent.epoch, first_frame]) if parent else None,
        }
        with self._writing() as db:
            if db.execute("SELECT 1 FROM sessions WHERE session_id = ?", [new.session_id]).fetchone():
                raise ValueError(f"there is, or was, a session {new.session_id} already")
            number = db.execute(
                "INSERT INTO sessions (session_id, token_digest, created_unix_us, model, model_digest, packed_terms,"
                " packed_stage, environment, fork_of, deleted) VALUES (:session_id, :token_digest, :created_unix_us,"
                " :model, :model_digest, :packed_terms, :packed_stage, :environment, :fork_of, :state)",
                values,
            ).lastrowid
            self._add_timeline(db, number, 0, first_frame, parent)

    def add_epoch(self, current: Timeline, first_frame: int) -> int:
        """Starts the epoch after ``current`` and drops the turns that wait. Returns the epoch's number."""
        epoch = current.epoch + 1
        self._current.pop(current.session_id, None)
        with self._writing() as db:
            self._add_timeline(db, current.session, epoch, first_frame, current)
            db.execute("UPDATE sessions SET epoch = ? WHERE number = ?", [epoch, current.session])
            _drop_runs(db, current.session)
        return epoch

    def add_turns(self, session: int, turns: Iterable[StoredTurn], *, durable: bool = True) -> None:
        with self._writing(durable=durable) as db:
            for turn in turns:
                (last,) = db.execute("SELECT max(turn_number) FROM turns WHERE session = ?", [session]).fetchone()
                if last is not None and turn.turn_number <= last:
                    raise ValueError(f"turn {turn.turn_number} comes after turn {last}: turn numbers rise")
                db.execute(
                    "INSERT INTO turns VALUES (:session, :turn_number, :turn_id, :first_frame, :frame_count,"
                    " :cut_before, :received_unix_us, :packed_run)",
                    asdict(turn) | {"session": session},
                )

    def finish_arrival(self, timeline: Timeline, end_frame: int) -> None:
        """The session is there whole, with its frames below ``end_frame``: from here on everybody sees it."""
        with self._writing() as db:
            self._be_sure(db, timeline, end_frame)
            db.execute("UPDATE sessions SET deleted = ? WHERE number = ?", [THERE, timeline.session])

    def doom_arrivals(self) -> None:
        """What is still arriving never will be there."""
        for (session,) in self._rows("SELECT number FROM sessions WHERE deleted = ?", ARRIVING):
            self.delete_session(session)

    def finish_turn(self, timeline: Timeline, turn_number: int, end_frame: int) -> None:
        """Not synced of its own: if a power failure undoes it, the turn is just found unfinished again."""
        with self._writing(durable=False) as db:
            self._be_sure(db, timeline, end_frame)
            finished = db.execute(
                "UPDATE turns SET packed_run = NULL WHERE session = ? AND turn_number = ?"
                " AND packed_run IS NOT NULL AND first_frame + frame_count <= ?",
                [timeline.session, turn_number, end_frame],
            ).rowcount
            if not finished:
                raise ValueError(f"turn {turn_number} does not wait for its end, or ends past frame {end_frame}")

    def skip_states(self, session: int, turn_number: int, states: int, end_frame: int) -> None:
        """Not synced of its own: the frame that follows is. If it is undone, those states are there to be drawn again.
        A turn that has all its frames with that, of those below ``end_frame``, has no run any more."""
        with self._writing(durable=False) as db:
            shortened = db.execute(
                "UPDATE turns SET frame_count = frame_count - :states, packed_run ="
                " CASE WHEN frame_count = :states OR first_frame + frame_count - :states <= :end_frame"
                " THEN NULL ELSE packed_run END"
                " WHERE session = :session AND turn_number = :turn AND packed_run IS NOT NULL"
                " AND frame_count >= :states",
                {"states": states, "end_frame": end_frame, "session": session, "turn": turn_number},
            ).rowcount
            if not shortened:
                raise ValueError(f"turn {turn_number} has not {states} states left to skip")
            db.execute(
                "UPDATE turns SET first_frame = first_frame - ? WHERE session = ? AND turn_number > ?",
                [states, session, turn_number],
            )

    def close_session(self, timeline: Timeline, end_frame: int, end: SessionEnd) -> None:
        with self._writing() as db:
            self._be_sure(db, timeline, end_frame)
            _drop_runs(db, timeline.session)
            db.execute(
                "UPDATE sessions SET reason = ?, closed_unix_us = ?, usage = ? WHERE number = ?",
                [end.reason, end.closed_unix_us, json.dumps(end.usage), timeline.session],
            )

    def delete_session(self, session: int) -> None:
        """Forgets the session, and dooms its timelines and their parents as far as nobody else needs them."""
        self._current = {session_id: known for session_id, known in self._current.items() if known.session != session}
        with self._writing() as db:
            db.execute("DELETE FROM turns WHERE session = ?", [session])
            db.execute(
                "UPDATE sessions SET deleted = 1, token_digest = x'', packed_terms = x'', packed_stage = x'',"
                " environment = '{}' WHERE number = ?",
                [session],
            )
            # From the last epoch to the first: within a session, a parent is an earlier epoch.
            epochs = db.execute("SELECT session, epoch FROM timelines WHERE session = ? ORDER BY epoch", [session])
            candidates: list[tuple[int, int]] = epochs.fetchall()
            while candidates:
                parents = db.execute(
                    "UPDATE timelines SET doomed = 1 WHERE session = ? AND epoch = ? AND NOT doomed"
                    " AND (SELECT deleted FROM sessions WHERE number = timelines.session)"
                    " AND NOT EXISTS (SELECT 1 FROM timelines AS child WHERE NOT child.doomed"
                    " AND child.parent_session = timelines.session AND child.parent_epoch = timelines.epoch)"
                    " RETURNING parent_session, parent_epoch",
                    candidates.pop(),
                ).fetchall()
                candidates.extend(parent for parent in parents if parent[0] is not None)

    def forget_doomed(self) -> None:
        """The files are gone: so go the rows."""
        with self._writing() as db:
            db.execute("DELETE FROM timelines WHERE doomed")
            db.execute("DELETE FROM sessions WHERE deleted AND number NOT IN (SELECT session FROM timelines)")

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _add_timeline(
        self, db: sqlite3.Connection, session: int | None, epoch: int, first_frame: int, above: Timeline | None
    ) -> None:
        """A timeline whose frames below ``first_frame`` are those of ``above``, which has them."""
        parent = None
        if above is not None:
            parent = next((each for each in self.lineage(above) if each.first_frame < first_frame), None)
        if parent is not None:
            self._be_sure(db, parent, first_frame)
        db.execute(
            "INSERT INTO timelines VALUES (?, ?, ?, ?, ?, ?, 0)",
            [session, epoch, first_frame, parent and parent.session, parent and parent.epoch, first_frame],
        )

    def _be_sure(self, db: sqlite3.Connection, timeline: Timeline, end_frame: int) -> None:
        """Remembers that the timeline's frames below ``end_frame`` are durable."""
        self._current.pop(timeline.session_id, None)
        db.execute(
            "UPDATE timelines SET sure_end = max(sure_end, ?) WHERE session = ? AND epoch = ?",
            [end_frame, timeline.session, timeline.epoch],
        )

    def _rows(self, sql: str, *values: object) -> list[Any]:
        try:
            return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise refused(self._path, error) from error

    @contextmanager
    def _writing(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """A transaction of the store's owner."""
        try:
            if self._sync:
                self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self.check_fence()
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise refused(self._path, error) from error


def _drop_runs(db: sqlite3.Connection, session: int) -> None:
    db.execute("UPDATE turns SET packed_run = NULL WHERE session = ? AND packed_run IS NOT NULL", [session])


def _summary(number: int, *row: Any) -> SessionSummary:
    *plain, environment, fork_of, epoch, reason, closed_unix_us, usage, _, packed_terms, packed_stage = row
    opened = [*plain, packed_terms, packed_stage, json.loads(environment)]
    return SessionSummary(
        number,
        NewSession(*opened),
        ForkPoint(*json.loads(fork_of)) if fork_of else None,
        epoch,
        None if closed_unix_us is None else SessionEnd(reason, closed_unix_us, json.loads(usage)),
    )


def _turn(number: int, turn_id: str, first: int, count: int, cut: int, received: int, run: bytes | None) -> StoredTurn:
    return StoredTurn(number, turn_id, first, count, bool(cut), received, run)
