"""Jobs, items and their queue: every edge, the order, the room; and jobs on disk."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cutscene_server.errors import NoRoom
from cutscene_server.registry import digest_of
from cutscene_server.rendering.job_files import JobFiles
from cutscene_server.rendering.jobs import (
    EDGES,
    FinishedFilm,
    Item,
    Job,
    Pace,
    Queue,
    RenderState,
    jobs_in_order,
)

FILM = FinishedFilm(1000, b"f" * 16, b"p" * 16)


def job(number: int, items: int = 3, frames: int = 10) -> Job:
    named = [Item(f"item-{index}", f"{number:04d}-{index:04d}", frames, 16) for index in range(items)]
    return Job(f"{number:032x}", number, digest_of(f"token {number}"), 1000 * number, named)


def step(subject: Job, index: int, to: RenderState) -> None:
    """What brings an item there."""
    match to:
        case RenderState.QUEUED:
            subject.give_back(index)
        case RenderState.DRAWING:
            subject.begin(index)
        case RenderState.DONE:
            subject.finish(index, FILM, 5)
        case RenderState.FAILED:
            subject.fail(index, "why", 5)
        case RenderState.CANCELLED:
            subject.cancel(5)


WAYS = {
    RenderState.QUEUED: [],
    RenderState.DRAWING: [RenderState.DRAWING],
    RenderState.DONE: [RenderState.DRAWING, RenderState.DONE],
    RenderState.FAILED: [RenderState.DRAWING, RenderState.FAILED],
    RenderState.CANCELLED: [RenderState.CANCELLED],
}


@pytest.mark.parametrize("there", RenderState, ids=lambda state: state.name)
@pytest.mark.parametrize("to", [state for state in RenderState if state is not RenderState.CANCELLED])
def test_every_edge_is_taken_and_no_other(there: RenderState, to: RenderState) -> None:
    subject = job(1, items=1)
    for way in WAYS[there]:
        step(subject, 0, way)
    if to in EDGES[there]:
        step(subject, 0, to)
        assert subject.items[0].state is to
    else:
        with pytest.raises(ValueError, match=f"is {there.name}; it cannot be {to.name} next"):
            step(subject, 0, to)
        assert subject.items[0].state is there


def test_cancelling_takes_what_has_not_ended_and_nothing_else() -> None:
    subject = job(1)
    subject.begin(0)
    subject.finish(0, FILM, 5)
    subject.begin(1)
    assert [item.name for item in subject.cancel(7)] == ["item-1", "item-2"]
    assert [item.state.name for item in subject.items] == ["DONE", "CANCELLED", "CANCELLED"]
    assert (subject.state, subject.ended_unix_us) == (RenderState.CANCELLED, 7)
    assert subject.cancel(9) == []
    assert subject.ended_unix_us == 7
    subject.progress(1, 5)
    assert subject.items[1].frames_done == 0, "a frame that comes late changes nothing"


def test_jobs_that_ended_long_ago_or_are_too_many_are_outdated() -> None:
    queue = Queue(10)
    for number in range(1, 5):
        queue.add(job(number, items=1))
    for each in queue:
        if each.number != 3:
            each.cancel(100 * each.number)
    assert [each.number for each in queue.outdated(150, 10)] == [1]
    assert [each.number for each in queue.outdated(0, 1)] == [1, 2]
    assert queue.outdated(0, 3) == []


def test_pages_are_in_order() -> None:
    jobs = [job(number) for number in (3, 1, 2)]
    assert [[each.number for each in jobs_in_order(jobs, after, 2)[0]] for after in (0, 2, 3)] == [[1, 2], [3], []]
    assert [jobs_in_order(jobs, after, 2)[1] for after in (0, 1)] == [True, False]


def test_the_pace_is_that_of_the_frames_drawn_last() -> None:
    pace = Pace()
    assert pace.remaining_s(100) == 0
    for number in range(200):
        pace.note_frame(number * 0.5)
    assert pace.remaining_s(100) == 50
    assert pace.remaining_s(0) == 0
    pace.pause()
    pace.note_frame(10_000.0)
    assert pace.remaining_s(100) == 50, "what lay between is no measure"
    for number in range(200):
        pace.note_frame(10_000.0 + number * 0.1)
    assert pace.remaining_s(100) in (10, 11)


class QueueMachine(RuleBasedStateMachine):
    """Jobs come, are drawn in several places at once, fail, are given back and cancelled."""

    @initialize(most=st.integers(1, 4))
    def begin(self, most: int) -> None:
        self.most = most
        self.queue = Queue(most)
        self.drawing: list[tuple[Job, int]] = []
        self.begun: list[tuple[int, int]] = []  # in the order they were begun for the first time

    @rule(items=st.integers(1, 3))
    def hand_in(self, items: int) -> None:
        waiting = sum(not each.ended for each in self.queue)
        if waiting == self.most:
            with pytest.raises(NoRoom):
                self.queue.check_room()
            return
        self.queue.check_room()
        self.queue.add(job(self.queue.take_number(), items))

    @rule()
    def draw(self) -> None:
        found = self.queue.next_item()
        waiting = [
            (each.number, index)
            for each in self.queue
            for index, item in enumerate(each.items)
            if item.state is RenderState.QUEUED
        ]
        assert (found is None) == (not waiting)
        if found is not None:
            subject, index = found
            assert (subject.number, index) == min(waiting), "jobs in order, items in order"
            subject.begin(index)
            self.drawing.append(found)

    @precondition(lambda self: self.drawing)
    @rule(data=st.data(), end=st.sampled_from(["finish", "fail", "give back"]))
    def end_one(self, data: st.DataObject, end: str) -> None:
        subject, index = self.drawing.pop(data.draw(st.integers(0, len(self.drawing) - 1)))
        if subject.items[index].state is not RenderState.DRAWING:
            assert subject.items[index].state is RenderState.CANCELLED
        elif end == "finish":
            subject.finish(index, FILM, 5)
        elif end == "fail":
            subject.fail(index, "why", 5)
        else:
            subject.give_back(index)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        jobs = list(self.queue)
        if jobs:
            subject = data.draw(st.sampled_from(jobs))
            subject.cancel(5)
            assert subject.ended

    @invariant()
    def counts_agree(self) -> None:
        for each in self.queue:
            assert each.ended == (each.ended_unix_us is not None)
            assert each.ended == (each.state in (RenderState.DONE, RenderState.CANCELLED))
            assert 0 <= each.frames_done + each.frames_left <= each.frame_count
            assert sum(each.count(state) for state in RenderState) == len(each.items)
            assert all(other.number < each.number and not other.ended for other in self.queue.ahead_of(each))


QueueMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestQueue = QueueMachine.TestCase


async def test_jobs_come_back_as_they_were_and_what_was_drawn_is_queued(tmp_path: Path) -> None:
    files = JobFiles(tmp_path / "renders")
    assert await files.load() == ([], [])
    first, second, third = job(1), job(2), job(3)
    first.begin(0)
    first.finish(0, FILM, 5)
    first.begin(1)
    first.fail(1, "why\n\N{SNOWMAN}", 6)
    first.begin(2)
    second.cancel(8)
    await files.keep(second)
    await files.keep(first)
    await files.keep(third, arriving=True)
    jobs, arriving = await files.load()
    assert [each.job_id for each in jobs] == [first.job_id, second.job_id]
    assert [each.job_id for each in arriving] == [third.job_id]
    again = jobs[0]
    assert again.items[:2] == first.items[:2]
    assert again.items[2].state is RenderState.QUEUED
    assert again.holds_token("token 1")
    assert not again.holds_token("token 2")
    assert (jobs[1].items, jobs[1].ended_unix_us) == (second.items, 8)
    await files.remove(first)
    await files.remove(first)
    assert [each.job_id for each in (await files.load())[0]] == [second.job_id]
    files.close()


async def test_a_file_that_is_no_job_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = JobFiles(tmp_path)
    await files.keep(job(1))
    good = tmp_path / f"{job(1).job_id}.json"
    plain = json.loads(good.read_text())
    bad = {"empty": "", "other": "[]", "newer": json.dumps({**plain, "version": 2}), "short": good.read_text()[:-40]}
    for name, text in bad.items():
        (tmp_path / f"{name}.json").write_text(text)
    jobs, arriving = await files.load()
    assert ([each.number for each in jobs], arriving) == ([1], [])
    assert len(caplog.messages) == 4
    assert len(os.listdir(tmp_path)) == 5
    assert good.stat().st_mode & 0o077 == 0
    files.close()
