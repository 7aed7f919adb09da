"""The way in: a connection to one server, which opens and resumes sessions and lists what there is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, cast

import grpc

from cutscene_client.errors import CutsceneError, ServerUnreachable, refusal, status_of
from cutscene_client.frames import CODECS, DIGESTS, PACINGS, TIER_NAMES, TIERS, Frame, Usage, read_frame, read_usage
from cutscene_client.moving import ImportedSession, Source, send
from cutscene_client.references import ReferenceSource, read_references
from cutscene_client.rendering import Render, RenderItem, RenderProgress, list_renders, submit
from cutscene_client.session import LOST_STATUS, PATIENCE_S, Call, ProtocolViolation, Session
from cutscene_client.stats import ServerStats, read_stats
from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1 import scene_pb2 as spb
from cutscene_proto.v1.cutscene_pb2_grpc import CutsceneServiceStub
from cutscene_proto.v1.render_pb2_grpc import RenderServiceStub

DEFAULT_ADDRESS = "127.0.0.1:50400"
CONNECT_TIMEOUT_S = 5.0
REFUSED, REFUSED_FOR_S = "connection refused", 0.8
POLL_S = 0.02
TENANT_KEY = "cutscene-tenant"  # of a call's metadata
# A raw 1080p frame is 6.2 MB; grpc's own limit of 4 MiB would refuse it.
MOST_RECEIVED_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model that a server can play, with its vocabulary."""

    name: str
    version: str
    digest: str
    width: int
    height: int
    tiers: dict[str, int]  # tier name -> denoising steps
    costumes: tuple[str, ...]
    looks: tuple[str, ...]
    emotions: tuple[str, ...]
    license: str
    references: int = 0  # reference pictures that a session may have; 0: none


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One session of a server, as a list shows it."""

    id: str
    status: str  # "idle", "performing", "detached" or "closed"
    model: str
    next_frame: int  # the next frame to draw
    acked_frame: int  # every frame below it is acknowledged
    turns_waiting: int
    created_unix_us: int
    usage: Usage


@dataclass(frozen=True, slots=True)
class ReplayWish:
    """Which stretch of a recording is to be performed again, and what is to be different."""

    first_frame: int = 0
    end_frame: int = 0  # exclusive; 0: to the end
    tier: str = ""  # empty: as it was
    camera: spb.Camera | None = None  # None: as it was
    cast: tuple[spb.CastMember, ...] = ()  # in place of the members with these ids


@dataclass(frozen=True, slots=True)
class ReplayInfo:
    """A session that performs a recording again."""

    session_id: str
    token: str = field(repr=False)
    first_frame: int  # where to resume it
    frame_count: int
    differences: tuple[str, ...]  # why its pixels need not be those of the recording; empty: the same bit by bit


def connect(address: str = DEFAULT_ADDRESS, *, timeout: float = CONNECT_TIMEOUT_S, tenant: str = "") -> Client:
    """A client for the server at ``address`` (host:port): ``async with connect(address) as client``.

    ``tenant``: in whose name sessions are opened and resumed, and whatever comes as a stream is sent: 1 to 64
    characters of [A-Za-z0-9_-]; empty: "default".
    """
    return Client(address, timeout=timeout, tenant=tenant)


class Client:
    """A connection to one server. Raises ``ServerUnreachable`` on entry if nobody answers within ``timeout``."""

    def __init__(self, address: str, *, timeout: float = CONNECT_TIMEOUT_S, tenant: str = "") -> None:
        self.address = address
        self._metadata = ((TENANT_KEY, tenant),) if tenant else ()
        self._timeout = timeout
        self._channel: grpc.aio.Channel | None = None

    async def __aenter__(self) -> Self:
        options = [
            ("grpc.max_receive_message_length", MOST_RECEIVED_BYTES),
            ("grpc.keepalive_time_ms", 30_000),  # a dead path shows in seconds, not at the next write
            ("grpc.keepalive_timeout_ms", 10_000),
        ]
        self._channel = grpc.aio.insecure_channel(self.address, options=options)
        try:
            await asyncio.wait_for(self._ready(self._channel), self._timeout)
        except TimeoutError as error:
            await self._channel.close()
            self._channel = None
            raise ServerUnreachable(self.address, f"no answer within {self._timeout:g} s") from error
        except ServerUnreachable:
            await self._channel.close()
            self._channel = None
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    async def _ready(self, channel: grpc.aio.Channel) -> None:
        """Waits for the connection. A refused one is tried again for a moment: the server may be starting."""
        begun = time.monotonic()
        while (state := channel.get_state(try_to_connect=True)) is not grpc.ChannelConnectivity.READY:
            failed = state is grpc.ChannelConnectivity.TRANSIENT_FAILURE
            if failed and time.monotonic() - begun > REFUSED_FOR_S:
                why = await _why_unreachable(channel)
                raise ServerUnreachable(self.address, why, refused=why == REFUSED)
            await asyncio.sleep(POLL_S)  # wait_for_state_change does not come back from a refused connection

    # ---- sessions ---------------------------------------------------------------------------------------------------

    async def open(
        self,
        *,
        cast: Iterable[spb.CastMember],
        set: spb.Set | Iterable[spb.SetElement],
        model: str = "",
        seed: int = 0,
        tier: str = "",
        fps: float = 24.0,
        size: tuple[int, int] | None = None,
        codec: str = "jpeg",
        jpeg_quality: int = 0,
        pixel_digest: str = "blake2b",
        frame_credit: int = 0,
        frame_budget: int = 0,
        pacing: str = "",
        lowest_tier: str = "",
        references: Iterable[ReferenceSource] = (),
        wait: bool = False,
        on_position: Callable[[int], None] = lambda position: None,
        patience: float = PATIENCE_S,
    ) -> Session:
        """Begins a session. A broken stream is resumed by itself for up to ``patience`` seconds.

        ``pacing`` "lockstep" or "live" has frames keep the cadence ``fps``, at tiers from ``tier`` down to
        ``lowest_tier``; docs/scheduling.md says how. If there is no room the session is refused
        (``ResourceExhausted``); with ``wait`` this waits in line instead, and
        ``on_position`` is told each position, from 1.
        ``pixel_digest`` "blake3" proves frames as well as "blake2b" at a seventh of the server's time for it.
        ``references`` are up to four pictures of what cast, set or the whole are to look like: paths of JPEG or PNG
        files, their bytes, or pixels (H, W, 3) uint8. ``ModelInfo.references`` says how many the model takes, if any.
        Empty and zero values mean the server's own choice; see ``cutscene.proto``, ``Open``."""
        width, height = size or (0, 0)
        if codec not in CODECS:
            raise ValueError(f"codec is {codec!r}, allowed are {', '.join(CODECS)}")
        if pixel_digest not in DIGESTS:
            raise ValueError(f"pixel_digest is {pixel_digest!r}, allowed are {', '.join(DIGESTS)}")
        if tier and tier not in TIERS:
            raise ValueError(f"tier is {tier!r}, allowed are {', '.join(TIERS)}")
        if pacing not in PACINGS:
            raise ValueError(f"pacing is {pacing!r}, allowed are {', '.join(filter(None, PACINGS))}, or nothing")
        if lowest_tier and lowest_tier not in TIERS:
            raise ValueError(f"lowest_tier is {lowest_tier!r}, allowed are {', '.join(TIERS)}")
        request = pb.Open(
            model=model,
            video=pb.VideoFormat(
                width=width,
                height=height,
                codec=CODECS[codec],
                jpeg_quality=jpeg_quality,
                pixel_digest=DIGESTS[pixel_digest],
            ),
            fps=fps,
            cast=cast,
            set=set if isinstance(set, spb.Set) else spb.Set(elements=set),
            seed=seed,
            tier=TIERS[tier] if tier else pb.TIER_UNSPECIFIED,
            frame_credit=frame_credit,
            frame_budget=frame_budget,
            pacing=PACINGS[pacing],
            lowest_tier=TIERS[lowest_tier] if lowest_tier else pb.TIER_UNSPECIFIED,
            references=await asyncio.to_thread(read_references, references),
            wait=wait,
        )
        return await self.open_request(request, patience=patience, on_position=on_position)

    async def open_request(
        self,
        request: pb.Open,
        *,
        patience: float = PATIENCE_S,
        on_position: Callable[[int], None] = lambda position: None,
    ) -> Session:
        """Begins a session from a ready-made ``Open`` message."""
        call, opened = await self._begin(pb.PerformRequest(open=request), on_position)
        return Session(call, opened, opened.token, self._look_up, self._reconnect, patience)

    async def resume(self, session_id: str, token: str, next_frame: int, *, patience: float = PATIENCE_S) -> Session:
        """Continues a session whose stream is gone; ``next_frame`` is the first frame not yet received.

        What the server had still to draw comes from ``Session.remaining``; new turns may follow it.
        """
        resume = pb.Resume(session_id=session_id, token=token, next_frame=next_frame)
        call, opened = await self._reconnect(resume)
        return Session(call, opened, token, self._look_up, self._reconnect, patience)

    async def fork(self, session_id: str, token: str, frame: int) -> tuple[str, str]:
        """The id and token of a new session that shares the past below ``frame``; ``resume`` it at that frame."""
        request = pb.ForkSessionRequest(session_id=session_id, token=token, frame=frame)
        try:
            answer = cast(pb.ForkSessionResponse, await self._stub.ForkSession(request))
        except grpc.aio.AioRpcError as error:
            raise self._typed(error) from error
        return answer.session_id, answer.token

    async def watch(self, session_id: str, watch_token: str) -> AsyncIterator[Frame]:
        """The frames of a live session from its latest one on, without a hand in it, until it closes.

        Frames that this loop is too slow for are left out. ``Session.watch_token`` is the one to pass on.
        """
        request = pb.WatchSessionRequest(session_id=session_id, watch_token=watch_token)
        video = pb.VideoFormat()
        call = self._stub.WatchSession(request, metadata=self._metadata)
        try:
            async for response in call:
                if response.HasField("watching"):
                    video = response.watching.video
                elif response.HasField("frame"):
                    yield read_frame(response.frame, video)
        except grpc.aio.AioRpcError as error:
            raise self._typed(error) from error
        finally:
            call.cancel()

    async def recording(
        self, session_id: str, token: str, first_frame: int = 0, end_frame: int = 0
    ) -> AsyncIterator[pb.GetRecordingResponse]:
        """What is stored of frames ``first_frame`` to ``end_frame`` (exclusive; 0: to the end): tier, cuts, digests."""
        request = pb.GetRecordingRequest(
            session_id=session_id, token=token, first_frame=first_frame, end_frame=end_frame
        )
        try:
            async for frame in self._stub.GetRecording(request, metadata=self._metadata):
                yield frame
        except grpc.aio.AioRpcError as error:
            raise self._typed(error) from error

    async def replay(self, session_id: str, token: str, wish: ReplayWish) -> ReplayInfo:
        """Begins a session that performs a recording again; ``resume`` it at its first frame, and ``close`` it."""
        request = pb.ReplaySessionRequest(
            session_id=session_id, token=token, first_frame=wish.first_frame, end_frame=wish.end_frame,
            tier=TIERS[wish.tier] if wish.tier else pb.TIER_UNSPECIFIED, camera=wish.camera, cast=wish.cast,
        )  # fmt: skip
        try:
            answer = cast(pb.ReplaySessionResponse, await self._stub.ReplaySession(request))
        except grpc.aio.AioRpcError as error:
            raise self._typed(error) from error
        return ReplayInfo(
            answer.session_id, answer.token, answer.first_frame, answer.frame_count, tuple(answer.differences)
        )

    async def export_session(self, session_id: str, token: str) -> AsyncIterator[bytes]:
        """A session's file, piece by piece: what ``import_session`` of another server's client takes."""
        request = pb.ExportSessionRequest(session_id=session_id, token=token)
        call = self._stub.ExportSession(request, metadata=self._metadata)
        try:
            async for response in call:
                yield response.data
        except grpc.aio.AioRpcError as error:
            raise self._typed(error) from error
        finally:
            call.cancel()

    async def import_session(self, source: Source) -> ImportedSession:
        """Brings a session from a file: a path, or its bytes in pieces. It has a new id and token; ``resume`` it."""
        try:
            answer = await send(self._stub.ImportSession(), source)
        except grpc.aio.AioRpcError as error:
            raise self._typed(error) from error
        return ImportedSession(answer.session_id, answer.token, answer.next_frame, tuple(answer.differences))

    async def _reconnect(self, resume: pb.Resume) -> tuple[Call, pb.Opened]:
        return await self._begin(pb.PerformRequest(resume=resume))

    async def _begin(
        self, first: pb.PerformRequest, on_position: Callable[[int], None] = lambda position: None
    ) -> tuple[Call, pb.Opened]:
        call = cast(Call, self._stub.Perform(metadata=self._metadata))
        try:
            await call.write(first)
            while isinstance(response := await call.read(), pb.PerformResponse) and response.HasField("notice"):
                if response.notice.kind == pb.NOTICE_KIND_QUEUED:
                    on_position(response.notice.position)
        except asyncio.InvalidStateError as error:  # refused before the write was through; the status says why
            raise self._typed(await status_of(call)) from error
        except grpc.aio.AioRpcError as error:
            # A write to a call that the server has ended does not say how it ended.
            true = await status_of(call) if error.details() == LOST_STATUS else error
            raise self._typed(true) from error
        except BaseException:
            call.cancel()  # whoever waited in line for room has left it
            raise
        if response is grpc.aio.EOF:
            raise self._typed(await status_of(call))
        if not isinstance(response, pb.PerformResponse) or response.WhichOneof("response") != "opened":
            call.cancel()
            raise ProtocolViolation("the server's first answer was not `opened`")
        return call, response.opened

    async def close_session(self, session_id: str, token: str) -> Usage:
        """Ends a session whether or not a client is attached to it."""
        request = pb.CloseSessionRequest(session_id=session_id, token=token)
        try:
            answer = cast(pb.CloseSessionResponse, await self._stub.CloseSession(request))
        except grpc.aio.AioRpcError as error:
            raise self._typed(error) from error
        return read_usage(answer.usage)

    async def session(self, session_id: str, token: str) -> SessionInfo:
        """One session's figures."""
        return _read_session(await self._look_up(session_id, token))

    async def _look_up(self, session_id: str, token: str) -> pb.Session:
        request = pb.GetSessionRequest(session_id=session_id, token=token)
        try:
            return cast(pb.GetSessionResponse, await self._stub.GetSession(request)).session
        except grpc.aio.AioRpcError as error:
            raise self._typed(error) from error

    # ---- render jobs ------------------------------------------------------------------------------------------------

    async def render(self, items: Iterable[RenderItem]) -> Render:
        """Hands in a job: each item becomes a film, drawn while no live session wants a frame. It goes on without this
        client; keep ``Render.id`` and ``Render.token`` to come back to it with ``render_job``.
        """
        return await submit(self._render_stub, items, self.address, self._metadata)

    def render_job(self, job_id: str, token: str) -> Render:
        """A job that was handed in before. Nothing is asked of the server yet."""
        return Render(job_id, token, self._render_stub, self.address, self._metadata)

    async def renders(self) -> list[RenderProgress]:
        """Every job of this server, oldest first, without items."""
        return await list_renders(self._render_stub, self.address)

    # ---- lists ------------------------------------------------------------------------------------------------------

    async def models(self) -> list[ModelInfo]:
        """The models this server can play."""
        try:
            answer = cast(pb.ListModelsResponse, await self._stub.ListModels(pb.ListModelsRequest()))
        except grpc.aio.AioRpcError as error:
            raise self._typed(error) from error
        return [_read_model(model) for model in answer.models]

    async def sessions(self) -> list[SessionInfo]:
        """Every session of this server, oldest first."""
        return [info async for page in self._session_pages() for info in page]

    async def stats(self, max_sessions: int = 0) -> ServerStats:
        """What the server does now and did in the last seconds, with its ``max_sessions`` (0: 64) busiest sessions.

        Raises ``Unauthenticated`` unless the server is on this machine.
        """
        request = pb.GetServerStatsRequest(max_sessions=max_sessions)
        try:
            return read_stats(cast(pb.GetServerStatsResponse, await self._stub.GetServerStats(request)).stats)
        except grpc.aio.AioRpcError as error:
            raise self._typed(error) from error

    async def _session_pages(self) -> AsyncIterator[Sequence[SessionInfo]]:
        page_token = ""
        while True:
            request = pb.ListSessionsRequest(page_token=page_token)
            try:
                answer = cast(pb.ListSessionsResponse, await self._stub.ListSessions(request))
            except grpc.aio.AioRpcError as error:
                raise self._typed(error) from error
            yield [_read_session(session) for session in answer.sessions]
            page_token = answer.next_page_token
            if not page_token:
                return

    # ---- the channel ------------------------------------------------------------------------------------------------

    @property
    def _stub(self) -> CutsceneServiceStub:
        if self._channel is None:
            raise RuntimeError("the client is not connected: use `async with connect(address) as client`")
        return CutsceneServiceStub(self._channel)  # type: ignore[no-untyped-call]  # generated without types

    @property
    def _render_stub(self) -> RenderServiceStub:
        if self._channel is None:
            raise RuntimeError("the client is not connected: use `async with connect(address) as client`")
        return RenderServiceStub(self._channel)  # type: ignore[no-untyped-call]  # generated without types

    def _typed(self, error: grpc.aio.AioRpcError) -> CutsceneError:
        # A call that a server's end overtakes is cancelled by it: the caller's own end raises CancelledError instead.
        ended = error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
        if ended or error.details() == LOST_STATUS:
            return ServerUnreachable(self.address, error.details() or "")
        return refusal(error)


async def _why_unreachable(channel: grpc.aio.Channel) -> str:
    """Why a channel has no connection, in a word or two: only a call's end tells, not the channel's state."""
    try:
        await channel.unary_unary("/grpc.health.v1.Health/Check", bytes, bytes)(b"", timeout=1.0)
    except grpc.aio.AioRpcError as error:
        details = (error.details() or "").lower()
        if REFUSED in details:
            return REFUSED
        if "errors resolving" in details or "dns resolution" in details:
            return "there is no machine of that name"
        if "http/2" in details:
            return "what listens there does not speak gRPC"
    return "no connection"


def _read_model(model: pb.Model) -> ModelInfo:
    return ModelInfo(
        name=model.name,
        version=model.version,
        digest=model.digest,
        width=model.width,
        height=model.height,
        tiers={TIER_NAMES[tier.tier]: tier.denoise_steps for tier in model.tiers if tier.tier in TIER_NAMES},
        costumes=tuple(model.costumes),
        looks=tuple(model.looks),
        emotions=tuple(model.emotions),
        license=model.license,
        references=model.references,
    )


def _read_session(session: pb.Session) -> SessionInfo:
    return SessionInfo(
        id=session.session_id,
        status=pb.SessionStatus.Name(session.status).removeprefix("SESSION_STATUS_").lower(),
        model=session.model,
        next_frame=session.next_frame,
        acked_frame=session.acked_frame,
        turns_waiting=session.turns_waiting,
        created_unix_us=session.created_unix_us,
        usage=read_usage(session.usage),
    )
