"""Every metric that a server exports, declared once: its name, unit, labels and help text, by Prometheus' conventions.

Labels come from closed sets (stages, tiers, states, reasons): never from a client, so that no client can make a series.
Nothing here is secret, and nothing here is of one session: ``cutscene top`` shows those. Which event changes which
metric is ``observer``'s to say. Source of the conventions: https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib.metadata import version

from prometheus_client import (
    GC_COLLECTOR,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    Metric,
    ProcessCollector,
)
from prometheus_client.registry import Collector

from cutscene_model.engine import TIERS
from cutscene_model.manifest import Manifest
from cutscene_server.errors import reasons
from cutscene_server.recent import STAGES
from cutscene_server.session_states import IN_MEMORY, CloseReason

CACHE_EVENTS = ("hits", "shares", "computed", "recomputed", "evictions")
"""Those of ``Engine.counters()`` that only rise. What else an engine counts is not exported."""

ORIGINS = ("drawn", "stored")

# Factors of about 1.5 where people look (frame times of 15 to 60 frames/s), of 2 and more elsewhere.
STAGE_BUCKETS_S = (
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.042, 0.05, 0.067, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 10.0,
)  # fmt: skip
LAG_BUCKETS_S = (0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.5)
BATCH_BUCKETS = (1, 2, 3, 4, 6, 8, 12, 16)


class Metrics:
    """One server's metrics in one registry. Series with a closed set of labels exist from the start, at zero."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Raises ``ValueError`` if the registry has a server's metrics already."""
        self.registry = registry
        counter, gauge = partial(Counter, registry=registry), partial(Gauge, registry=registry)

        # Frames.
        self.stage_seconds = Histogram(
            "cutscene_frame_stage_seconds",
            "What each stage of a frame took. queued: from its being due to be drawn to the start; store: from its "
            "pixels to its being encoded and on disk; deliver: from there to its being handed to the connection.",
            ["stage"],
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )
        self.frame_seconds = Histogram(
            "cutscene_frame_seconds",
            "From a frame's being due to be drawn to its being encoded and on disk.",
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )
        self.frames = counter(
            "cutscene_frames_total",
            "Frames made ready, by tier; origin drawn: by the model now; stored: shown again as it was.",
            ["tier", "origin"],
        )
        self.deadline_misses = counter(
            "cutscene_deadline_misses_total",
            "Frames of sessions that keep a cadence that were ready after they were due, as their usage counts them.",
            ["tier"],
        )
        self.film_seconds = counter(
            "cutscene_tier_film_seconds_total",
            "Film drawn at each tier, in seconds of showing time: how long sessions stay at which tier.",
            ["tier"],
        )
        self.batch_frames = Histogram(
            "cutscene_batch_frames",
            "Frames that were given to the model in one go.",
            buckets=BATCH_BUCKETS,
            registry=registry,
        )

        # Sessions.
        self.sessions = gauge("cutscene_sessions", "Sessions in memory by state.", ["state"])
        self.attached = gauge("cutscene_attached_sessions", "Sessions in memory that have a client.")
        self.waiting_sessions = gauge("cutscene_waiting_sessions", "Sessions that want a frame to be drawn now.")
        self.frames_in_flight = gauge("cutscene_frames_in_flight", "Frames given to the model and not ready yet.")
        self.turns_waiting = gauge("cutscene_waiting_turns", "Turns behind the current ones.")
        self.sessions_opened = counter("cutscene_sessions_opened_total", "Sessions opened.")
        self.sessions_closed = counter("cutscene_sessions_closed_total", "Sessions closed, by reason.", ["reason"])
        self.turns = counter("cutscene_turns_total", "Turns taken.")
        self.refusals = counter(
            "cutscene_refusals_total",
            "Requests that were refused, by the kind of error. docs/operations.md lists the kinds.",
            ["reason"],
        )
        self.sent_bytes = counter("cutscene_sent_bytes_total", "Bytes of messages sent on live streams.")

        # The inference process and what it remembers.
        self.inference_restarts = counter(
            "cutscene_inference_restarts_total", "Inference processes that were started in place of a lost one."
        )
        self.inference_hangs = counter(
            "cutscene_inference_hangs_total", "Inference processes that were killed because they hung."
        )
        self.cache_blocks = counter(
            "cutscene_cache_blocks_total",
            "Frame blocks by what happened to them. hits: were there; shares: of these, another session had asked for "
            "them; computed: made; recomputed: made again; evictions: dropped.",
            ["event"],
        )
        self.cache_held_blocks = gauge("cutscene_cache_held_blocks", "Frame blocks in the cache.")
        self.cache_used_blocks = gauge(
            "cutscene_cache_used_blocks", "Frame blocks that some session still reads, in the cache or dropped from it."
        )
        self.cache_held_bytes = gauge("cutscene_cache_held_bytes", "Memory that frame blocks in the cache take.")

        # The front end.
        self.loop_lag_seconds = Histogram(
            "cutscene_event_loop_lag_seconds",
            "How much later than asked for the front end's event loop came to a timer.",
            buckets=LAG_BUCKETS_S,
            registry=registry,
        )
        self.disk_bytes = gauge("cutscene_disk_bytes", "Bytes that stored sessions take.")
        self.disk_limit_bytes = gauge("cutscene_disk_limit_bytes", "Bytes that stored sessions may take (max_disk).")
        self.server = Info("cutscene_server", "The server's version and its model.", registry=registry)

        self.stages = {stage: self.stage_seconds.labels(stage) for stage in STAGES}
        self._begin_at_zero()

    def add_cache(self, risen: Mapping[str, int], counters: Mapping[str, int]) -> None:
        """What an engine's counters rose by, and where they stand. Names that are not known here are passed over."""
        for event in CACHE_EVENTS:
            self.cache_blocks.labels(event).inc(max(0, risen.get(event, 0)))
        self.cache_held_blocks.set(counters.get("blocks", 0))
        self.cache_used_blocks.set(counters.get("used", 0))
        self.cache_held_bytes.set(counters.get("held_bytes", 0))

    def describe(self, manifest: Manifest) -> None:
        """What this server is and plays."""
        self.server.info(
            {
                "version": version("cutscene-runtime"),
                "model": manifest.name,
                "model_version": manifest.version,
                "model_digest": manifest.digest,
            }
        )

    def watch_processes(self, inference_ids: Callable[[], Sequence[int | None]]) -> None:
        """Adds memory, processor time and open files of all processes, and the front end's garbage collections."""
        ProcessCollector(registry=self.registry)
        self.registry.register(_InferenceProcesses(inference_ids))
        self.registry.register(GC_COLLECTOR)

    def _begin_at_zero(self) -> None:
        # A series that appears with its first event has no rise that `rate` could see.
        for tier in TIERS:
            self.deadline_misses.labels(tier)
            self.film_seconds.labels(tier)
            for origin in ORIGINS:
                self.frames.labels(tier, origin)
        for state in IN_MEMORY:
            self.sessions.labels(state.value)
        for reason in CloseReason:
            self.sessions_closed.labels(reason.name.lower())
        for event in CACHE_EVENTS:
            self.cache_blocks.labels(event)
        for refusal in reasons():
            self.refusals.labels(refusal)


class _InferenceProcesses(Collector):
    """What the operating system says of the inference processes, by their number."""

    def __init__(self, ids: Callable[[], Sequence[int | None]]) -> None:
        self._ids = ids

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for number, process_id in enumerate(self._ids()):
            if process_id is None:
                continue
            found = ProcessCollector("cutscene_inference", partial(int, process_id), registry=None)
            for family in found.collect():  # nothing, of a process that has just ended
                kept = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    kept.add_sample(sample.name, {"process": str(number)}, sample.value)
        return families.values()
