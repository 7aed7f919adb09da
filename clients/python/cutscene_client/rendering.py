"""Batch jobs: whole performances handed in at once, followed from anywhere, and their films brought here.

A job belongs to the server once ``Client.render`` has returned: neither this client nor the server's process is needed
for it to go on. Whoever has its id and token can come back to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import os
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import grpc

from cutscene_client.errors import (
    CutsceneError,
    FilmDamaged,
    RenderNotFound,
    ServerUnreachable,
    is_transport_failure,
    refusal,
)
from cutscene_client.sending import send_all
from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1 import render_pb2 as rpb
from cutscene_proto.v1.render_pb2_grpc import RenderServiceStub

PATIENCE_S = 60.0
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0
DIGEST_BYTES = 16

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class RenderItem:
    """One performance that is to become one film."""

    name: str  # part of the film's name: 1 to 64 characters of A-Z a-z 0-9 _ -
    open: pb.Open  # as ``Client.open_request`` takes it
    steps: Iterable[pb.Turn | pb.Cut]  # walked once, when the job is handed in; turns without an id get one
    rate_factor: int = 0  # libx264's constant rate factor, 1 (large) to 40 (small); 0: the server's choice


@dataclass(frozen=True, slots=True)
class ItemProgress:
    """How far one item is."""

    name: str
    state: str  # "queued", "drawing", "done", "failed" or "cancelled"
    frame_count: int
    frames_done: int
    failure: str  # why it failed
    film: str  # its name below the server's output; empty until it is done
    film_bytes: int
    film_digest: bytes  # BLAKE2b, 16 bytes, of the file
    pixel_digest: bytes  # of all frames' digests in order: equal performances have equal ones, played or rendered


@dataclass(frozen=True, slots=True)
class RenderProgress:
    """How far a job is."""

    job_id: str
    state: str  # "queued", "drawing", "done" (some items may have failed) or "cancelled"
    created_unix_us: int
    frame_count: int
    frames_done: int
    jobs_ahead: int
    remaining_s: int | None  # at the present pace; None: not known, or ended
    item_count: int
    items_done: int
    items_failed: int
    items: tuple[ItemProgress, ...]  # in order; none in a list of jobs

    @property
    def ended(self) -> bool:
        return self.state in ("done", "cancelled")


class Render:
    """One job of a server. ``Client.render`` and ``Client.render_job`` make one."""

    def __init__(self, job_id: str, token: str, stub: RenderServiceStub, address: str, metadata: Metadata = ()) -> None:
        self.id = job_id
        self.token = token
        self._stub = stub
        self._address = address
        self._metadata = metadata  # of calls whose answers may be large: in whose name

    async def progress(self) -> RenderProgress:
        """How far it is now."""
        try:
            answer = await self._stub.GetRender(rpb.GetRenderRequest(job_id=self.id, token=self.token))
        except grpc.aio.AioRpcError as error:
            raise typed(error, self._address) from error
        return read_job(answer.job)

    async def watch(self, *, patience: float = PATIENCE_S) -> AsyncIterator[RenderProgress]:
        """How far it is, then whenever that changes, until it has ended: the last one says how.

        A server that is gone is asked again for up to ``patience`` seconds: the job goes on when it is back. Raises
        ``ServerUnreachable`` after that, ``RenderNotFound``, ``ResourceExhausted``.
        """
        loop = asyncio.get_running_loop()
        give_up_at, pause_s = math.inf, FIRST_PAUSE_S
        while True:
            request = rpb.WatchRenderRequest(job_id=self.id, token=self.token)
            call = self._stub.WatchRender(request, metadata=self._metadata)
            try:
                async for answer in call:
                    progress = read_job(answer.job)
                    yield progress
                    if progress.ended:
                        return
                    give_up_at, pause_s = math.inf, FIRST_PAUSE_S
            except grpc.aio.AioRpcError as error:
                if not is_transport_failure(error):
                    raise typed(error, self._address) from error
                give_up_at = min(give_up_at, loop.time() + patience)
                if loop.time() + pause_s > give_up_at:
                    raise ServerUnreachable(self._address, error.details() or "") from error
            finally:
                call.cancel()
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def wait(self, *, patience: float = PATIENCE_S) -> RenderProgress:
        """Waits until it has ended. Returns how."""
        async for progress in self.watch(patience=patience):
            last = progress
        return last

    async def cancel(self) -> RenderProgress:
        """Gives up what of it is not done; films that are stay. Safe to repeat."""
        try:
            answer = await self._stub.CancelRender(rpb.CancelRenderRequest(job_id=self.id, token=self.token))
        except grpc.aio.AioRpcError as error:
            raise typed(error, self._address) from error
        return read_job(answer.job)

    async def film(self, item: int) -> AsyncGenerator[bytes, None]:
        """The film of an item that is done, piece by piece. Items count from 0."""
        request = rpb.FetchFilmRequest(job_id=self.id, token=self.token, item=item)
        call = self._stub.FetchFilm(request, metadata=self._metadata)
        try:
            async for answer in call:
                yield answer.data
        except grpc.aio.AioRpcError as error:
            raise typed(error, self._address) from error
        finally:
            call.cancel()

    async def save(
        self, item: int, path: Path, film_digest: bytes, on_bytes: Callable[[int], object] = lambda count: None
    ) -> bool:
        """Brings an item's film into a file, which is there only once it is whole and has the digest. Returns False if
        it was there already. Raises ``FilmDamaged``, ``OSError``.
        """
        if await asyncio.to_thread(_digest_of, path) == film_digest:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
        try:
            with unfinished.open("wb") as file:
                async with contextlib.aclosing(self.film(item)) as pieces:
                    async for piece in pieces:
                        file.write(piece)
                        digest.update(piece)
                        on_bytes(len(piece))
            if digest.digest() != film_digest:
                raise FilmDamaged(f"the film that came for {path} is not the one that the server made")
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
        return True


async def submit(stub: RenderServiceStub, items: Iterable[RenderItem], address: str, metadata: Metadata = ()) -> Render:
    """Hands in a job. Raises ``InvalidRequest`` naming fields by their place, ``FailedPrecondition`` if the server
    makes no films, ``ResourceExhausted``.
    """
    try:
        answer: rpb.SubmitRenderResponse = await send_all(stub.SubmitRender(), _requests(items))
    except grpc.aio.AioRpcError as error:
        raise typed(error, address) from error
    return Render(answer.job_id, answer.token, stub, address, metadata)


async def list_renders(stub: RenderServiceStub, address: str) -> list[RenderProgress]:
    """Every job, oldest first."""
    found: list[RenderProgress] = []
    page_token = ""
    while True:
        try:
            answer = await stub.ListRenders(rpb.ListRendersRequest(page_token=page_token))
        except grpc.aio.AioRpcError as error:
            raise typed(error, address) from error
        found += [read_job(job) for job in answer.jobs]
        page_token = answer.next_page_token
        if not page_token:
            return found


def read_job(job: rpb.RenderJob) -> RenderProgress:
    return RenderProgress(
        job_id=job.job_id,
        state=_state(job.state),
        created_unix_us=job.created_unix_us,
        frame_count=job.frame_count,
        frames_done=job.frames_done,
        jobs_ahead=job.jobs_ahead,
        remaining_s=job.remaining_s or None,
        item_count=job.item_count,
        items_done=job.items_done,
        items_failed=job.items_failed,
        items=tuple(
            ItemProgress(
                item.name, _state(item.state), item.frame_count, item.frames_done, item.failure, item.film,
                item.film_bytes, item.film_digest, item.pixel_digest,
            )
            for item in job.items
        ),
    )  # fmt: skip


def typed(error: grpc.aio.AioRpcError, address: str) -> CutsceneError:
    """What a call about a job raises."""
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        return ServerUnreachable(address, error.details() or "")
    if error.code() is grpc.StatusCode.NOT_FOUND:
        return RenderNotFound(error.details() or "", code=error.code().name)
    return refusal(error)


async def _requests(items: Iterable[RenderItem]) -> AsyncIterator[rpb.SubmitRenderRequest]:
    for item in items:
        yield rpb.SubmitRenderRequest(item=rpb.RenderItem(name=item.name, open=item.open, rate_factor=item.rate_factor))
        for number, step in enumerate(item.steps):
            if isinstance(step, pb.Cut):
                yield rpb.SubmitRenderRequest(cut=step)
                continue
            request = rpb.SubmitRenderRequest(turn=step)
            request.turn.turn_id = step.turn_id or f"step-{number}"
            yield request


def _state(state: rpb.RenderState) -> str:
    return rpb.RenderState.Name(state).removeprefix("RENDER_STATE_").lower()


def _digest_of(path: Path) -> bytes:
    """A file's digest; none if there is no such file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)).digest()
    except FileNotFoundError:
        return b""
