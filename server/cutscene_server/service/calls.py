"""The contract's calls: one live call and the small ones beside it, and errors as rich statuses."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import urllib.parse
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1.cutscene_pb2_grpc import CutsceneServiceServicer
from cutscene_server import clock
from cutscene_server.config import is_loopback
from cutscene_server.errors import LocalOnly, OutOfRange, ServerError
from cutscene_server.runtime import Runtime
from cutscene_server.service import files
from cutscene_server.service.sending import Sending
from cutscene_server.service.stream import ClientStream
from cutscene_server.wire import replies, requests, stats

log = logging.getLogger("cutscene_server")

FRAMES_READ_AT_ONCE = 64  # of a recording, so that live frames do not wait for the store for long
MOST_TEXT = 400  # characters of one text in a status
MOST_VIOLATION_BYTES = 3072  # of all violations in a status: in base64, and with its message told twice, it fits
SERVICE_NAME = "cutscene_proto.v1.CutsceneService"


class CutsceneService(CutsceneServiceServicer):
    """Adapts gRPC calls to the runtime."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._streams: set[asyncio.Task[Any]] = set()

    async def Perform(  # noqa: N802
        self, _stream: object, context: grpc.aio.ServicerContext[pb.PerformRequest, pb.PerformResponse]
    ) -> None:
        async with self._typed_errors(context):
            task = asyncio.current_task()
            if task is not None:
                self._streams.add(task)
                task.add_done_callback(self._streams.discard)
            try:
                await ClientStream(self._runtime, context).run()
            except grpc.aio.InternalError as error:  # what a write to a client that has gone raises
                log.debug("a client went away: %s", error)

    async def ListModels(  # noqa: N802
        self, _request: pb.ListModelsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListModelsResponse:
        async with self._typed_errors(context):
            return pb.ListModelsResponse(models=[replies.model(self._runtime.require_serving())])
        raise AssertionError  # _typed_errors answers or raises

    async def GetSession(  # noqa: N802
        self, request: pb.GetSessionRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetSessionResponse:
        async with self._typed_errors(context):
            record = await self._runtime.find(request.session_id, request.token)
            return pb.GetSessionResponse(session=replies.session(record))
        raise AssertionError

    async def ListSessions(  # noqa: N802
        self, request: pb.ListSessionsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListSessionsResponse:
        async with self._typed_errors(context):
            after_key, size = requests.read_page(request)
            page, more = await self._runtime.page(after_key, size)
            return pb.ListSessionsResponse(
                sessions=[
                    replies.session(record)
                    if (record := self._runtime.sessions.get(summary.opened.session_id))
                    else replies.stored_session(summary, next_frame)
                    for summary, next_frame in page
                ],
                next_page_token=str(page[-1][0].number) if more else "",
            )
        raise AssertionError

    async def CloseSession(  # noqa: N802
        self, request: pb.CloseSessionRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.CloseSessionResponse:
        async with self._typed_errors(context):
            record = await self._runtime.find(request.session_id, request.token)
            self._runtime.end(record)
            return pb.CloseSessionResponse(usage=replies.usage(record.session.usage))
        raise AssertionError

    async def ForkSession(  # noqa: N802
        self, request: pb.ForkSessionRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ForkSessionResponse:
        async with self._typed_errors(context):
            record = await self._runtime.find(request.session_id, request.token)
            session_id, token = await self._runtime.fork(record, request.frame)
            return pb.ForkSessionResponse(session_id=session_id, token=token)
        raise AssertionError

    async def WatchSession(  # noqa: N802
        self, request: pb.WatchSessionRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        async with self._typed_errors(context):
            say = Sending(self._runtime, context).send
            record = await self._runtime.find_to_watch(request.session_id, request.watch_token)
            # The watcher may have gone.
            with contextlib.suppress(grpc.aio.InternalError), record.watchers.joined() as frames:
                self._runtime.require_serving()  # else who has joined may not be told of the end
                over = record.session.closed
                await say(replies.watching(record.session))
                while not over and (frame := await frames.get()) is not None:
                    await say(replies.watched(frame))
                self._runtime.require_serving()
                record.require_kept()
                await say(replies.watched_to_the_end(record.session))

    async def GetRecording(  # noqa: N802
        self, request: pb.GetRecordingRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.GetRecordingResponse]:
        async with self._typed_errors(context):
            sending = Sending(self._runtime, context)
            record = await self._runtime.find(request.session_id, request.token)
            drawn, epoch = record.session.durable_frame, record.session.epoch  # whatever is rewound meanwhile
            first, end = request.first_frame, request.end_frame or drawn
            if not first <= end <= drawn:
                raise OutOfRange("end_frame", f"found frames {first} to {end}; the recording has those below {drawn}")
            for start in range(first, end, FRAMES_READ_AT_ONCE):
                stop = min(end, start + FRAMES_READ_AT_ONCE)
                for frame in await self._runtime.archive.stored_frames(record, start, stop, epoch):
                    message = replies.recorded_frame(frame)
                    await sending.wait_for(message.ByteSize())
                    yield message

    async def ReplaySession(  # noqa: N802
        self, request: pb.ReplaySessionRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ReplaySessionResponse:
        async with self._typed_errors(context):
            manifest = self._runtime.require_serving()
            record = await self._runtime.find(request.session_id, request.token)
            wanted = requests.read_replay(request, record.session.terms.names, manifest)
            return replies.replayed(await self._runtime.replay(record, wanted))
        raise AssertionError

    async def ExportSession(  # noqa: N802
        self, request: pb.ExportSessionRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        async with self._typed_errors(context):
            sending = Sending(self._runtime, context)
            record = await self._runtime.find(request.session_id, request.token)
            with contextlib.suppress(grpc.aio.InternalError):  # the client has gone
                async with contextlib.aclosing(self._runtime.export(record)) as chunks:
                    async for chunk in chunks:
                        await sending.send(pb.ExportSessionResponse(data=chunk))

    async def ImportSession(  # noqa: N802
        self, _stream: object, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ImportSessionResponse:
        seconds = self._runtime.config.write_timeout
        async with self._typed_errors(context), contextlib.aclosing(files.received(context, seconds)) as chunks:
            return replies.imported(await self._runtime.import_session(chunks))
        raise AssertionError

    def typed_errors(self, context: grpc.aio.ServicerContext[Any, Any]) -> contextlib.AbstractAsyncContextManager[None]:
        """How any service of this server answers with errors."""
        return self._typed_errors(context)

    async def GetServerStats(  # noqa: N802
        self, request: pb.GetServerStatsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetServerStatsResponse:
        async with self._typed_errors(context):
            if not is_local(context.peer()):
                raise LocalOnly
            runtime = self._runtime
            return stats.server_stats(
                runtime.observer,
                runtime.sessions,
                clock.now_us(),
                model=runtime.manifest.name if runtime.manifest else "",
                serving=not (runtime.stopping or runtime.lost),
                max_disk=runtime.config.max_disk,
                most_sessions=stats.read_max_sessions(request),
            )
        raise AssertionError

    async def streams_ended(self, seconds: float) -> None:
        """Waits until every live stream has ended, but not longer than this."""
        if self._streams:
            await asyncio.wait(self._streams, timeout=seconds)

    @contextlib.asynccontextmanager
    async def _typed_errors(self, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[None]:
        """Answers a ``ServerError`` with its status and details. Anything else is this server's fault: it is logged,
        and the client is told no more than that.
        """
        try:
            yield
        except ServerError as error:
            self._runtime.observer.refused(error)
            try:
                await context.abort_with_status(rich_status(error))
            except grpc.aio.InternalError:
                # The client hung up meanwhile. A cancelled handler is how grpc knows that nothing is left to be sent.
                log.debug("a client went away before it was told: %s", error)
                raise asyncio.CancelledError from None
        except (grpc.aio.AbortError, asyncio.CancelledError):
            raise
        except Exception as error:
            self._runtime.observer.refused(error)
            log.exception("a call failed")
            await context.abort(grpc.StatusCode.INTERNAL, "the server failed; its log says why")


def is_local(peer: str) -> bool:
    """Whether a peer is on this machine, by gRPC's name of it: ``ipv4:127.0.0.1:40962``, ``ipv6:%5B::1%5D:40962``."""
    family, _, address = urllib.parse.unquote(peer).partition(":")
    return family == "unix" or is_loopback(address.rpartition(":")[0].strip("[]"))


def rich_status(error: ServerError) -> grpc.Status:
    """An error as a status with details: BadRequest for fields, RetryInfo for when to try again.

    A status travels as metadata, of which grpc takes 8 KiB: the client would be told of that instead of its mistake. So
    long texts are cut, and the first violations stand for all if they are too many.
    """
    details: list[Message] = []
    if error.violations:
        bad_request = error_details_pb2.BadRequest()
        for violation in error.violations:
            bad_request.field_violations.add(field=violation.field, description=_cut(violation.description))
            if bad_request.ByteSize() > MOST_VIOLATION_BYTES and len(bad_request.field_violations) > 1:
                del bad_request.field_violations[-1]
                break
        details.append(bad_request)
    if error.retry_after_s is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(round(error.retry_after_s * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    packed = []
    for detail in details:
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    status = status_pb2.Status(code=code_pb2.Code.Value(error.status), message=_cut(str(error)), details=packed)
    return rpc_status.to_status(status)  # type: ignore[no-any-return]


def _cut(text: str) -> str:
    return text if len(text) <= MOST_TEXT else text[:MOST_TEXT] + "..."
