"""A client made of nothing but the generated stubs: it says exactly what a test says, and keeps all that it hears."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import grpc
from google.rpc import error_details_pb2, status_pb2

from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1.cutscene_pb2_grpc import CutsceneServiceStub

PATIENCE_S = 20.0  # for one message; a test that waits longer has failed


class RawStream:
    """One Perform call."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.call: Any = CutsceneServiceStub(channel).Perform()  # type: ignore[no-untyped-call]
        self.heard: list[pb.PerformResponse] = []
        self.opened = pb.Opened()

    async def say(self, **request: Any) -> None:
        await self.call.write(pb.PerformRequest(**request))

    async def hear(self) -> pb.PerformResponse | None:
        """The next message; None at the stream's end. Raises ``grpc.aio.AioRpcError`` if it ended with a status."""
        async with asyncio.timeout(PATIENCE_S):
            message = await self.call.read()
        if message is grpc.aio.EOF:
            code = await self.call.code()
            if code is not grpc.StatusCode.OK:
                raise grpc.aio.AioRpcError(
                    code, await self.call.initial_metadata(), await self.call.trailing_metadata(),
                    details=await self.call.details(),
                )  # fmt: skip
            return None
        self.heard.append(cast("pb.PerformResponse", message))
        if self.heard[-1].WhichOneof("response") == "closed":
            await self.call.done_writing()
        return self.heard[-1]

    async def hear_until(self, kind: str, *, never: str = "") -> Any:
        """Listens until a message of this kind, and returns what is in it. ``never``: a kind that must not come."""
        while (message := await self.hear()) is not None:
            assert message.WhichOneof("response") != never, f"the server said: {message}"
            if message.WhichOneof("response") == kind:
                return getattr(message, kind)
        raise AssertionError(f"the stream ended without {kind}")

    async def hear_to_end(self) -> None:
        while await self.hear() is not None:
            pass

    async def open(self, message: pb.Open) -> pb.Opened:
        await self.say(open=message)
        self.opened = await self.hear_until("opened")
        return self.opened

    async def resume(self, opened: pb.Opened, next_frame: int) -> pb.Opened:
        await self.say(resume=pb.Resume(session_id=opened.session_id, token=opened.token, next_frame=next_frame))
        self.opened = await self.hear_until("opened")
        return self.opened

    async def frames(self, count: int, *, ack: bool = True) -> list[pb.Frame]:
        """The next ``count`` frames, each acknowledged as it comes."""
        frames: list[pb.Frame] = []
        while len(frames) < count:
            frame = await self.hear_until("frame")
            frames.append(frame)
            if ack:
                await self.say(ack=pb.Ack(next_frame=frame.frame_index + 1))
        return frames

    async def quiet(self, seconds: float = 0.2) -> bool:
        """Whether the server says nothing for a while. The stream cannot be read any more after this."""
        try:
            async with asyncio.timeout(seconds):
                self.heard.append(await self.call.read())
        except TimeoutError:
            return True
        return False

    def leave(self) -> None:
        self.call.cancel()


def details(error: grpc.aio.AioRpcError) -> tuple[dict[str, str], float | None]:
    """The field violations by field, and the seconds after which to try again, of a rich status."""
    fields: dict[str, str] = {}
    retry_s: float | None = None
    metadata: Any = error.trailing_metadata() or ()
    for key, value in metadata:
        if key != "grpc-status-details-bin":
            continue
        for detail in status_pb2.Status.FromString(value).details:
            bad_request, retry = error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
            if detail.Unpack(bad_request):
                fields |= {violation.field: violation.description for violation in bad_request.field_violations}
            elif detail.Unpack(retry):
                retry_s = retry.retry_delay.ToNanoseconds() / 1e9
    return fields, retry_s
