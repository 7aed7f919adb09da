"""Any order of calls and reopenings against a plain model in memory: the store has just what the model has."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from cutscene_server.store import Retention, Store, StoredFrame, StoredTurn, UnknownSessionError

from .samples import frame, new_session, turn


@dataclass
class ModelSession:
    epochs: list[list[StoredFrame]]
    turns: list[StoredTurn] = field(default_factory=list)
    unfinished: list[StoredTurn] = field(default_factory=list)
    closed_us: int | None = None

    @property
    def frames(self) -> list[StoredFrame]:
        return self.epochs[-1]


class StoreMachine(RuleBasedStateMachine):
    """A store, and what ought to be in it."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.store = Store.open(self.directory, sync=False, most_open_logs=2)
        self.model: dict[str, ModelSession] = {}
        self.count = 0
        self.clock_us = 0

    sessions: Bundle[str] = Bundle("sessions")

    def label(self) -> str:
        self.count += 1
        return f"name-{self.count:04d}"

    def is_open(self, session_id: str) -> bool:
        return session_id in self.model and self.model[session_id].closed_us is None

    @rule(target=sessions)
    def create(self) -> str:
        session_id = self.label()
        self.store.create_session(new_session(session_id))
        self.model[session_id] = ModelSession([[]])
        return session_id

    @rule(target=sessions, parent_id=sessions, data=st.data())
    def fork(self, parent_id: str, data: st.DataObject) -> str:
        session_id = self.label()
        if parent_id not in self.model:
            with pytest.raises(UnknownSessionError):
                self.store.fork_session(new_session(session_id), parent_id, 0, 0)
            return parent_id
        epochs = self.model[parent_id].epochs
        epoch = data.draw(st.integers(0, len(epochs) - 1))
        first_frame = data.draw(st.integers(0, len(epochs[epoch])))
        self.store.fork_session(new_session(session_id), parent_id, epoch, first_frame)
        self.model[session_id] = ModelSession([epochs[epoch][:first_frame]])
        return session_id

    @rule(target=sessions, counts=st.lists(st.integers(0, 3), max_size=3), whole=st.booleans())
    def arrive(self, counts: list[int], whole: bool) -> str:
        """A session from elsewhere; if it is not there whole, it is discarded or left for the next opening."""
        session_id = self.label()
        self.store.begin_arrival(new_session(session_id))
        frames: list[StoredFrame] = []
        for count in counts:
            batch = [frame(len(frames) + number, self.label()) for number in range(count)]
            self.store.add_arrived_frames(session_id, batch)
            frames += batch
        if whole:
            self.store.finish_arrival(session_id)
            self.model[session_id] = ModelSession([frames])
        elif counts:
            self.store.discard_arrival(session_id)
        return session_id

    @rule(session_id=sessions, count=st.integers(1, 4))
    def add_frames(self, session_id: str, count: int) -> None:
        if self.is_open(session_id):
            for _ in range(count):
                added = frame(len(self.model[session_id].frames), self.label())
                self.store.add_frame(session_id, added)
                self.model[session_id].frames.append(added)

    @rule(session_id=sessions, frame_count=st.integers(1, 5))
    def add_turn(self, session_id: str, frame_count: int) -> None:
        if self.is_open(session_id):
            model = self.model[session_id]
            last = model.unfinished[-1] if model.unfinished else None
            first_frame = last.first_frame + last.frame_count if last else len(model.frames)
            added = turn(len(model.turns), first_frame, frame_count, self.label().encode())
            self.store.add_turn(session_id, added)
            model.turns.append(turn(len(model.turns), first_frame, frame_count, None))
            model.unfinished.append(added)

    @rule(session_id=sessions)
    def finish_turn(self, session_id: str) -> None:
        if self.is_open(session_id) and self.model[session_id].unfinished:
            model = self.model[session_id]
            first = model.unfinished[0]
            if first.first_frame + first.frame_count <= len(model.frames):
                self.store.finish_turn(session_id, first.turn_number)
                model.unfinished.pop(0)
            else:
                with pytest.raises(ValueError, match="ends past frame"):
                    self.store.finish_turn(session_id, first.turn_number)

    @rule(session_id=sessions, data=st.data())
    def rewind(self, session_id: str, data: st.DataObject) -> None:
        if self.is_open(session_id):
            model = self.model[session_id]
            to = data.draw(st.integers(0, len(model.frames)))
            assert self.store.rewind(session_id, to) == len(model.epochs)
            model.epochs.append(model.frames[:to])
            model.unfinished.clear()

    @rule(session_id=sessions)
    def close(self, session_id: str) -> None:
        if self.is_open(session_id):
            self.clock_us += 1_000_000
            self.store.close_session(session_id, "CLIENT", self.clock_us, {"frames": 1})
            self.model[session_id].closed_us = self.clock_us
            self.model[session_id].unfinished.clear()

    @rule(session_id=consumes(sessions))
    def delete(self, session_id: str) -> None:
        if self.model.pop(session_id, None):
            self.store.delete_session(session_id)

    @rule(age_s=st.integers(0, 3))
    def sweep(self, age_s: int) -> None:
        old = [
            session_id
            for session_id, model in self.model.items()
            if model.closed_us is not None and model.closed_us <= self.clock_us - age_s * 1_000_000
        ]
        old.sort(key=lambda session_id: self.model[session_id].closed_us or 0)
        assert list(self.store.sweep(self.clock_us, Retention(float(age_s), 1e9, 1 << 40)).deleted) == old
        for session_id in old:
            del self.model[session_id]

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = Store.open(self.directory, sync=False, most_open_logs=2)

    @rule(session_id=sessions, data=st.data())
    def read_a_part(self, session_id: str, data: st.DataObject) -> None:
        if session_id in self.model:
            epoch = data.draw(st.integers(0, len(self.model[session_id].epochs) - 1))
            frames = self.model[session_id].epochs[epoch]
            first, end = sorted(data.draw(st.tuples(*[st.integers(0, len(frames))] * 2)))
            assert list(self.store.read_frames(session_id, first, end, epoch)) == frames[first:end]
            with pytest.raises(ValueError, match="not there"):
                self.store.read_frames(session_id, first, len(frames) + 1, epoch)

    @invariant()
    def the_sessions_are_those_of_the_model(self) -> None:
        assert self.store.session_ids() == list(self.model)
        for session_id, model in self.model.items():
            stored = self.store.read_session(session_id)
            assert stored.epoch == len(model.epochs) - 1
            assert stored.next_frame == len(model.frames)
            assert list(stored.unfinished) == model.unfinished
            assert list(stored.turns) == model.turns
            assert (stored.end.closed_unix_us if stored.end else None) == model.closed_us

    def teardown(self) -> None:
        for session_id, model in self.model.items():
            for epoch, frames in enumerate(model.epochs):
                assert list(self.store.read_frames(session_id, 0, len(frames), epoch)) == frames
        for session_id in self.model:
            self.store.delete_session(session_id)
        self.store.close()
        self.store = Store.open(self.directory, sync=False)  # what was still arriving goes too
        assert list((self.directory / "sessions").iterdir()) == []  # whoever needed whom, in the end nothing is left
        assert self.store.total_bytes() == 0
        self.store.close()
        shutil.rmtree(self.directory)


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)
