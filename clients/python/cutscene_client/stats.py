"""What a server says of itself: its rates, latencies and sessions now and in the last seconds."""

from __future__ import annotations

from dataclasses import dataclass

from cutscene_client.frames import TIER_NAMES
from cutscene_proto.v1 import cutscene_pb2 as pb


@dataclass(frozen=True, slots=True)
class LatencyFigures:
    """The middle and the slow end of some times, milliseconds; zero if there were none."""

    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class SessionStats:
    """One session that the server has in memory."""

    id: str
    status: str  # "idle", "performing", "detached" or "closed"
    fps: float  # that it asked for
    frames_per_second: float  # of the last seconds
    tier: str
    frame_latency: LatencyFigures  # from a frame's being due to be drawn to its being ready
    late_frames: int
    next_frame: int
    unacked_frames: int
    frame_credit: int
    turns_waiting: int
    background: bool  # drawn when no live session wants a frame
    throttled: bool  # stands still until its client acknowledges frames
    sent_bytes: int


@dataclass(frozen=True, slots=True)
class ServerStats:
    """See ``ServerStats`` in ``cutscene.proto``, which says of what time each figure is."""

    model: str
    serving: bool
    uptime_s: float
    frames: int
    late_frames: int
    turns: int
    refusals: int
    sent_bytes: int
    inference_restarts: int
    frames_per_second: float
    frame_latency: LatencyFigures
    stages: dict[str, LatencyFigures]  # by name, in the order of a frame's way
    tiers: dict[str, int]  # frames of the last seconds by tier
    loop_lag: LatencyFigures
    frames_in_flight: int
    waiting_sessions: int
    attached_sessions: int
    sessions_in_memory: int
    disk_bytes: int
    max_disk_bytes: int
    cache_held_bytes: int
    cache_hits: int
    cache_computed: int
    sessions: tuple[SessionStats, ...]  # those drawn for last, in the order in which they came to memory


def read_stats(message: pb.ServerStats) -> ServerStats:
    """The figures in a message."""
    return ServerStats(
        model=message.model,
        serving=message.serving,
        uptime_s=message.uptime_us / 1e6,
        frames=message.frames,
        late_frames=message.late_frames,
        turns=message.turns,
        refusals=message.refusals,
        sent_bytes=message.sent_bytes,
        inference_restarts=message.inference_restarts,
        frames_per_second=round(message.frames_per_second, 3),
        frame_latency=_latency(message.frame_latency),
        stages={stage.stage: _latency(stage.latency) for stage in message.stages},
        tiers={TIER_NAMES[item.tier]: item.frames for item in message.tiers if item.tier in TIER_NAMES},
        loop_lag=_latency(message.loop_lag),
        frames_in_flight=message.frames_in_flight,
        waiting_sessions=message.waiting_sessions,
        attached_sessions=message.attached_sessions,
        sessions_in_memory=message.sessions_in_memory,
        disk_bytes=message.disk_bytes,
        max_disk_bytes=message.max_disk_bytes,
        cache_held_bytes=message.cache_held_bytes,
        cache_hits=message.cache_hits,
        cache_computed=message.cache_computed,
        sessions=tuple(_session(session) for session in message.sessions),
    )


def _session(message: pb.SessionStats) -> SessionStats:
    return SessionStats(
        id=message.session_id,
        status=pb.SessionStatus.Name(message.status).removeprefix("SESSION_STATUS_").lower(),
        fps=round(message.fps, 3),
        frames_per_second=round(message.frames_per_second, 3),
        tier=TIER_NAMES.get(message.tier, ""),
        frame_latency=_latency(message.frame_latency),
        late_frames=message.late_frames,
        next_frame=message.next_frame,
        unacked_frames=message.unacked_frames,
        frame_credit=message.frame_credit,
        turns_waiting=message.turns_waiting,
        background=message.background,
        throttled=message.throttled,
        sent_bytes=message.sent_bytes,
    )


def _latency(message: pb.LatencyFigures) -> LatencyFigures:
    return LatencyFigures(message.p50_us / 1000, message.p99_us / 1000)
