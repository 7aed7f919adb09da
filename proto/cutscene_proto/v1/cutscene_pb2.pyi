from cutscene_proto.v1 import scene_pb2 as _scene_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Tier(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TIER_UNSPECIFIED: _ClassVar[Tier]
    TIER_DRAFT: _ClassVar[Tier]
    TIER_STANDARD: _ClassVar[Tier]
    TIER_HIGH: _ClassVar[Tier]

class Codec(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CODEC_UNSPECIFIED: _ClassVar[Codec]
    CODEC_JPEG: _ClassVar[Codec]
    CODEC_RAW_RGB: _ClassVar[Codec]

class PixelDigest(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PIXEL_DIGEST_UNSPECIFIED: _ClassVar[PixelDigest]
    PIXEL_DIGEST_BLAKE2B: _ClassVar[PixelDigest]
    PIXEL_DIGEST_BLAKE3: _ClassVar[PixelDigest]

class Pacing(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PACING_UNSPECIFIED: _ClassVar[Pacing]
    PACING_LOCKSTEP: _ClassVar[Pacing]
    PACING_LIVE: _ClassVar[Pacing]

class Easing(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EASING_UNSPECIFIED: _ClassVar[Easing]
    EASING_LINEAR: _ClassVar[Easing]
    EASING_IN_OUT: _ClassVar[Easing]
    EASING_HOLD: _ClassVar[Easing]

class NoticeKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NOTICE_KIND_UNSPECIFIED: _ClassVar[NoticeKind]
    NOTICE_KIND_GOING_AWAY: _ClassVar[NoticeKind]
    NOTICE_KIND_THROTTLED: _ClassVar[NoticeKind]
    NOTICE_KIND_REPLACED: _ClassVar[NoticeKind]
    NOTICE_KIND_TIER_CHANGED: _ClassVar[NoticeKind]
    NOTICE_KIND_QUEUED: _ClassVar[NoticeKind]

class CloseReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CLOSE_REASON_UNSPECIFIED: _ClassVar[CloseReason]
    CLOSE_REASON_CLIENT: _ClassVar[CloseReason]
    CLOSE_REASON_FRAME_BUDGET: _ClassVar[CloseReason]
    CLOSE_REASON_IDLE: _ClassVar[CloseReason]
    CLOSE_REASON_ERROR: _ClassVar[CloseReason]

class SessionStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SESSION_STATUS_UNSPECIFIED: _ClassVar[SessionStatus]
    SESSION_STATUS_IDLE: _ClassVar[SessionStatus]
    SESSION_STATUS_PERFORMING: _ClassVar[SessionStatus]
    SESSION_STATUS_DETACHED: _ClassVar[SessionStatus]
    SESSION_STATUS_CLOSED: _ClassVar[SessionStatus]
    SESSION_STATUS_PARKED: _ClassVar[SessionStatus]
TIER_UNSPECIFIED: Tier
TIER_DRAFT: Tier
TIER_STANDARD: Tier
TIER_HIGH: Tier
CODEC_UNSPECIFIED: Codec
CODEC_JPEG: Codec
CODEC_RAW_RGB: Codec
PIXEL_DIGEST_UNSPECIFIED: PixelDigest
PIXEL_DIGEST_BLAKE2B: PixelDigest
PIXEL_DIGEST_BLAKE3: PixelDigest
PACING_UNSPECIFIED: Pacing
PACING_LOCKSTEP: Pacing
PACING_LIVE: Pacing
EASING_UNSPECIFIED: Easing
EASING_LINEAR: Easing
EASING_IN_OUT: Easing
EASING_HOLD: Easing
NOTICE_KIND_UNSPECIFIED: NoticeKind
NOTICE_KIND_GOING_AWAY: NoticeKind
NOTICE_KIND_THROTTLED: NoticeKind
NOTICE_KIND_REPLACED: NoticeKind
NOTICE_KIND_TIER_CHANGED: NoticeKind
NOTICE_KIND_QUEUED: NoticeKind
CLOSE_REASON_UNSPECIFIED: CloseReason
CLOSE_REASON_CLIENT: CloseReason
CLOSE_REASON_FRAME_BUDGET: CloseReason
CLOSE_REASON_IDLE: CloseReason
CLOSE_REASON_ERROR: CloseReason
SESSION_STATUS_UNSPECIFIED: SessionStatus
SESSION_STATUS_IDLE: SessionStatus
SESSION_STATUS_PERFORMING: SessionStatus
SESSION_STATUS_DETACHED: SessionStatus
SESSION_STATUS_CLOSED: SessionStatus
SESSION_STATUS_PARKED: SessionStatus

class VideoFormat(_message.Message):
    __slots__ = ("width", "height", "codec", "jpeg_quality", "pixel_digest")
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    JPEG_QUALITY_FIELD_NUMBER: _ClassVar[int]
    PIXEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    width: int
    height: int
    codec: Codec
    jpeg_quality: int
    pixel_digest: PixelDigest
    def __init__(self, width: _Optional[int] = ..., height: _Optional[int] = ..., codec: _Optional[_Union[Codec, str]] = ..., jpeg_quality: _Optional[int] = ..., pixel_digest: _Optional[_Union[PixelDigest, str]] = ...) -> None: ...

class PerformRequest(_message.Message):
    __slots__ = ("open", "resume", "turn", "cut", "ack", "close", "rewind")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    TURN_FIELD_NUMBER: _ClassVar[int]
    CUT_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    REWIND_FIELD_NUMBER: _ClassVar[int]
    open: Open
    resume: Resume
    turn: Turn
    cut: Cut
    ack: Ack
    close: Close
    rewind: Rewind
    def __init__(self, open: _Optional[_Union[Open, _Mapping]] = ..., resume: _Optional[_Union[Resume, _Mapping]] = ..., turn: _Optional[_Union[Turn, _Mapping]] = ..., cut: _Optional[_Union[Cut, _Mapping]] = ..., ack: _Optional[_Union[Ack, _Mapping]] = ..., close: _Optional[_Union[Close, _Mapping]] = ..., rewind: _Optional[_Union[Rewind, _Mapping]] = ...) -> None: ...

class Open(_message.Message):
    __slots__ = ("model", "video", "fps", "cast", "set", "seed", "tier", "frame_credit", "frame_budget", "pacing", "lowest_tier", "wait", "references")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VIDEO_FIELD_NUMBER: _ClassVar[int]
    FPS_FIELD_NUMBER: _ClassVar[int]
    CAST_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    FRAME_CREDIT_FIELD_NUMBER: _ClassVar[int]
    FRAME_BUDGET_FIELD_NUMBER: _ClassVar[int]
    PACING_FIELD_NUMBER: _ClassVar[int]
    LOWEST_TIER_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    model: str
    video: VideoFormat
    fps: float
    cast: _containers.RepeatedCompositeFieldContainer[_scene_pb2.CastMember]
    set: _scene_pb2.Set
    seed: int
    tier: Tier
    frame_credit: int
    frame_budget: int
    pacing: Pacing
    lowest_tier: Tier
    wait: bool
    references: _containers.RepeatedCompositeFieldContainer[ReferencePicture]
    def __init__(self, model: _Optional[str] = ..., video: _Optional[_Union[VideoFormat, _Mapping]] = ..., fps: _Optional[float] = ..., cast: _Optional[_Iterable[_Union[_scene_pb2.CastMember, _Mapping]]] = ..., set: _Optional[_Union[_scene_pb2.Set, _Mapping]] = ..., seed: _Optional[int] = ..., tier: _Optional[_Union[Tier, str]] = ..., frame_credit: _Optional[int] = ..., frame_budget: _Optional[int] = ..., pacing: _Optional[_Union[Pacing, str]] = ..., lowest_tier: _Optional[_Union[Tier, str]] = ..., wait: _Optional[bool] = ..., references: _Optional[_Iterable[_Union[ReferencePicture, _Mapping]]] = ...) -> None: ...

class ReferencePicture(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class Resume(_message.Message):
    __slots__ = ("session_id", "token", "next_frame")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    NEXT_FRAME_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    token: str
    next_frame: int
    def __init__(self, session_id: _Optional[str] = ..., token: _Optional[str] = ..., next_frame: _Optional[int] = ...) -> None: ...

class Keyframe(_message.Message):
    __slots__ = ("offset_us", "state", "easing")
    OFFSET_US_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    EASING_FIELD_NUMBER: _ClassVar[int]
    offset_us: int
    state: _scene_pb2.SceneState
    easing: Easing
    def __init__(self, offset_us: _Optional[int] = ..., state: _Optional[_Union[_scene_pb2.SceneState, _Mapping]] = ..., easing: _Optional[_Union[Easing, str]] = ...) -> None: ...

class KeyframedRun(_message.Message):
    __slots__ = ("keyframes",)
    KEYFRAMES_FIELD_NUMBER: _ClassVar[int]
    keyframes: _containers.RepeatedCompositeFieldContainer[Keyframe]
    def __init__(self, keyframes: _Optional[_Iterable[_Union[Keyframe, _Mapping]]] = ...) -> None: ...

class LockstepRun(_message.Message):
    __slots__ = ("states",)
    STATES_FIELD_NUMBER: _ClassVar[int]
    states: _containers.RepeatedCompositeFieldContainer[_scene_pb2.SceneState]
    def __init__(self, states: _Optional[_Iterable[_Union[_scene_pb2.SceneState, _Mapping]]] = ...) -> None: ...

class Turn(_message.Message):
    __slots__ = ("turn_id", "keyframed", "lockstep")
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    KEYFRAMED_FIELD_NUMBER: _ClassVar[int]
    LOCKSTEP_FIELD_NUMBER: _ClassVar[int]
    turn_id: str
    keyframed: KeyframedRun
    lockstep: LockstepRun
    def __init__(self, turn_id: _Optional[str] = ..., keyframed: _Optional[_Union[KeyframedRun, _Mapping]] = ..., lockstep: _Optional[_Union[LockstepRun, _Mapping]] = ...) -> None: ...

class Cut(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Ack(_message.Message):
    __slots__ = ("next_frame",)
    NEXT_FRAME_FIELD_NUMBER: _ClassVar[int]
    next_frame: int
    def __init__(self, next_frame: _Optional[int] = ...) -> None: ...

class Close(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Rewind(_message.Message):
    __slots__ = ("frame",)
    FRAME_FIELD_NUMBER: _ClassVar[int]
    frame: int
    def __init__(self, frame: _Optional[int] = ...) -> None: ...

class PerformResponse(_message.Message):
    __slots__ = ("opened", "turn_started", "frame", "turn_completed", "notice", "rejected", "closed", "rewound")
    OPENED_FIELD_NUMBER: _ClassVar[int]
    TURN_STARTED_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    TURN_COMPLETED_FIELD_NUMBER: _ClassVar[int]
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    REWOUND_FIELD_NUMBER: _ClassVar[int]
    opened: Opened
    turn_started: TurnStarted
    frame: Frame
    turn_completed: TurnCompleted
    notice: Notice
    rejected: Rejected
    closed: Closed
    rewound: Rewound
    def __init__(self, opened: _Optional[_Union[Opened, _Mapping]] = ..., turn_started: _Optional[_Union[TurnStarted, _Mapping]] = ..., frame: _Optional[_Union[Frame, _Mapping]] = ..., turn_completed: _Optional[_Union[TurnCompleted, _Mapping]] = ..., notice: _Optional[_Union[Notice, _Mapping]] = ..., rejected: _Optional[_Union[Rejected, _Mapping]] = ..., closed: _Optional[_Union[Closed, _Mapping]] = ..., rewound: _Optional[_Union[Rewound, _Mapping]] = ...) -> None: ...

class Opened(_message.Message):
    __slots__ = ("session_id", "token", "model", "model_digest", "video", "fps", "seed", "tier", "frame_credit", "next_frame", "epoch", "pacing", "lowest_tier", "latency_us", "watch_token", "recent_turn_ids")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    VIDEO_FIELD_NUMBER: _ClassVar[int]
    FPS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    FRAME_CREDIT_FIELD_NUMBER: _ClassVar[int]
    NEXT_FRAME_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    PACING_FIELD_NUMBER: _ClassVar[int]
    LOWEST_TIER_FIELD_NUMBER: _ClassVar[int]
    LATENCY_US_FIELD_NUMBER: _ClassVar[int]
    WATCH_TOKEN_FIELD_NUMBER: _ClassVar[int]
    RECENT_TURN_IDS_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    token: str
    model: str
    model_digest: str
    video: VideoFormat
    fps: float
    seed: int
    tier: Tier
    frame_credit: int
    next_frame: int
    epoch: int
    pacing: Pacing
    lowest_tier: Tier
    latency_us: int
    watch_token: str
    recent_turn_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, session_id: _Optional[str] = ..., token: _Optional[str] = ..., model: _Optional[str] = ..., model_digest: _Optional[str] = ..., video: _Optional[_Union[VideoFormat, _Mapping]] = ..., fps: _Optional[float] = ..., seed: _Optional[int] = ..., tier: _Optional[_Union[Tier, str]] = ..., frame_credit: _Optional[int] = ..., next_frame: _Optional[int] = ..., epoch: _Optional[int] = ..., pacing: _Optional[_Union[Pacing, str]] = ..., lowest_tier: _Optional[_Union[Tier, str]] = ..., latency_us: _Optional[int] = ..., watch_token: _Optional[str] = ..., recent_turn_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class TurnStarted(_message.Message):
    __slots__ = ("turn_id", "first_frame", "frame_count")
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_FRAME_FIELD_NUMBER: _ClassVar[int]
    FRAME_COUNT_FIELD_NUMBER: _ClassVar[int]
    turn_id: str
    first_frame: int
    frame_count: int
    def __init__(self, turn_id: _Optional[str] = ..., first_frame: _Optional[int] = ..., frame_count: _Optional[int] = ...) -> None: ...

class Rewound(_message.Message):
    __slots__ = ("epoch", "next_frame")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    NEXT_FRAME_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    next_frame: int
    def __init__(self, epoch: _Optional[int] = ..., next_frame: _Optional[int] = ...) -> None: ...

class Timings(_message.Message):
    __slots__ = ("queued_us", "greybox_us", "denoise_us", "decode_us", "encode_us")
    QUEUED_US_FIELD_NUMBER: _ClassVar[int]
    GREYBOX_US_FIELD_NUMBER: _ClassVar[int]
    DENOISE_US_FIELD_NUMBER: _ClassVar[int]
    DECODE_US_FIELD_NUMBER: _ClassVar[int]
    ENCODE_US_FIELD_NUMBER: _ClassVar[int]
    queued_us: int
    greybox_us: int
    denoise_us: int
    decode_us: int
    encode_us: int
    def __init__(self, queued_us: _Optional[int] = ..., greybox_us: _Optional[int] = ..., denoise_us: _Optional[int] = ..., decode_us: _Optional[int] = ..., encode_us: _Optional[int] = ...) -> None: ...

class CacheFigures(_message.Message):
    __slots__ = ("blocks_reused", "blocks_computed")
    BLOCKS_REUSED_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_COMPUTED_FIELD_NUMBER: _ClassVar[int]
    blocks_reused: int
    blocks_computed: int
    def __init__(self, blocks_reused: _Optional[int] = ..., blocks_computed: _Optional[int] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("frame_index", "turn_id", "presentation_time_us", "codec", "data", "tier", "timings", "cache", "pixel_digest", "states_skipped")
    FRAME_INDEX_FIELD_NUMBER: _ClassVar[int]
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    PRESENTATION_TIME_US_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    CACHE_FIELD_NUMBER: _ClassVar[int]
    PIXEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    STATES_SKIPPED_FIELD_NUMBER: _ClassVar[int]
    frame_index: int
    turn_id: str
    presentation_time_us: int
    codec: Codec
    data: bytes
    tier: Tier
    timings: Timings
    cache: CacheFigures
    pixel_digest: bytes
    states_skipped: int
    def __init__(self, frame_index: _Optional[int] = ..., turn_id: _Optional[str] = ..., presentation_time_us: _Optional[int] = ..., codec: _Optional[_Union[Codec, str]] = ..., data: _Optional[bytes] = ..., tier: _Optional[_Union[Tier, str]] = ..., timings: _Optional[_Union[Timings, _Mapping]] = ..., cache: _Optional[_Union[CacheFigures, _Mapping]] = ..., pixel_digest: _Optional[bytes] = ..., states_skipped: _Optional[int] = ...) -> None: ...

class TurnCompleted(_message.Message):
    __slots__ = ("turn_id", "first_frame", "frame_count", "first_frame_us", "total_us", "blocks_reused", "blocks_computed", "states_skipped", "deadline_misses")
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_FRAME_FIELD_NUMBER: _ClassVar[int]
    FRAME_COUNT_FIELD_NUMBER: _ClassVar[int]
    FIRST_FRAME_US_FIELD_NUMBER: _ClassVar[int]
    TOTAL_US_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_REUSED_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_COMPUTED_FIELD_NUMBER: _ClassVar[int]
    STATES_SKIPPED_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MISSES_FIELD_NUMBER: _ClassVar[int]
    turn_id: str
    first_frame: int
    frame_count: int
    first_frame_us: int
    total_us: int
    blocks_reused: int
    blocks_computed: int
    states_skipped: int
    deadline_misses: int
    def __init__(self, turn_id: _Optional[str] = ..., first_frame: _Optional[int] = ..., frame_count: _Optional[int] = ..., first_frame_us: _Optional[int] = ..., total_us: _Optional[int] = ..., blocks_reused: _Optional[int] = ..., blocks_computed: _Optional[int] = ..., states_skipped: _Optional[int] = ..., deadline_misses: _Optional[int] = ...) -> None: ...

class Notice(_message.Message):
    __slots__ = ("kind", "text", "tier", "position")
    KIND_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    kind: NoticeKind
    text: str
    tier: Tier
    position: int
    def __init__(self, kind: _Optional[_Union[NoticeKind, str]] = ..., text: _Optional[str] = ..., tier: _Optional[_Union[Tier, str]] = ..., position: _Optional[int] = ...) -> None: ...

class FieldViolation(_message.Message):
    __slots__ = ("field", "description")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    field: str
    description: str
    def __init__(self, field: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...

class Rejected(_message.Message):
    __slots__ = ("turn_id", "violations", "retry_after_ms")
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    VIOLATIONS_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    turn_id: str
    violations: _containers.RepeatedCompositeFieldContainer[FieldViolation]
    retry_after_ms: int
    def __init__(self, turn_id: _Optional[str] = ..., violations: _Optional[_Iterable[_Union[FieldViolation, _Mapping]]] = ..., retry_after_ms: _Optional[int] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("frames", "turns", "compute_us", "bytes_sent", "deadline_misses", "states_skipped")
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    TURNS_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_US_FIELD_NUMBER: _ClassVar[int]
    BYTES_SENT_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MISSES_FIELD_NUMBER: _ClassVar[int]
    STATES_SKIPPED_FIELD_NUMBER: _ClassVar[int]
    frames: int
    turns: int
    compute_us: int
    bytes_sent: int
    deadline_misses: int
    states_skipped: int
    def __init__(self, frames: _Optional[int] = ..., turns: _Optional[int] = ..., compute_us: _Optional[int] = ..., bytes_sent: _Optional[int] = ..., deadline_misses: _Optional[int] = ..., states_skipped: _Optional[int] = ...) -> None: ...

class Closed(_message.Message):
    __slots__ = ("reason", "usage")
    REASON_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    reason: CloseReason
    usage: Usage
    def __init__(self, reason: _Optional[_Union[CloseReason, str]] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ...) -> None: ...

class TierFigures(_message.Message):
    __slots__ = ("tier", "denoise_steps")
    TIER_FIELD_NUMBER: _ClassVar[int]
    DENOISE_STEPS_FIELD_NUMBER: _ClassVar[int]
    tier: Tier
    denoise_steps: int
    def __init__(self, tier: _Optional[_Union[Tier, str]] = ..., denoise_steps: _Optional[int] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "version", "digest", "width", "height", "tiers", "costumes", "looks", "emotions", "license", "references")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIERS_FIELD_NUMBER: _ClassVar[int]
    COSTUMES_FIELD_NUMBER: _ClassVar[int]
    LOOKS_FIELD_NUMBER: _ClassVar[int]
    EMOTIONS_FIELD_NUMBER: _ClassVar[int]
    LICENSE_FIELD_NUMBER: _ClassVar[int]
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    digest: str
    width: int
    height: int
    tiers: _containers.RepeatedCompositeFieldContainer[TierFigures]
    costumes: _containers.RepeatedScalarFieldContainer[str]
    looks: _containers.RepeatedScalarFieldContainer[str]
    emotions: _containers.RepeatedScalarFieldContainer[str]
    license: str
    references: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., digest: _Optional[str] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., tiers: _Optional[_Iterable[_Union[TierFigures, _Mapping]]] = ..., costumes: _Optional[_Iterable[str]] = ..., looks: _Optional[_Iterable[str]] = ..., emotions: _Optional[_Iterable[str]] = ..., license: _Optional[str] = ..., references: _Optional[int] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...

class Session(_message.Message):
    __slots__ = ("session_id", "status", "model", "next_frame", "acked_frame", "turns_waiting", "created_unix_us", "usage")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    NEXT_FRAME_FIELD_NUMBER: _ClassVar[int]
    ACKED_FRAME_FIELD_NUMBER: _ClassVar[int]
    TURNS_WAITING_FIELD_NUMBER: _ClassVar[int]
    CREATED_UNIX_US_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    status: SessionStatus
    model: str
    next_frame: int
    acked_frame: int
    turns_waiting: int
    created_unix_us: int
    usage: Usage
    def __init__(self, session_id: _Optional[str] = ..., status: _Optional[_Union[SessionStatus, str]] = ..., model: _Optional[str] = ..., next_frame: _Optional[int] = ..., acked_frame: _Optional[int] = ..., turns_waiting: _Optional[int] = ..., created_unix_us: _Optional[int] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ...) -> None: ...

class GetSessionRequest(_message.Message):
    __slots__ = ("session_id", "token")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    token: str
    def __init__(self, session_id: _Optional[str] = ..., token: _Optional[str] = ...) -> None: ...

class GetSessionResponse(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: Session
    def __init__(self, session: _Optional[_Union[Session, _Mapping]] = ...) -> None: ...

class ListSessionsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListSessionsResponse(_message.Message):
    __slots__ = ("sessions", "next_page_token")
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    sessions: _containers.RepeatedCompositeFieldContainer[Session]
    next_page_token: str
    def __init__(self, sessions: _Optional[_Iterable[_Union[Session, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CloseSessionRequest(_message.Message):
    __slots__ = ("session_id", "token")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    token: str
    def __init__(self, session_id: _Optional[str] = ..., token: _Optional[str] = ...) -> None: ...

class CloseSessionResponse(_message.Message):
    __slots__ = ("usage",)
    USAGE_FIELD_NUMBER: _ClassVar[int]
    usage: Usage
    def __init__(self, usage: _Optional[_Union[Usage, _Mapping]] = ...) -> None: ...

class ForkSessionRequest(_message.Message):
    __slots__ = ("session_id", "token", "frame")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    token: str
    frame: int
    def __init__(self, session_id: _Optional[str] = ..., token: _Optional[str] = ..., frame: _Optional[int] = ...) -> None: ...

class ForkSessionResponse(_message.Message):
    __slots__ = ("session_id", "token")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    token: str
    def __init__(self, session_id: _Optional[str] = ..., token: _Optional[str] = ...) -> None: ...

class WatchSessionRequest(_message.Message):
    __slots__ = ("session_id", "watch_token")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    WATCH_TOKEN_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    watch_token: str
    def __init__(self, session_id: _Optional[str] = ..., watch_token: _Optional[str] = ...) -> None: ...

class WatchSessionResponse(_message.Message):
    __slots__ = ("watching", "frame", "closed")
    WATCHING_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    watching: Watching
    frame: Frame
    closed: Closed
    def __init__(self, watching: _Optional[_Union[Watching, _Mapping]] = ..., frame: _Optional[_Union[Frame, _Mapping]] = ..., closed: _Optional[_Union[Closed, _Mapping]] = ...) -> None: ...

class Watching(_message.Message):
    __slots__ = ("video", "fps", "next_frame")
    VIDEO_FIELD_NUMBER: _ClassVar[int]
    FPS_FIELD_NUMBER: _ClassVar[int]
    NEXT_FRAME_FIELD_NUMBER: _ClassVar[int]
    video: VideoFormat
    fps: float
    next_frame: int
    def __init__(self, video: _Optional[_Union[VideoFormat, _Mapping]] = ..., fps: _Optional[float] = ..., next_frame: _Optional[int] = ...) -> None: ...

class GetRecordingRequest(_message.Message):
    __slots__ = ("session_id", "token", "first_frame", "end_frame")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    FIRST_FRAME_FIELD_NUMBER: _ClassVar[int]
    END_FRAME_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    token: str
    first_frame: int
    end_frame: int
    def __init__(self, session_id: _Optional[str] = ..., token: _Optional[str] = ..., first_frame: _Optional[int] = ..., end_frame: _Optional[int] = ...) -> None: ...

class GetRecordingResponse(_message.Message):
    __slots__ = ("frame_index", "tier", "cut_before", "pixel_digest")
    FRAME_INDEX_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    CUT_BEFORE_FIELD_NUMBER: _ClassVar[int]
    PIXEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    frame_index: int
    tier: Tier
    cut_before: bool
    pixel_digest: bytes
    def __init__(self, frame_index: _Optional[int] = ..., tier: _Optional[_Union[Tier, str]] = ..., cut_before: _Optional[bool] = ..., pixel_digest: _Optional[bytes] = ...) -> None: ...

class ReplaySessionRequest(_message.Message):
    __slots__ = ("session_id", "token", "first_frame", "end_frame", "tier", "camera", "cast")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    FIRST_FRAME_FIELD_NUMBER: _ClassVar[int]
    END_FRAME_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    CAST_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    token: str
    first_frame: int
    end_frame: int
    tier: Tier
    camera: _scene_pb2.Camera
    cast: _containers.RepeatedCompositeFieldContainer[_scene_pb2.CastMember]
    def __init__(self, session_id: _Optional[str] = ..., token: _Optional[str] = ..., first_frame: _Optional[int] = ..., end_frame: _Optional[int] = ..., tier: _Optional[_Union[Tier, str]] = ..., camera: _Optional[_Union[_scene_pb2.Camera, _Mapping]] = ..., cast: _Optional[_Iterable[_Union[_scene_pb2.CastMember, _Mapping]]] = ...) -> None: ...

class ReplaySessionResponse(_message.Message):
    __slots__ = ("session_id", "token", "first_frame", "frame_count", "differences")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    FIRST_FRAME_FIELD_NUMBER: _ClassVar[int]
    FRAME_COUNT_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    token: str
    first_frame: int
    frame_count: int
    differences: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, session_id: _Optional[str] = ..., token: _Optional[str] = ..., first_frame: _Optional[int] = ..., frame_count: _Optional[int] = ..., differences: _Optional[_Iterable[str]] = ...) -> None: ...

class ExportSessionRequest(_message.Message):
    __slots__ = ("session_id", "token")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    token: str
    def __init__(self, session_id: _Optional[str] = ..., token: _Optional[str] = ...) -> None: ...

class ExportSessionResponse(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class ImportSessionRequest(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class ImportSessionResponse(_message.Message):
    __slots__ = ("session_id", "token", "next_frame", "differences")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    NEXT_FRAME_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    token: str
    next_frame: int
    differences: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, session_id: _Optional[str] = ..., token: _Optional[str] = ..., next_frame: _Optional[int] = ..., differences: _Optional[_Iterable[str]] = ...) -> None: ...

class GetServerStatsRequest(_message.Message):
    __slots__ = ("max_sessions",)
    MAX_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    max_sessions: int
    def __init__(self, max_sessions: _Optional[int] = ...) -> None: ...

class GetServerStatsResponse(_message.Message):
    __slots__ = ("stats",)
    STATS_FIELD_NUMBER: _ClassVar[int]
    stats: ServerStats
    def __init__(self, stats: _Optional[_Union[ServerStats, _Mapping]] = ...) -> None: ...

class LatencyFigures(_message.Message):
    __slots__ = ("p50_us", "p99_us")
    P50_US_FIELD_NUMBER: _ClassVar[int]
    P99_US_FIELD_NUMBER: _ClassVar[int]
    p50_us: int
    p99_us: int
    def __init__(self, p50_us: _Optional[int] = ..., p99_us: _Optional[int] = ...) -> None: ...

class StageFigures(_message.Message):
    __slots__ = ("stage", "latency")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    LATENCY_FIELD_NUMBER: _ClassVar[int]
    stage: str
    latency: LatencyFigures
    def __init__(self, stage: _Optional[str] = ..., latency: _Optional[_Union[LatencyFigures, _Mapping]] = ...) -> None: ...

class TierFrames(_message.Message):
    __slots__ = ("tier", "frames")
    TIER_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    tier: Tier
    frames: int
    def __init__(self, tier: _Optional[_Union[Tier, str]] = ..., frames: _Optional[int] = ...) -> None: ...

class ServerStats(_message.Message):
    __slots__ = ("uptime_us", "model", "serving", "frames", "late_frames", "turns", "refusals", "sent_bytes", "inference_restarts", "frames_per_second", "frame_latency", "stages", "tiers", "loop_lag", "frames_in_flight", "waiting_sessions", "attached_sessions", "sessions_in_memory", "disk_bytes", "max_disk_bytes", "cache_held_bytes", "cache_hits", "cache_computed", "sessions")
    UPTIME_US_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SERVING_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    LATE_FRAMES_FIELD_NUMBER: _ClassVar[int]
    TURNS_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    SENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    INFERENCE_RESTARTS_FIELD_NUMBER: _ClassVar[int]
    FRAMES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    FRAME_LATENCY_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    TIERS_FIELD_NUMBER: _ClassVar[int]
    LOOP_LAG_FIELD_NUMBER: _ClassVar[int]
    FRAMES_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    WAITING_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    ATTACHED_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_IN_MEMORY_FIELD_NUMBER: _ClassVar[int]
    DISK_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_DISK_BYTES_FIELD_NUMBER: _ClassVar[int]
    CACHE_HELD_BYTES_FIELD_NUMBER: _ClassVar[int]
    CACHE_HITS_FIELD_NUMBER: _ClassVar[int]
    CACHE_COMPUTED_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    uptime_us: int
    model: str
    serving: bool
    frames: int
    late_frames: int
    turns: int
    refusals: int
    sent_bytes: int
    inference_restarts: int
    frames_per_second: float
    frame_latency: LatencyFigures
    stages: _containers.RepeatedCompositeFieldContainer[StageFigures]
    tiers: _containers.RepeatedCompositeFieldContainer[TierFrames]
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
    sessions: _containers.RepeatedCompositeFieldContainer[SessionStats]
    def __init__(self, uptime_us: _Optional[int] = ..., model: _Optional[str] = ..., serving: _Optional[bool] = ..., frames: _Optional[int] = ..., late_frames: _Optional[int] = ..., turns: _Optional[int] = ..., refusals: _Optional[int] = ..., sent_bytes: _Optional[int] = ..., inference_restarts: _Optional[int] = ..., frames_per_second: _Optional[float] = ..., frame_latency: _Optional[_Union[LatencyFigures, _Mapping]] = ..., stages: _Optional[_Iterable[_Union[StageFigures, _Mapping]]] = ..., tiers: _Optional[_Iterable[_Union[TierFrames, _Mapping]]] = ..., loop_lag: _Optional[_Union[LatencyFigures, _Mapping]] = ..., frames_in_flight: _Optional[int] = ..., waiting_sessions: _Optional[int] = ..., attached_sessions: _Optional[int] = ..., sessions_in_memory: _Optional[int] = ..., disk_bytes: _Optional[int] = ..., max_disk_bytes: _Optional[int] = ..., cache_held_bytes: _Optional[int] = ..., cache_hits: _Optional[int] = ..., cache_computed: _Optional[int] = ..., sessions: _Optional[_Iterable[_Union[SessionStats, _Mapping]]] = ...) -> None: ...

class SessionStats(_message.Message):
    __slots__ = ("session_id", "status", "fps", "frames_per_second", "tier", "frame_latency", "late_frames", "next_frame", "unacked_frames", "frame_credit", "turns_waiting", "background", "throttled", "sent_bytes")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    FPS_FIELD_NUMBER: _ClassVar[int]
    FRAMES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    FRAME_LATENCY_FIELD_NUMBER: _ClassVar[int]
    LATE_FRAMES_FIELD_NUMBER: _ClassVar[int]
    NEXT_FRAME_FIELD_NUMBER: _ClassVar[int]
    UNACKED_FRAMES_FIELD_NUMBER: _ClassVar[int]
    FRAME_CREDIT_FIELD_NUMBER: _ClassVar[int]
    TURNS_WAITING_FIELD_NUMBER: _ClassVar[int]
    BACKGROUND_FIELD_NUMBER: _ClassVar[int]
    THROTTLED_FIELD_NUMBER: _ClassVar[int]
    SENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    status: SessionStatus
    fps: float
    frames_per_second: float
    tier: Tier
    frame_latency: LatencyFigures
    late_frames: int
    next_frame: int
    unacked_frames: int
    frame_credit: int
    turns_waiting: int
    background: bool
    throttled: bool
    sent_bytes: int
    def __init__(self, session_id: _Optional[str] = ..., status: _Optional[_Union[SessionStatus, str]] = ..., fps: _Optional[float] = ..., frames_per_second: _Optional[float] = ..., tier: _Optional[_Union[Tier, str]] = ..., frame_latency: _Optional[_Union[LatencyFigures, _Mapping]] = ..., late_frames: _Optional[int] = ..., next_frame: _Optional[int] = ..., unacked_frames: _Optional[int] = ..., frame_credit: _Optional[int] = ..., turns_waiting: _Optional[int] = ..., background: _Optional[bool] = ..., throttled: _Optional[bool] = ..., sent_bytes: _Optional[int] = ...) -> None: ...
