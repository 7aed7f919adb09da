"""Values to the messages that clients get."""

from __future__ import annotations

from collections.abc import Iterable

from cutscene_model.engine import TIERS
from cutscene_model.manifest import Manifest
from cutscene_model.scene import MAX_REFERENCES
from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_server.errors import FieldViolation
from cutscene_server.registry import SessionRecord, watch_token_of
from cutscene_server.replay import Replayed
from cutscene_server.session import Session
from cutscene_server.session_log import Entry, FrameReady, Rewound, TurnCompleted, TurnStarted
from cutscene_server.session_states import State
from cutscene_server.store import SessionSummary, StoredFrame
from cutscene_server.terms import Codec, Pacing, Terms
from cutscene_server.transfers import Imported
from cutscene_server.turns import Usage

_CODECS: dict[Codec, pb.Codec] = {codec: getattr(pb, f"CODEC_{codec.name}") for codec in Codec}
_TIERS: dict[str, pb.Tier] = {tier: getattr(pb, f"TIER_{tier.upper()}") for tier in TIERS}


def opened(record: SessionRecord, token: str) -> pb.PerformResponse:
    """The answer to `open` (with the token, this once) and to `resume` (with none)."""
    session, terms = record.session, record.session.terms
    return pb.PerformResponse(
        opened=pb.Opened(
            session_id=record.session_id,
            token=token,
            watch_token=watch_token_of(token) if token else "",
            model=terms.model,
            model_digest=terms.model_digest,
            video=_video(terms),
            fps=terms.fps,
            seed=terms.seed,
            tier=tier_name(terms.tier),
            frame_credit=terms.frame_credit,
            next_frame=session.acked_frame,
            epoch=session.epoch,
            recent_turn_ids=session.recent_turn_ids,
            pacing=_pacing(terms.pacing),
            lowest_tier=tier_name(terms.lowest_tier or terms.tier),
            latency_us=terms.latency_us,
        )
    )


def entry(value: Entry) -> pb.PerformResponse:
    """An entry of a session's log."""
    match value:
        case FrameReady():
            message = pb.PerformResponse()
            _fill_frame(message.frame, value)
            return message
        case TurnStarted():
            return pb.PerformResponse(
                turn_started=pb.TurnStarted(
                    turn_id=value.turn_id, first_frame=value.first_frame, frame_count=value.frame_count
                )
            )
        case TurnCompleted():
            return pb.PerformResponse(
                turn_completed=pb.TurnCompleted(
                    turn_id=value.turn_id,
                    first_frame=value.first_frame,
                    frame_count=value.frame_count,
                    first_frame_us=value.first_frame_us,
                    total_us=value.total_us,
                    blocks_reused=value.blocks_reused,
                    blocks_computed=value.blocks_computed,
                    states_skipped=value.states_skipped,
                    deadline_misses=value.deadline_misses,
                )
            )
        case Rewound():
            return pb.PerformResponse(rewound=pb.Rewound(epoch=value.epoch, next_frame=value.next_frame))


def watching(session: Session) -> pb.WatchSessionResponse:
    """The first answer to somebody who watches."""
    terms = session.terms
    return pb.WatchSessionResponse(
        watching=pb.Watching(video=_video(terms), fps=terms.fps, next_frame=session.ready_frame)
    )


def watched(frame: FrameReady) -> pb.WatchSessionResponse:
    message = pb.WatchSessionResponse()
    _fill_frame(message.frame, frame)
    return message


def watched_to_the_end(session: Session) -> pb.WatchSessionResponse:
    return pb.WatchSessionResponse(closed=closed(session).closed)


def notice(kind: pb.NoticeKind, text: str) -> pb.PerformResponse:
    return pb.PerformResponse(notice=pb.Notice(kind=kind, text=text))


def tier_changed(tier: str) -> pb.PerformResponse:
    text = f"frames are drawn at the {tier} tier from now on"
    return pb.PerformResponse(notice=pb.Notice(kind=pb.NOTICE_KIND_TIER_CHANGED, text=text, tier=tier_name(tier)))


def queued(position: int) -> pb.PerformResponse:
    text = f"waiting for room, at position {position}"
    return pb.PerformResponse(notice=pb.Notice(kind=pb.NOTICE_KIND_QUEUED, text=text, position=position))


def rejected(
    turn_id: str, violations: Iterable[FieldViolation], retry_after_s: float | None = None
) -> pb.PerformResponse:
    return pb.PerformResponse(
        rejected=pb.Rejected(
            turn_id=turn_id,
            retry_after_ms=round(1000 * (retry_after_s or 0)),
            violations=[pb.FieldViolation(field=item.field, description=item.description) for item in violations],
        )
    )


def closed(session: Session) -> pb.PerformResponse:
    reason = session.close_reason.name if session.close_reason else "UNSPECIFIED"
    return pb.PerformResponse(closed=pb.Closed(reason=f"CLOSE_REASON_{reason}", usage=usage(session.usage)))


def usage(value: Usage) -> pb.Usage:
    return pb.Usage(
        frames=value.frames,
        turns=value.turns,
        compute_us=value.compute_us,
        bytes_sent=value.bytes_sent,
        deadline_misses=value.deadline_misses,
        states_skipped=value.states_skipped,
    )


def session(record: SessionRecord) -> pb.Session:
    """A session's figures, without its token."""
    value = record.session
    return pb.Session(
        session_id=record.session_id,
        status=status_of(value),
        model=value.terms.model,
        next_frame=value.ready_frame,
        acked_frame=value.acked_frame,
        turns_waiting=value.turns_waiting,
        created_unix_us=record.created_unix_us,
        usage=usage(value.usage),
    )


def stored_session(summary: SessionSummary, next_frame: int) -> pb.Session:
    """A session that is on disk only. What it used is known once it is closed."""
    used = dict(summary.end.usage) if summary.end else {"frames": next_frame}
    return pb.Session(
        session_id=summary.opened.session_id,
        status=pb.SESSION_STATUS_CLOSED if summary.end else pb.SESSION_STATUS_PARKED,
        model=summary.opened.model,
        next_frame=next_frame,
        acked_frame=next_frame,
        created_unix_us=summary.opened.created_unix_us,
        usage=usage(Usage(**used)),
    )


def recorded_frame(frame: StoredFrame) -> pb.GetRecordingResponse:
    return pb.GetRecordingResponse(
        frame_index=frame.frame_index,
        tier=tier_name(frame.tier),
        cut_before=frame.cut_before,
        pixel_digest=frame.pixel_digest,
    )


def replayed(value: Replayed) -> pb.ReplaySessionResponse:
    return pb.ReplaySessionResponse(
        session_id=value.session_id,
        token=value.token,
        first_frame=value.first_frame,
        frame_count=value.frame_count,
        differences=value.differences,
    )


def imported(value: Imported) -> pb.ImportSessionResponse:
    return pb.ImportSessionResponse(
        session_id=value.session_id, token=value.token, next_frame=value.next_frame, differences=value.differences
    )


def model(manifest: Manifest) -> pb.Model:
    return pb.Model(
        name=manifest.name,
        version=manifest.version,
        digest=manifest.digest,
        width=manifest.width,
        height=manifest.height,
        tiers=[pb.TierFigures(tier=tier_name(name), denoise_steps=steps) for name, steps in manifest.tiers.items()],
        costumes=manifest.costumes,
        looks=manifest.looks,
        emotions=manifest.emotions,
        license=manifest.license,
        references=min(manifest.references, MAX_REFERENCES),
    )


def _video(terms: Terms) -> pb.VideoFormat:
    return pb.VideoFormat(
        width=terms.width,
        height=terms.height,
        codec=_codec(terms.codec),
        jpeg_quality=terms.jpeg_quality,
        pixel_digest=f"PIXEL_DIGEST_{terms.pixel_digest.name}",
    )


def _fill_frame(frame: pb.Frame, value: FrameReady) -> None:
    # Field by field: of what is said of every frame, keywords and enum values by name would take the larger part.
    figures, timings, cache = value.figures, frame.timings, frame.cache
    frame.frame_index = figures.frame_index
    frame.turn_id = value.turn_id
    frame.presentation_time_us = value.presentation_time_us
    frame.codec = _CODECS[value.codec]
    frame.data = value.data
    frame.tier = _TIERS[figures.tier]
    timings.queued_us = value.queued_us
    timings.greybox_us = figures.greybox_us
    timings.denoise_us = figures.denoise_us
    timings.decode_us = figures.decode_us
    timings.encode_us = value.encode_us
    cache.blocks_reused = figures.blocks_reused
    cache.blocks_computed = figures.blocks_computed
    frame.pixel_digest = value.pixel_digest
    frame.states_skipped = value.states_skipped


# Enum values go by name: the generated types take names and refuse plain numbers.


def tier_name(name: str) -> str:
    """The contract's name of a tier."""
    return f"TIER_{name.upper()}"


def _codec(codec: Codec) -> str:
    return f"CODEC_{codec.name}"


def _pacing(pacing: Pacing) -> str:
    return "PACING_UNSPECIFIED" if pacing is Pacing.UNPACED else f"PACING_{pacing.name}"


def status_of(value: Session) -> pb.SessionStatus:
    """A session in memory, as the contract sees it."""
    if value.closed:
        return pb.SESSION_STATUS_CLOSED
    if value.attachment is None:
        return pb.SESSION_STATUS_DETACHED
    busy = value.has_work or value.state is State.PERFORMING
    return pb.SESSION_STATUS_PERFORMING if busy else pb.SESSION_STATUS_IDLE
