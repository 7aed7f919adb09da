from cutscene_proto.v1 import cutscene_pb2 as _cutscene_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RenderState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RENDER_STATE_UNSPECIFIED: _ClassVar[RenderState]
    RENDER_STATE_QUEUED: _ClassVar[RenderState]
    RENDER_STATE_DRAWING: _ClassVar[RenderState]
    RENDER_STATE_DONE: _ClassVar[RenderState]
    RENDER_STATE_FAILED: _ClassVar[RenderState]
    RENDER_STATE_CANCELLED: _ClassVar[RenderState]
RENDER_STATE_UNSPECIFIED: RenderState
RENDER_STATE_QUEUED: RenderState
RENDER_STATE_DRAWING: RenderState
RENDER_STATE_DONE: RenderState
RENDER_STATE_FAILED: RenderState
RENDER_STATE_CANCELLED: RenderState

class SubmitRenderRequest(_message.Message):
    __slots__ = ("item", "turn", "cut")
    ITEM_FIELD_NUMBER: _ClassVar[int]
    TURN_FIELD_NUMBER: _ClassVar[int]
    CUT_FIELD_NUMBER: _ClassVar[int]
    item: RenderItem
    turn: _cutscene_pb2.Turn
    cut: _cutscene_pb2.Cut
    def __init__(self, item: _Optional[_Union[RenderItem, _Mapping]] = ..., turn: _Optional[_Union[_cutscene_pb2.Turn, _Mapping]] = ..., cut: _Optional[_Union[_cutscene_pb2.Cut, _Mapping]] = ...) -> None: ...

class RenderItem(_message.Message):
    __slots__ = ("name", "open", "rate_factor")
    NAME_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    RATE_FACTOR_FIELD_NUMBER: _ClassVar[int]
    name: str
    open: _cutscene_pb2.Open
    rate_factor: int
    def __init__(self, name: _Optional[str] = ..., open: _Optional[_Union[_cutscene_pb2.Open, _Mapping]] = ..., rate_factor: _Optional[int] = ...) -> None: ...

class SubmitRenderResponse(_message.Message):
    __slots__ = ("job_id", "token", "item_count", "frame_count", "jobs_ahead")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    ITEM_COUNT_FIELD_NUMBER: _ClassVar[int]
    FRAME_COUNT_FIELD_NUMBER: _ClassVar[int]
    JOBS_AHEAD_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    token: str
    item_count: int
    frame_count: int
    jobs_ahead: int
    def __init__(self, job_id: _Optional[str] = ..., token: _Optional[str] = ..., item_count: _Optional[int] = ..., frame_count: _Optional[int] = ..., jobs_ahead: _Optional[int] = ...) -> None: ...

class RenderedItem(_message.Message):
    __slots__ = ("name", "state", "frame_count", "frames_done", "failure", "film", "film_bytes", "film_digest", "pixel_digest")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    FRAME_COUNT_FIELD_NUMBER: _ClassVar[int]
    FRAMES_DONE_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    FILM_FIELD_NUMBER: _ClassVar[int]
    FILM_BYTES_FIELD_NUMBER: _ClassVar[int]
    FILM_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PIXEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: RenderState
    frame_count: int
    frames_done: int
    failure: str
    film: str
    film_bytes: int
    film_digest: bytes
    pixel_digest: bytes
    def __init__(self, name: _Optional[str] = ..., state: _Optional[_Union[RenderState, str]] = ..., frame_count: _Optional[int] = ..., frames_done: _Optional[int] = ..., failure: _Optional[str] = ..., film: _Optional[str] = ..., film_bytes: _Optional[int] = ..., film_digest: _Optional[bytes] = ..., pixel_digest: _Optional[bytes] = ...) -> None: ...

class RenderJob(_message.Message):
    __slots__ = ("job_id", "state", "created_unix_us", "frame_count", "frames_done", "jobs_ahead", "remaining_s", "item_count", "items_done", "items_failed", "items")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CREATED_UNIX_US_FIELD_NUMBER: _ClassVar[int]
    FRAME_COUNT_FIELD_NUMBER: _ClassVar[int]
    FRAMES_DONE_FIELD_NUMBER: _ClassVar[int]
    JOBS_AHEAD_FIELD_NUMBER: _ClassVar[int]
    REMAINING_S_FIELD_NUMBER: _ClassVar[int]
    ITEM_COUNT_FIELD_NUMBER: _ClassVar[int]
    ITEMS_DONE_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FAILED_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    state: RenderState
    created_unix_us: int
    frame_count: int
    frames_done: int
    jobs_ahead: int
    remaining_s: int
    item_count: int
    items_done: int
    items_failed: int
    items: _containers.RepeatedCompositeFieldContainer[RenderedItem]
    def __init__(self, job_id: _Optional[str] = ..., state: _Optional[_Union[RenderState, str]] = ..., created_unix_us: _Optional[int] = ..., frame_count: _Optional[int] = ..., frames_done: _Optional[int] = ..., jobs_ahead: _Optional[int] = ..., remaining_s: _Optional[int] = ..., item_count: _Optional[int] = ..., items_done: _Optional[int] = ..., items_failed: _Optional[int] = ..., items: _Optional[_Iterable[_Union[RenderedItem, _Mapping]]] = ...) -> None: ...

class GetRenderRequest(_message.Message):
    __slots__ = ("job_id", "token")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    token: str
    def __init__(self, job_id: _Optional[str] = ..., token: _Optional[str] = ...) -> None: ...

class GetRenderResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: RenderJob
    def __init__(self, job: _Optional[_Union[RenderJob, _Mapping]] = ...) -> None: ...

class WatchRenderRequest(_message.Message):
    __slots__ = ("job_id", "token")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    token: str
    def __init__(self, job_id: _Optional[str] = ..., token: _Optional[str] = ...) -> None: ...

class WatchRenderResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: RenderJob
    def __init__(self, job: _Optional[_Union[RenderJob, _Mapping]] = ...) -> None: ...

class CancelRenderRequest(_message.Message):
    __slots__ = ("job_id", "token")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    token: str
    def __init__(self, job_id: _Optional[str] = ..., token: _Optional[str] = ...) -> None: ...

class CancelRenderResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: RenderJob
    def __init__(self, job: _Optional[_Union[RenderJob, _Mapping]] = ...) -> None: ...

class ListRendersRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListRendersResponse(_message.Message):
    __slots__ = ("jobs", "next_page_token")
    JOBS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[RenderJob]
    next_page_token: str
    def __init__(self, jobs: _Optional[_Iterable[_Union[RenderJob, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class FetchFilmRequest(_message.Message):
    __slots__ = ("job_id", "token", "item")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    token: str
    item: int
    def __init__(self, job_id: _Optional[str] = ..., token: _Optional[str] = ..., item: _Optional[int] = ...) -> None: ...

class FetchFilmResponse(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...
