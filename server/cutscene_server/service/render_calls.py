"""The contract's calls for batch jobs.

Backpressure policy, "allowance": whoever hands in a job has a fixed time, and more for what it has sent, so that a slow
line is served and one that trickles holds its place for minutes only.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator, Callable
from typing import Any, cast

import grpc
from google.protobuf.message import DecodeError

from cutscene_proto.v1 import render_pb2 as rpb
from cutscene_proto.v1.render_pb2_grpc import RenderServiceServicer
from cutscene_server.errors import FieldViolation, InvalidRequest, Late
from cutscene_server.rendering.renders import Renders, Submission
from cutscene_server.runtime import Runtime
from cutscene_server.service.sending import Sending
from cutscene_server.service.stream import STATES_READ_AT_ONCE
from cutscene_server.wire import renders as wire
from cutscene_server.wire import requests

RENDER_SERVICE_NAME = "cutscene_proto.v1.RenderService"
WATCH_PERIOD_S = 0.25
ALLOWED_WRITE_TIMEOUTS = 6  # that a submission may take, whatever it sends: two minutes
ALLOWED_BYTES_PER_S = 32 << 10  # beyond that: 256 MiB may take two hours

Context = grpc.aio.ServicerContext[Any, Any]
TypedErrors = Callable[[Context], contextlib.AbstractAsyncContextManager[None]]


class RenderCalls(RenderServiceServicer):
    """Adapts gRPC calls to the render jobs."""

    def __init__(self, runtime: Runtime, renders: Renders, typed_errors: TypedErrors) -> None:
        self._runtime = runtime
        self._renders = renders
        self._typed_errors = typed_errors

    async def SubmitRender(  # noqa: N802
        self, _stream: object, context: Context
    ) -> rpb.SubmitRenderResponse:
        async with self._typed_errors(context):
            async with (
                self._renders.submission() as submission,
                contextlib.aclosing(self._submitted(context)) as messages,
            ):
                async for message in messages:
                    await self._take(submission, message)
            return wire.submitted(submission, self._renders)
        raise AssertionError  # typed errors answer or raise

    async def GetRender(self, request: rpb.GetRenderRequest, context: Context) -> rpb.GetRenderResponse:  # noqa: N802
        async with self._typed_errors(context):
            job = self._renders.find(request.job_id, request.token)
            return rpb.GetRenderResponse(job=wire.job(job, self._renders))
        raise AssertionError

    async def WatchRender(self, request: rpb.WatchRenderRequest, context: Context) -> None:  # noqa: N802
        async with self._typed_errors(context):
            sending = Sending(self._runtime, context)
            job = self._renders.find(request.job_id, request.token)
            with contextlib.suppress(grpc.aio.InternalError):  # the client has gone
                async with contextlib.aclosing(self._renders.watch(job)) as states:
                    async for state in states:
                        if not state.ended:
                            self._runtime.require_serving()  # or the next server has to be asked
                        await sending.send(rpb.WatchRenderResponse(job=wire.job(state, self._renders)))
                        if not state.ended:
                            await asyncio.sleep(WATCH_PERIOD_S)

    async def CancelRender(  # noqa: N802
        self, request: rpb.CancelRenderRequest, context: Context
    ) -> rpb.CancelRenderResponse:
        async with self._typed_errors(context):
            job = self._renders.find(request.job_id, request.token)
            await self._renders.cancel(job)
            return rpb.CancelRenderResponse(job=wire.job(job, self._renders))
        raise AssertionError

    async def ListRenders(  # noqa: N802
        self, request: rpb.ListRendersRequest, context: Context
    ) -> rpb.ListRendersResponse:
        async with self._typed_errors(context):
            after, size = wire.read_page(request)
            page, more = self._renders.page(after, size)
            return rpb.ListRendersResponse(
                jobs=[wire.job(job, self._renders, with_items=False) for job in page],
                next_page_token=str(page[-1].number) if more else "",
            )
        raise AssertionError

    async def FetchFilm(self, request: rpb.FetchFilmRequest, context: Context) -> None:  # noqa: N802
        async with self._typed_errors(context):
            sending = Sending(self._runtime, context)
            job = self._renders.find(request.job_id, request.token)
            with contextlib.suppress(grpc.aio.InternalError):  # the client has gone
                async with contextlib.aclosing(self._renders.film(job, request.item)) as chunks:
                    async for chunk in chunks:
                        await sending.send(rpb.FetchFilmResponse(data=chunk))

    # ---- a job that comes -------------------------------------------------------------------------------------------

    async def _submitted(self, context: Context) -> AsyncGenerator[rpb.SubmitRenderRequest, None]:
        """What the client hands in, until it is done. Raises ``Late``, ``InvalidRequest``."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + ALLOWED_WRITE_TIMEOUTS * self._runtime.config.write_timeout
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    request: object = await context.read()
            except TimeoutError:
                raise Late("the job came too slowly") from None
            except DecodeError:
                raise InvalidRequest([FieldViolation("request", "these bytes are not a SubmitRenderRequest")]) from None
            if request is grpc.aio.EOF:
                return
            message = cast("rpb.SubmitRenderRequest", request)
            told = loop.time()
            yield message
            # What the server itself took is not the client's delay.
            deadline += loop.time() - told + message.ByteSize() / ALLOWED_BYTES_PER_S

    async def _take(self, submission: Submission, message: rpb.SubmitRenderRequest) -> None:
        intake = submission.intake
        intake.count_bytes(message.ByteSize())
        match message.WhichOneof("request"):
            case "item":
                manifest, max_frames = self._runtime.require_serving(), self._runtime.config.max_frames
                path = intake.next_item_path
                item = wire.read_item(message.item, path, manifest, max_frames)
                pictures = wire.reference_pictures(message.item)
                stage = await self._runtime.references.added(item.packed_stage, pictures, f"{path}.open.references")
                await intake.begin_item(dataclasses.replace(item, packed_stage=stage))
            case "turn":
                terms = intake.require_terms()
                if requests.state_count(message.turn) <= STATES_READ_AT_ONCE:
                    turn = wire.read_turn(message.turn, intake.step_path, terms)
                else:
                    turn = await asyncio.to_thread(wire.read_turn, message.turn, intake.step_path, terms)
                await intake.add_turn(turn)
            case "cut":
                intake.cut()
            case _:
                raise InvalidRequest([FieldViolation("request", "is missing")])
