"""The one object that the rest of the server tells what happens, by named verbs, and asks what happened lately.

It keeps the figures of the last seconds, which ``cutscene top`` shows, and changes the metrics if the server exports
any. A server that does not export them never imports the library for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cutscene_server import clock
from cutscene_server.errors import reason_of
from cutscene_server.recent import FrameTimes, Recent
from cutscene_server.registry import SessionRecord
from cutscene_server.session_log import FrameReady
from cutscene_server.session_states import IN_MEMORY, State

if TYPE_CHECKING:
    from cutscene_model.manifest import Manifest
    from cutscene_server.metrics import Metrics


@dataclass(slots=True)
class Totals:
    """Since the server started."""

    frames: int = 0
    late_frames: int = 0
    turns: int = 0
    refusals: int = 0
    sent_bytes: int = 0
    inference_restarts: int = 0
    disk_bytes: int = 0  # at the last look


class Observer:
    """See the module's docstring. Everything here runs on the event loop and takes microseconds."""

    def __init__(self, metrics: Metrics | None = None) -> None:
        self.recent = Recent()
        self.totals = Totals()
        self.serving_since_us = 0  # of the machine's monotonic clock; 0: the model is not loaded yet
        self._caches: dict[int, dict[str, int]] = {}  # by inference process: its engine's counters, as told last
        self._metrics = metrics

    # ---- sessions ---------------------------------------------------------------------------------------------------

    def session_opened(self) -> None:
        if self._metrics is not None:
            self._metrics.sessions_opened.inc()

    def session_closed(self, record: SessionRecord) -> None:
        reason = record.session.close_reason
        if self._metrics is not None and reason is not None:
            self._metrics.sessions_closed.labels(reason.name.lower()).inc()

    def session_forgotten(self, record: SessionRecord) -> None:
        """It left memory."""
        self.recent.forget(record.key)

    def turn_taken(self) -> None:
        self.totals.turns += 1
        if self._metrics is not None:
            self._metrics.turns.inc()

    def refused(self, error: Exception) -> None:
        """A client was answered with an error, or one of its requests was rejected."""
        self.totals.refusals += 1
        if self._metrics is not None:
            self._metrics.refusals.labels(reason_of(error)).inc()

    # ---- frames -----------------------------------------------------------------------------------------------------

    def frames_ordered(self, count: int) -> None:
        """So many frames were given to the model in one go."""
        if self._metrics is not None:
            self._metrics.batch_frames.observe(count)

    def frame_ready(self, record: SessionRecord, frame: FrameReady, *, stored: bool) -> None:
        """A frame is encoded and on disk. ``stored``: it had been drawn before, and was shown again."""
        terms, tier = record.session.terms, frame.figures.tier
        times = frame_times(frame)
        self.recent.add_frame(record.key, tier, times, late=frame.late)
        self.totals.frames += 1
        self.totals.late_frames += frame.late
        metrics = self._metrics
        if metrics is None:
            return
        stages = metrics.stages
        stages["queued"].observe(times.queued_us / 1e6)
        stages["greybox"].observe(times.greybox_us / 1e6)
        if not stored:
            stages["denoise"].observe(times.denoise_us / 1e6)
        stages["decode"].observe(times.decode_us / 1e6)
        stages["store"].observe(times.store_us / 1e6)
        metrics.frame_seconds.observe(times.whole_us / 1e6)
        metrics.frames.labels(tier, "stored" if stored else "drawn").inc()
        if not stored:
            metrics.film_seconds.labels(tier).inc(1 / terms.fps)
        if frame.late:
            metrics.deadline_misses.labels(tier).inc()

    def frame_delivered(self, took_us: int, now_us: int) -> None:
        """A frame was handed to its client's connection, so long after it was ready."""
        self.recent.add_delivery(now_us, took_us)
        if self._metrics is not None:
            self._metrics.stages["deliver"].observe(took_us / 1e6)

    def sent(self, count: int) -> None:
        """So many bytes were sent on a live stream."""
        self.totals.sent_bytes += count
        if self._metrics is not None:
            self._metrics.sent_bytes.inc(count)

    # ---- the machine ------------------------------------------------------------------------------------------------

    def serving(self, manifest: Manifest | None, inference_ids: Callable[[], Sequence[int | None]]) -> None:
        """The model is loaded, by the processes that the function names from now on."""
        self.serving_since_us = clock.now_us()
        if self._metrics is not None and manifest is not None:
            self._metrics.describe(manifest)
            self._metrics.watch_processes(inference_ids)

    def inference_restarted(self, process: int = 0) -> None:
        """Another inference process took the place of a lost one."""
        self.totals.inference_restarts += 1
        self._caches.pop(process, None)
        if self._metrics is not None:
            self._metrics.inference_restarts.inc()

    def inference_hung(self) -> None:
        """An inference process was killed because it hung."""
        if self._metrics is not None:
            self._metrics.inference_hangs.inc()

    def cache_told(self, counters: Mapping[str, int], process: int = 0) -> None:
        """An inference process told what its cache has done since that process started."""
        before = self._caches.get(process, {})
        self._caches[process] = dict(counters)
        if self._metrics is not None:
            risen = {name: value - before.get(name, 0) for name, value in counters.items()}
            self._metrics.add_cache(risen, self.cache)

    @property
    def cache(self) -> Counter[str]:
        """The engines' own counters, all inference processes together."""
        total: Counter[str] = Counter()
        for counters in self._caches.values():
            total.update(counters)
        return total

    def disk_used(self, used: int, limit: int) -> None:
        """Bytes that stored sessions take, and may take."""
        self.totals.disk_bytes = used
        if self._metrics is not None:
            self._metrics.disk_bytes.set(used)
            self._metrics.disk_limit_bytes.set(limit)

    def loop_lagged(self, lag_us: int) -> None:
        """The event loop came to a timer so much later than it was asked to."""
        self.recent.add_lag(lag_us)
        if self._metrics is not None:
            self._metrics.loop_lag_seconds.observe(lag_us / 1e6)

    @property
    def counts_sessions(self) -> bool:
        """Whether anybody wants ``sessions_counted``."""
        return self._metrics is not None

    def sessions_counted(self, records: Iterable[SessionRecord]) -> None:
        """A look at every session in memory, now and then."""
        if self._metrics is None:
            return
        counts = count_sessions(records)
        for state in IN_MEMORY:
            self._metrics.sessions.labels(state.value).set(counts.states[state])
        self._metrics.attached.set(counts.attached)
        self._metrics.waiting_sessions.set(counts.waiting)
        self._metrics.frames_in_flight.set(counts.in_flight)
        self._metrics.turns_waiting.set(counts.turns_waiting)


@dataclass(frozen=True, slots=True)
class SessionCounts:
    """The sessions in memory, counted."""

    states: Counter[State]
    attached: int  # have a client
    waiting: int  # want a frame to be drawn now
    in_flight: int  # frames given to the model and not ready yet
    turns_waiting: int  # behind the current ones


def count_sessions(records: Iterable[SessionRecord]) -> SessionCounts:
    """Counts sessions, with what they wait for."""
    sessions = [record.session for record in records]
    return SessionCounts(
        Counter(session.state for session in sessions),
        sum(session.attachment is not None for session in sessions),
        sum(session.wants_frame for session in sessions),
        sum(session.in_flight for session in sessions),
        sum(session.turns_waiting for session in sessions),
    )


def frame_times(frame: FrameReady) -> FrameTimes:
    """The stages of a frame's way. Greybox and decoding go on beside the drawing of others, so they do not add up."""
    figures = frame.figures
    return FrameTimes(
        ready_us=frame.ready_us,
        queued_us=frame.queued_us,
        greybox_us=figures.greybox_us,
        denoise_us=figures.denoise_us,
        decode_us=figures.decode_us,
        store_us=max(0, frame.ready_us - figures.finished_us),
        whole_us=max(0, frame.queued_us + frame.ready_us - figures.started_us),
    )
