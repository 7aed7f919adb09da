"""Render jobs, all together: handed in, drawn in the background, watched, cancelled, kept.

    submission   a job comes, item by item, and is durable once it is there
    _draw        a place is free: the next item of the queue is performed into its film, which is then put away
    watch        whoever holds the token sees how far it is

An item's session is drawn when no live session wants a frame, by the rule that holds for every background session, and
takes no place that a client's could have. So render jobs fill what time there is, and no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

from cutscene_server.config import ServerConfig
from cutscene_server.errors import (
    NoRoom,
    NotServing,
    OutOfRange,
    ServerError,
    StorageFailed,
    UnknownRender,
    WrongMoment,
)
from cutscene_server.registry import digest_of, new_token
from cutscene_server.rendering.intake import Intake
from cutscene_server.rendering.job_files import JobFiles
from cutscene_server.rendering.jobs import Item, Job, Pace, Queue, RenderState, jobs_in_order
from cutscene_server.rendering.outputs import Output, open_output
from cutscene_server.rendering.performance import perform
from cutscene_server.runtime import Runtime

log = logging.getLogger("cutscene_server")

MOST_SUBMISSIONS = 2  # at once
MOST_WATCHERS = 64  # of one job
MOST_ENDED = 1000  # jobs that have ended and are still known
MOST_UPLOADS = 4  # films at once on their way to where they belong; each is in the workshop as long
PUT_TRIES = 3  # to put a film where it belongs
PUT_PAUSE_S = 5.0


class Submission:
    """A job that is being handed in: feed its ``intake``, then ``finish``."""

    def __init__(self, intake: Intake) -> None:
        self.intake = intake
        self.job: Job | None = None  # once it is finished
        self.token = ""


class Renders:
    """See the module's docstring. Everything here runs on the runtime's event loop."""

    def __init__(self, config: ServerConfig, runtime: Runtime) -> None:
        self._config = config
        self._runtime = runtime
        self._queue = Queue(config.max_render_jobs)
        self._files = JobFiles(config.data_directory / "renders")
        self._loaded = False  # whether the jobs of servers before this one are known
        self._output: Output | None = None
        self._pace = Pace()
        self._work = asyncio.Event()  # set when an item may wait that did not before
        self._changes: dict[str, asyncio.Event] = {}  # by job: set, and replaced, when it changes
        self._watchers: dict[str, int] = {}  # by job: how many
        self._active: dict[
            str, asyncio.Task[None]
        ] = {}  # by session id: items that are being drawn, or their films put
        self._uploads = asyncio.Semaphore(MOST_UPLOADS)
        self._submissions = 0
        runtime.tidying.spare(lambda: self._queue.awaited_sessions() if self._loaded else None)
        self._tasks: set[asyncio.Task[Any]] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Draws what waits until the block ends; the runtime must be running. Raises ``ConfigError`` if the output
        cannot be used, ``StorageFailed`` if the jobs cannot be read.
        """
        places: list[asyncio.Task[None]] = []
        try:
            if (place := self._config.render_output) is not None:
                directory, most = self._config.data_directory, self._config.max_films
                self._output = await asyncio.to_thread(open_output, place, directory, most)
            await self._load()
            self._spawn(self._forget_in_time())
            if self._output is not None:
                places = [asyncio.create_task(self._draw(self._output)) for _ in range(self._config.render_at_once)]
            yield
        finally:
            work = [*places, *self._active.values(), *self._tasks]
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            self._files.close()

    # ---- what clients ask for ---------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def submission(self) -> AsyncIterator[Submission]:
        """A job that is handed in within the block and is there, with its token, after it. If the block raises, there
        is nothing of it. Raises ``WrongMoment``, ``NoRoom``, ``NotServing``, ``StorageFailed``.
        """
        self._runtime.require_serving()
        if self._output is None:
            raise WrongMoment("render", "this server writes no films: it was started without --render-output")
        self._queue.check_room()
        self._runtime.tidying.check_disk()
        await self._output.check_room()
        if self._submissions == MOST_SUBMISSIONS:
            raise NoRoom(f"{MOST_SUBMISSIONS} jobs are being handed in already, and no more at once")
        self._submissions += 1
        submission = Submission(Intake(self._runtime.archive))
        try:
            yield submission
            await self._finish(submission)
        except BaseException:
            self._spawn(self._take_back(submission))  # nobody knows its token
            raise
        finally:
            self._submissions -= 1

    def find(self, job_id: str, token: str) -> Job:
        """Raises ``UnknownRender`` alike for an unknown id and for a wrong token; ``NotServing`` while starting."""
        self._require_loaded()
        job = self._queue.get(job_id)
        if job is None or not job.holds_token(token):
            raise UnknownRender
        return job

    def page(self, after: int, size: int) -> tuple[list[Job], bool]:
        """Up to ``size`` jobs in the order they came; and whether more follow. Raises ``NotServing``."""
        self._require_loaded()
        return jobs_in_order(list(self._queue), after, size)

    def jobs_ahead(self, job: Job) -> int:
        """Jobs that are drawn before it."""
        return 0 if job.ended else len(self._queue.ahead_of(job))

    def remaining_s(self, job: Job) -> int:
        """How long it will take; 0 if that is not known, or it has ended."""
        if job.ended:
            return 0
        ahead = sum(other.frames_left for other in self._queue.ahead_of(job))
        return self._pace.remaining_s(ahead + job.frames_left)

    async def cancel(self, job: Job) -> None:
        """Gives up what of a job has not ended."""
        cancelled = job.cancel(_now_unix_us())
        if not cancelled:
            return
        log.info("render job %s is cancelled", job.job_id)
        for item in cancelled:
            if task := self._active.get(item.session_id):
                task.cancel()
        self._tell(job)
        await self._whole(self._put_away(job, cancelled))

    async def watch(self, job: Job) -> AsyncGenerator[Job, None]:
        """The job now, and whenever it has changed since it was looked at, until it has ended. Raises ``NoRoom``."""
        if self._watchers.get(job.job_id, 0) >= MOST_WATCHERS:
            raise NoRoom(f"at most {MOST_WATCHERS} watch one job")
        self._watchers[job.job_id] = self._watchers.get(job.job_id, 0) + 1
        try:
            while True:
                changed = self._changes.setdefault(job.job_id, asyncio.Event())
                ended = job.ended
                yield job
                if ended:
                    return
                await changed.wait()
        finally:
            self._watchers[job.job_id] -= 1
            if not self._watchers[job.job_id]:
                del self._watchers[job.job_id]
                self._changes.pop(job.job_id, None)

    def film(self, job: Job, index: int) -> AsyncGenerator[bytes, None]:
        """An item's film. Raises ``OutOfRange``, ``WrongMoment``; as it is read, what ``Output.read`` raises."""
        if index >= len(job.items):
            raise OutOfRange("item", f"found {index}; the job has {len(job.items)} items")
        if job.items[index].state is not RenderState.DONE:
            raise WrongMoment("item", f"its film is not done; the item is {job.items[index].state.name.lower()}")
        if self._output is None:
            raise WrongMoment(
                "item", "this server was started without render_output, and does not know the film's place"
            )
        return self._output.read(job.film_name(index))

    # ---- drawing ----------------------------------------------------------------------------------------------------

    async def _draw(self, output: Output) -> None:
        """One place in which an item is drawn, then the next. It is free once the item is drawn, whatever its film's
        way to where it belongs may take; but when ``MOST_UPLOADS`` films are on that way, the next one waits here.
        """
        while True:
            found = self._queue.next_item()
            if found is None:
                self._work.clear()
                await self._work.wait()
                continue
            job, index = found
            job.begin(index)
            self._tell(job)
            session_id, drawn = job.items[index].session_id, asyncio.Event()
            task = self._active[session_id] = asyncio.create_task(self._perform(output, job, index, drawn))
            task.add_done_callback(functools.partial(self._note_performed, session_id, drawn))
            await drawn.wait()
            if job.items[index].state is RenderState.QUEUED:
                for each in self._queue:
                    self._tell(each)
                return  # the server stops, or draws no more: the next one goes on

    def _note_performed(self, session_id: str, drawn: asyncio.Event, _task: asyncio.Task[None]) -> None:
        del self._active[session_id]
        drawn.set()

    async def _perform(self, output: Output, job: Job, index: int, drawn: asyncio.Event) -> None:
        """Draws an item and puts its film where it belongs. ``drawn`` is set between the two."""
        item = job.items[index]
        path = output.workshop / f"{item.session_id}.{os.getpid()}.mp4"

        def on_frame(frames_done: int) -> None:
            self._pace.note_frame(time.monotonic())
            job.progress(index, frames_done)
            self._tell(job)

        self._pace.pause()
        try:
            await asyncio.to_thread(_remove_films_of, item, output.workshop)  # what a crash has left
            film = await perform(self._runtime, item, path, on_frame)
            async with self._uploads:
                drawn.set()
                await self._put(output, path, job.film_name(index))
            job.finish(index, film, _now_unix_us())
        except asyncio.CancelledError:
            if job.items[index].state is RenderState.DRAWING:  # else the job was cancelled
                job.give_back(index)
            raise
        except NotServing:
            job.give_back(index)
            return
        except ServerError as error:
            log.error("item %d of render job %s failed: %s", index, job.job_id, error)
            job.fail(index, str(error), _now_unix_us())
        except Exception:
            log.exception("item %d of render job %s failed", index, job.job_id)
            job.fail(index, "the server failed; its log says why", _now_unix_us())
        finally:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        self._tell(job)
        await self._keep(job)
        if job.ended:
            log.info("render job %s has ended", job.job_id)
            await self._forget_outdated()

    async def _put(self, output: Output, path: Path, name: str) -> None:
        for left in reversed(range(PUT_TRIES)):
            try:
                return await output.put(path, name)
            except StorageFailed:
                if not left:
                    raise
                await asyncio.sleep(PUT_PAUSE_S)
        return None

    # ---- keeping ----------------------------------------------------------------------------------------------------

    async def _load(self) -> None:
        jobs, arriving = await self._files.load()
        for job in jobs:
            self._queue.add(job)
        for job in arriving:  # the server ended while they were handed in: nobody knows their tokens
            for item in job.items:
                await self._runtime.archive.discard(item.session_id)
            await self._files.remove(job)
        await self._forget_outdated()
        self._loaded = True

    def _require_loaded(self) -> None:
        if not self._loaded:  # calls are answered before that: no job must seem to be gone
            raise NotServing("the server is starting")

    async def _finish(self, submission: Submission) -> None:
        items, token = await submission.intake.finish(), new_token()
        self._queue.check_room()  # others may have come meanwhile
        number = self._queue.take_number()
        job = Job(secrets.token_hex(16), number, digest_of(token), _now_unix_us(), items)
        submission.job, submission.token = job, token
        await self._files.keep(job, arriving=True)
        await submission.intake.settle()
        await self._files.keep(job)
        self._queue.add(job)
        self._work.set()
        log.info("render job %s: %d items, %d frames", job.job_id, len(items), job.frame_count)

    async def _take_back(self, submission: Submission) -> None:
        await submission.intake.discard()
        if submission.job is not None:
            self._queue.forget(submission.job)
            with contextlib.suppress(ServerError):
                await self._files.remove(submission.job)

    async def _put_away(self, job: Job, cancelled: list[Item]) -> None:
        """Makes a cancelled job durable, and deletes the sessions of what was not drawn."""
        await self._keep(job)
        for item in cancelled:
            if task := self._active.get(item.session_id):
                await asyncio.wait({task})
            if record := self._runtime.sessions.get(item.session_id):
                self._runtime.end(record)
            else:
                await self._runtime.archive.discard(item.session_id)
        await self._forget_outdated()

    async def _keep(self, job: Job) -> None:
        """Makes a job durable. That it could not be is logged: the next server draws again what it does not know of."""
        with contextlib.suppress(StorageFailed):
            await self._files.keep(job)

    async def _forget_in_time(self) -> None:
        """Now and then, also while no job comes or ends."""
        while True:
            await asyncio.sleep(self._config.sweep_period)
            await self._forget_outdated()

    async def _forget_outdated(self) -> None:
        """Forgets jobs that ended long ago, or are too many, with their films in a directory of the server's: nobody
        can ask for them any more. If those cannot be deleted, the job's file stays, and the next server tries again.
        """
        oldest = _now_unix_us() - int(self._config.keep_closed * 1e6)
        for job in self._queue.outdated(oldest, MOST_ENDED):
            self._queue.forget(job)
            log.info("render job %s is forgotten", job.job_id)
            with contextlib.suppress(StorageFailed):
                if self._output is not None:
                    await self._output.remove(job.films)
                await self._files.remove(job)

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _tell(self, job: Job) -> None:
        """Wakes up whoever watches a job."""
        if changed := self._changes.pop(job.job_id, None):
            changed.set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _whole(self, work: Coroutine[Any, Any, None]) -> None:
        """Does it to its end, though whoever asked for it may be gone before that."""
        await asyncio.shield(self._spawn(work))


def _remove_films_of(item: Item, workshop: Path) -> None:
    for left in workshop.glob(f"{item.session_id}.*.mp4"):
        left.unlink()


def _now_unix_us() -> int:
    return time.time_ns() // 1000
