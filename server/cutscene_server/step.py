"""The whole step on one screen: schedule, run, deliver. Between the clients' streams and the inference processes.

    schedule    a slot is free and a session's frame is next: its order goes to the inference process
    (the inference process draws and encodes)
    receive     the frame comes back: it is taken out of its slot, which is free
    deliver     it is stored, goes to its session's log, and its stream wakes up

The loops go on side by side for each process, so that the model draws frame N + 1 while frame N is stored and sent.
Frames of several sessions that are ready at once are stored at once: a disk makes several files durable in the time of
one, and whoever comes next does not wait for each of them.

Which frame is next is for ``scheduling`` to say, who may come for ``admission``; ``crew`` keeps the processes at work,
``tidying`` memory and disk in order.

Nothing is said before it is durable: a turn's receipt follows its being stored, and so does a frame. So neither kind of
process is missed for long. If an inference process ends, another one takes up its sessions from what is stored; if this
one does, the next server on the same data directory does so as clients come back. And if it is the disk that fails, or
is full, a session leaves memory as it is stored, with what was drawn behind that frame: who comes back goes on there.

Backpressure policy, "credit": a session that its client does not acknowledge is not drawn further, so its log holds at
most ``frame_credit`` frames. Of these nothing is ever dropped or overwritten. What a session with pacing "live" does
not get to draw in time is skipped before it is drawn: see ``session``.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence

from cutscene_server import clock, worker_messages
from cutscene_server.admission import Admission
from cutscene_server.archive import Archive, FrameToKeep
from cutscene_server.arriving import MOST_AT_ONCE, Arrived, Arriving
from cutscene_server.crew import Crew
from cutscene_server.errors import EngineFailed, ServerError, StorageFailed
from cutscene_server.inference import Inference
from cutscene_server.observer import Observer
from cutscene_server.picture import Encoded
from cutscene_server.registry import SessionRecord, SessionRegistry
from cutscene_server.session import Session
from cutscene_server.turns import DrawOrder

MOST_UNLANDED = 2 * MOST_AT_ONCE  # orders of a process whose frames are not in their sessions' logs yet


class Step:
    """See the module's docstring. Everything here runs on one event loop."""

    def __init__(
        self,
        sessions: SessionRegistry,
        archive: Archive,
        crew: Crew,
        admission: Admission,
        change: Callable[[int, Callable[[Session], None]], None],
        let_go: Callable[[SessionRecord, Exception], None],
        on_drained: Callable[[], None],
        observer: Observer,
    ) -> None:
        """``change`` lets something happen to a session; ``let_go`` has one leave memory of which something could not
        be stored, or read; ``on_drained`` is told once, after ``stop``, when every frame that was ordered is in its
        session's log.
        """
        self._sessions = sessions
        self._archive = archive
        self._crew = crew
        self._admission = admission
        self._change = change
        self._let_go = let_go
        self._on_drained = on_drained
        self._observer = observer
        self._stopping = False

    async def schedule(self, inference: Inference) -> None:
        """Gives the process orders for as long as it lives."""
        while True:
            slot = await inference.take_slot()
            await self._until_stored(inference)
            record = await self._next_session(inference)
            await self._until_blame_is_clear(inference, record)
            if not record.session.wants_frame or self._stopping:  # it closed, or went back, meanwhile
                inference.link.release(slot)
                continue
            generation, latent = record.session.generation, b""
            try:
                order = self._take_order(inference, record)
                if order.stored:
                    (frame,) = await self._archive.stored_frames(record, order.frame_index, order.frame_index + 1)
                    order = dataclasses.replace(
                        order, packed_state=frame.packed_state, tier=frame.tier, pixel_digest=frame.pixel_digest
                    )
                    latent = frame.latent
            except ServerError as error:  # what is stored of it could not be read
                inference.link.release(slot)
                if self._crew.is_current(record.key, generation):  # else it went back while its frame was being read
                    self._let_go(record, error)
                continue
            except Exception:
                # States were checked when they came, so this is a fault here; it costs one session, not all.
                inference.link.release(slot)
                if self._crew.is_current(record.key, generation):
                    record.log.exception("has a frame that cannot be ordered")
                    self._crew.take_fact(record.key, Session.fail)
                continue
            self._observer.frames_ordered(1)
            inference.order(
                slot, record, order,
                worker_messages.Draw(
                    record.key, order.generation, order.frame_index, slot, order.tier, order.cut_before,
                    order.paced, order.packed_state, latent,
                ),
            )  # fmt: skip

    async def deliver(self, inference: Inference) -> None:
        """Takes what the process tells, in its order, until it is gone."""
        arriving = Arriving()
        receiving = asyncio.create_task(self._receive(inference, arriving))
        try:
            while (told := await arriving.next()) is not None:
                match told:
                    case list():
                        await self._deliver_frames(inference, told)
                    case worker_messages.Began(key, generation):
                        self._crew.end_beginning(inference, key, generation, Session.begin)
                    case worker_messages.BeginFailed(key, generation, text):
                        if begun := self._sessions.by_key(key):
                            begun.log.error("could not begin: %s", text)
                        self._crew.end_beginning(inference, key, generation, Session.fail)
                    case worker_messages.DrawFailed(key, generation, slot, text):
                        record, order = inference.orders[slot]
                        inference.note_answer()
                        inference.free(slot)
                        self._note_landed(inference, 1)
                        if self._crew.is_current(key, generation):
                            record.log.error("could not draw: %s", text, extra=order.log_fields)
                            self._crew.take_fact(key, Session.fail)
                    case worker_messages.Encoded(number, latent):
                        inference.end_encoding(number, latent)
                    case worker_messages.EncodeFailed(number, text):
                        inference.end_encoding(number, EngineFailed("the model could not see a reference picture"))
                    case worker_messages.Counted(counters):
                        self._observer.cache_told(counters, inference.number)
            await receiving
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)

    async def _receive(self, inference: Inference, arriving: Arriving) -> None:
        """Takes frames out of their slots as they come."""
        try:
            async for fact in inference.link.facts():
                if isinstance(fact, worker_messages.Drawn):
                    arriving.put(self._take_out(inference, fact))
                else:
                    arriving.put(fact)
        finally:
            arriving.put(None)

    def _take_out(self, inference: Inference, drawn: worker_messages.Drawn) -> Arrived:
        """A frame that came back. It has no slot any more."""
        slot, ring = drawn.slot, inference.link.ring
        record, order = inference.orders[slot]
        figures = worker_messages.figures_from_plain(drawn.figures)
        longest_us = max(figures.greybox_us, figures.denoise_us, figures.decode_us + drawn.encode_us)
        inference.note_answer(longest_us)
        if not order.stored:
            inference.costs.observe(figures.tier, figures.started_us, figures.finished_us, longest_us)
        latent = b"" if order.stored else ring.latent(slot)
        picture = Encoded(ring.picture(slot, drawn.picture_bytes), drawn.pixel_digest, drawn.encode_us)
        inference.free(slot)
        return Arrived(record, order, drawn.generation, figures, latent, picture)

    async def _deliver_frames(self, inference: Inference, arrived: Sequence[Arrived]) -> None:
        """Stores frames of several sessions, and gives them to these."""
        current = [frame for frame in arrived if self._awaits(frame.record, frame.generation)]
        kept = await self._archive.keep_frames(
            [
                FrameToKeep(
                    frame.record, frame.order, frame.figures, frame.latent, frame.picture.pixel_digest,
                    ends_turn=frame.record.session.is_end_of_turn(frame.order.frame_index),
                    skips=frame.record.session.take_skips(),
                )
                for frame in current
            ]
        )  # fmt: skip
        for frame, failure in zip(current, kept, strict=True):
            if failure is None:
                self._add_frame(inference, frame)
                continue
            # A full disk has nothing to say that its message does not, and it is full for many sessions at once.
            traced = None if isinstance(failure, StorageFailed) else failure
            text, fields = "has a frame that cannot be stored: %s", frame.order.log_fields
            frame.record.log.error(text, failure.__cause__ or failure, extra=fields, exc_info=traced)
            if not frame.record.session.closed:  # else nothing more of it is to be stored
                self._let_go(frame.record, failure)
        self._note_landed(inference, len(arrived))

    def _awaits(self, record: SessionRecord, generation: int) -> bool:
        """Whether a frame that was drawn is still wanted: the session has neither ended nor gone back meanwhile."""
        return self._crew.is_current(record.key, generation) and record.session.in_flight > 0

    def _add_frame(self, inference: Inference, frame: Arrived) -> None:
        record, picture = frame.record, frame.picture
        record.crashes = 0
        # Somebody who holds the token may have ended it while its frame was being stored: then it awaits none.
        if not self._awaits(record, frame.generation):
            return
        now_us, misses = clock.now_us(), record.session.usage.deadline_misses

        def add(session: Session) -> None:
            ready = session.add_frame(frame.figures, picture.data, picture.pixel_digest, picture.took_us, now_us)
            record.watchers.show(ready)
            self._observer.frame_ready(record, ready, stored=frame.order.stored)

        self._change(record.key, add)
        if record.session.usage.deadline_misses > misses:
            inference.tiers.note_late()

    async def _next_session(self, inference: Inference) -> SessionRecord:
        """Whose frame is next, once somebody's time has come. Nobody's, once this server is stopping."""
        while True:
            now_us = clock.now_us()
            while not self._stopping and (key := inference.queue.take(now_us)) is not None:
                record = self._sessions.by_key(key)
                if record is not None and record.session.wants_frame:
                    return record
            inference.work.clear()
            release_us = None if self._stopping else inference.queue.next_release_us()
            alarm = None
            if release_us is not None:
                seconds = max(release_us - now_us, inference.gather_us) / 1e6
                alarm = asyncio.get_running_loop().call_later(seconds, inference.work.set)
            await inference.work.wait()
            if alarm is not None:
                alarm.cancel()

    def _take_order(self, inference: Inference, record: SessionRecord) -> DrawOrder:
        """The session's next frame, at the tier that there is time for. Its next wish goes to the queue."""
        now_us, session = clock.now_us(), record.session
        if inference.tiers.touch(record.key, now_us):
            self.review_tiers(inference)
        ahead_us = inference.depth * inference.cost_us(session.tier)
        if session.is_pressed(now_us + ahead_us):
            inference.tiers.note_late()
        order = session.take_order(now_us)
        record.worked_at = now_us / 1e6
        record.tenant.frames.take(1, now_us)
        self.offer(record)
        return order

    def offer(self, record: SessionRecord) -> None:
        """Puts what the session wishes for in the queue."""
        inference, session = self._crew.of(record), record.session
        if session.wants_frame and not session.has_place:
            self._admission.take_place(record)
        wish = session.wish(inference.cost_us(session.tier))
        if wish is None:
            inference.queue.remove(record.key)
            return
        allowed_us = record.tenant.frames.ready_us(clock.now_us()) if record.tenant.frames.rate else 0
        if allowed_us > wish.release_us:
            wish = dataclasses.replace(wish, release_us=allowed_us)
        if inference.queue.put(record.key, wish):
            inference.work.set()

    async def _until_stored(self, inference: Inference) -> None:
        """Frames that wait for the disk are in the order they were drawn in: not too many, or deadlines say nothing."""
        while inference.unlanded >= MOST_UNLANDED:
            inference.landed.clear()
            await inference.landed.wait()

    async def _until_blame_is_clear(self, inference: Inference, record: SessionRecord) -> None:
        """Sessions that were drawn for when a process ended get one frame at a time, so that the next end tells."""
        orders = inference.orders
        while orders and (record.crashes or any(other.crashes for other, _ in orders.values())):
            inference.landed.clear()
            await inference.landed.wait()

    def _note_landed(self, inference: Inference, frames: int) -> None:
        """So many orders have been dealt with: their frames are in their sessions' logs, or will never be."""
        inference.unlanded -= frames
        inference.landed.set()
        if self._stopping:
            self._note_drained()

    def review_tiers(self, inference: Inference) -> None:
        """Takes the steps that are due between tiers."""
        for change in inference.tiers.review(clock.now_us()):
            if record := self._sessions.by_key(change.key):
                record.log.info("goes %s to %s", "down" if change.lower else "up", change.tier)
                tier = change.tier
                self._change(record.key, lambda session: session.set_tier(tier))  # noqa: B023 - done at once

    def stop(self) -> None:
        """Orders nothing more."""
        self._stopping = True
        for inference in self._crew.all:
            inference.work.set()
        self._note_drained()

    def _note_drained(self) -> None:
        if not any(inference.unlanded for inference in self._crew.all):
            self._on_drained()
