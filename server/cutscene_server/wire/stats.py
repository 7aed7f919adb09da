"""What the server knows of itself as a message: for ``cutscene top``, and for programs of whoever runs the server."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_server.errors import FieldViolation, InvalidRequest
from cutscene_server.observer import Observer, count_sessions
from cutscene_server.recent import Percentiles
from cutscene_server.registry import SessionRecord
from cutscene_server.wire.replies import status_of, tier_name

MOST_SESSIONS = 256
DEFAULT_SESSIONS = 64


def read_max_sessions(request: pb.GetServerStatsRequest) -> int:
    """How many sessions are to be told of. Raises ``InvalidRequest``."""
    if request.max_sessions > MOST_SESSIONS:
        found = f"found {request.max_sessions}; allowed are 1 to {MOST_SESSIONS}, or 0 for {DEFAULT_SESSIONS}"
        raise InvalidRequest([FieldViolation("max_sessions", found)])
    return request.max_sessions or DEFAULT_SESSIONS


def server_stats(
    observer: Observer,
    records: Iterable[SessionRecord],
    now_us: int,
    *,
    model: str,
    serving: bool,
    max_disk: int,
    most_sessions: int,
) -> pb.GetServerStatsResponse:
    """What the server does and did lately, with its ``most_sessions`` sessions that were drawn for last."""
    sessions = list(records)
    recent, totals, cache, counts = observer.recent, observer.totals, observer.cache, count_sessions(sessions)
    shown = heapq.nlargest(most_sessions, sessions, key=lambda record: (recent.last_ready_us(record.key), record.key))
    return pb.GetServerStatsResponse(
        stats=pb.ServerStats(
            uptime_us=now_us - observer.serving_since_us if observer.serving_since_us else 0,
            model=model,
            serving=serving,
            frames=totals.frames,
            late_frames=totals.late_frames,
            turns=totals.turns,
            refusals=totals.refusals,
            sent_bytes=totals.sent_bytes,
            inference_restarts=totals.inference_restarts,
            frames_per_second=recent.frames_per_second(now_us),
            frame_latency=_latency(recent.latency(now_us)),
            stages=[
                pb.StageFigures(stage=stage, latency=_latency(found)) for stage, found in recent.stages(now_us).items()
            ],
            tiers=[
                pb.TierFrames(tier=tier_name(tier), frames=count) for tier, count in recent.tiers(now_us).most_common()
            ],
            loop_lag=_latency(recent.lag),
            frames_in_flight=counts.in_flight,
            waiting_sessions=counts.waiting,
            attached_sessions=counts.attached,
            sessions_in_memory=len(sessions),
            disk_bytes=totals.disk_bytes,
            max_disk_bytes=max_disk,
            cache_held_bytes=cache.get("held_bytes", 0),
            cache_hits=cache.get("hits", 0),
            cache_computed=cache.get("computed", 0) + cache.get("recomputed", 0),
            sessions=[_session(observer, record, now_us) for record in sorted(shown, key=lambda record: record.key)],
        )
    )


def _session(observer: Observer, record: SessionRecord, now_us: int) -> pb.SessionStats:
    session, lately = record.session, observer.recent.session(record.key, now_us)
    return pb.SessionStats(
        session_id=record.session_id,
        status=status_of(session),
        fps=session.terms.fps,
        frames_per_second=lately.frames_per_second,
        tier=tier_name(lately.tier or session.terms.tier),
        frame_latency=_latency(lately.latency),
        late_frames=lately.late_frames,
        next_frame=session.ready_frame,
        unacked_frames=session.ready_frame - session.acked_frame,
        frame_credit=session.terms.frame_credit,
        turns_waiting=session.turns_waiting,
        background=session.terms.background,
        throttled=session.throttled,
        sent_bytes=session.usage.bytes_sent,
    )


def _latency(value: Percentiles) -> pb.LatencyFigures:
    return pb.LatencyFigures(p50_us=value.p50_us, p99_us=value.p99_us)
