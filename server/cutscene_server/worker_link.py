"""The front end's side of the inference process: starts it, sends it commands, hands its facts to the event loop.

A process that hangs is killed. From there on it is as one that ended of itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import os
import socket
import threading
from collections import deque
from collections.abc import AsyncIterator, Sequence
from multiprocessing.context import SpawnProcess

from cutscene_model.manifest import Manifest
from cutscene_server import clock, picture, worker, worker_messages
from cutscene_server.command_pipe import CommandPipe
from cutscene_server.config import ServerConfig
from cutscene_server.errors import NotServing
from cutscene_server.frame_ring import FrameRing
from cutscene_server.hang_watch import HangWatch, Question

log = logging.getLogger("cutscene_server")

# Frames that have a place to come back to.
MOST_SLOTS = 16
MOST_RING_BYTES = 16 << 20  # of pictures and latents; but for ``PIPELINE_SLOTS`` there is always room
PIPELINE_SLOTS = 4  # one frame being decoded, one being drawn, two being prepared
STOP_S = 3.0  # how long the process may take to finish the frame at hand before it is ended
MOST_HELD = 64 << 20  # bytes of commands that may wait for the process to read: more is sent only if it hangs
FROM_OUTSIDE = (-9, -15)  # exit codes of SIGKILL and SIGTERM, which no fault of a process's own sends


class WorkerLink:
    """One spawned inference process. Facts come as an iterator that ends when the process is gone."""

    def __init__(self, config: ServerConfig) -> None:
        # Spawned, not forked: torch's threads and grpc's do not survive a fork.
        context = multiprocessing.get_context("spawn")
        # One for each direction: what is written to without waiting cannot be read with waiting (``CommandPipe``).
        self._commands, self._far_commands = context.Pipe(duplex=True)
        self._answers, self._far_answers = context.Pipe(duplex=True)
        self._pipe: CommandPipe | None = None  # while there is somebody to read
        model = str(config.model) if config.model else None
        placement = {"device": config.device, "threads": config.threads_each, "precision": config.precision}
        self._process: SpawnProcess = context.Process(
            target=worker.main,
            args=(
                self._far_commands,
                self._far_answers,
                config.engine,
                model,
                placement,
                config.niceness,
                config.log_level,
                config.log_json,
            ),
            name="cutscene-inference",
            daemon=True,  # should this process end without stopping it, it is ended too
        )
        self._process_id: int | None = None
        self._stopped = False
        self._killed_here = False  # by this side, since it did not end
        self._load_timeout = config.load_timeout or None
        self._frame_timeout = config.frame_timeout
        self._watch = HangWatch(round(1e6 * config.frame_timeout))
        self._next_look: asyncio.TimerHandle | None = None
        self.hang: str | None = None  # how the process hung, if that is why it was killed
        self.hung_at: Question | None = None  # what it was asked for and did not answer, as far as that is known
        self._facts: deque[worker_messages.Fact | None] = deque()
        self._told = asyncio.Event()  # set when there are facts where there were none
        self._waking = False  # whether the loop is asked to look at the facts, and has not begun to
        self._unsent: list[bytes] = []  # commands of this turn of the loop
        self._ring: FrameRing | None = None
        self._slots: list[
            int
        ] = []  # the free ones; who was freed last is taken first: it lies in the processor's cache
        self._reader: threading.Thread | None = None

    async def start(self) -> Manifest:
        """Starts the process and waits until its model is loaded. Raises ``NotServing`` if it ends before that, or
        takes longer than it may.
        """
        loop = asyncio.get_running_loop()
        self._process.start()
        self._process_id = self._process.pid
        self._pipe = CommandPipe(self._commands)
        self._far_commands.close()
        self._far_answers.close()  # so that the process's end is seen as the pipe's end
        self._reader = threading.Thread(target=self._read_facts, args=(loop,), name="facts", daemon=True)
        self._reader.start()
        ready = await self._early_fact("loaded its model")
        if not isinstance(ready, worker_messages.Ready):
            await self._join(STOP_S)
            raise NotServing(f"the inference process ended before its model was loaded ({self.exit_text})")
        manifest = worker_messages.unpack_manifest(ready.packed_manifest)
        sizes = picture.most_bytes(manifest.height, manifest.width), manifest.latent_bytes
        slots = max(PIPELINE_SLOTS, min(MOST_SLOTS, MOST_RING_BYTES // sum(sizes)))
        self._ring = FrameRing.create(slots, *sizes)
        self._slots = list(range(slots))
        self.send(worker_messages.UseRing(self._ring.name, slots, *sizes))
        if self._frame_timeout:
            self._next_look = loop.call_later(self._watch.period_us / 1e6, self._look)
        return manifest

    async def rehearse(self) -> int:
        """Has the process find out, before anything is ordered, how many microseconds a frame of the default tier takes
        of it; 0: it does not say. Raises ``NotServing`` if it ends before that, or takes longer than loading may.
        """
        self.send(worker_messages.Rehearse())
        rehearsed = await self._early_fact("drawn a frame")
        if not isinstance(rehearsed, worker_messages.Rehearsed):
            await self._join(STOP_S)
            raise NotServing(f"the inference process ended before it had drawn a frame ({self.exit_text})")
        return rehearsed.frame_us

    async def _early_fact(self, what: str) -> worker_messages.Fact | None:
        """What the process tells once it has done ``what``, before it serves; None if it is gone."""
        try:
            async with asyncio.timeout(self._load_timeout):
                return await self._next_fact()
        except TimeoutError:
            self._kill_hung(f"it had not {what} within {self._load_timeout:g} s (load_timeout)")
            raise NotServing(f"the inference process hung: {self.hang}") from None

    @property
    def ring(self) -> FrameRing:
        if self._ring is None:
            raise NotServing("the inference process has not started")
        return self._ring

    @property
    def process_id(self) -> int | None:
        return self._process_id

    @property
    def exit_text(self) -> str:
        code = self._process.exitcode
        return "it does not end even so" if code is None else f"exit code {code}"

    @property
    def ended_from_outside(self) -> bool:
        """Whether somebody else ended the process: an operator, or the kernel for want of memory."""
        return self._process.exitcode in FROM_OUTSIDE and not self._killed_here

    def take_slot(self) -> int | None:
        """A slot for one more frame; None if every one is taken."""
        return self._slots.pop() if self._slots else None

    def release(self, slot: int) -> None:
        self._slots.append(slot)

    def send(self, command: worker_messages.Command) -> None:
        """Sends a command, with all others of this turn of the event loop, and never waits. If the process is gone it
        is dropped: the end of ``facts`` tells.
        """
        if (question := worker_messages.question_of(command)) is not None:
            self._watch.ask(question)
        self._unsent.append(worker_messages.pack(command))
        if len(self._unsent) == 1:
            asyncio.get_running_loop().call_soon(self._flush)

    async def taken(self) -> None:
        """Waits until the process has read what it was sent, but for what the pipe holds, or is gone."""
        if self._pipe is not None:
            await self._pipe.written()

    async def facts(self) -> AsyncIterator[worker_messages.Fact]:
        """Facts in the order the process told them, until it is gone."""
        while (fact := await self._next_fact()) is not None:
            yield fact
        await self._join(STOP_S)

    async def stop(self) -> None:
        """Ends the process, first by asking, and removes the shared memory. Safe to repeat."""
        if self._stopped:
            return
        self._stopped = True
        self._look_no_more()
        if self._process.pid is not None:
            if self._ring is None:
                self._process.kill()  # still loading the model: it would not listen, and has nothing to lose
            self.send(worker_messages.Stop())
            self._flush()
            await self._join(STOP_S)
            self._end_pipe()
        if self._reader is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._reader.join, STOP_S)
        self._commands.close()
        self._answers.close()
        if self._ring is not None:
            self._ring.close()
        if self._process.pid is not None and self._process.exitcode is not None:
            self._process.close()

    async def _join(self, seconds: float) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self._join_blocking, seconds)

    def _join_blocking(self, seconds: float) -> None:
        self._process.join(seconds)
        if self._process.exitcode is None:
            log.warning("the inference process did not stop in %.0f s; it is killed", seconds)
            self._killed_here = True
            self._process.kill()
            self._process.join(seconds)

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self._pipe is None or not unsent:
            return
        if self._pipe.held > MOST_HELD:
            self._kill_hung(f"it left {self._pipe.held} bytes of commands unread")
        else:
            self._pipe.send(worker_messages.join(unsent))

    def _end_pipe(self) -> None:
        """Nobody is told anything any more, nor heard."""
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
            with socket.socket(fileno=os.dup(self._answers.fileno())) as facts, contextlib.suppress(OSError):
                facts.shutdown(socket.SHUT_RDWR)  # whoever reads finds the end, whether the process ends or not

    # ---- hanging ----------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        self._next_look = None
        if (hung_at := self._watch.look(clock.now_us())) is not None:
            self._kill_hung(f"no answer within {self._frame_timeout:g} s (frame_timeout)", hung_at)
        else:
            self._next_look = asyncio.get_running_loop().call_later(self._watch.period_us / 1e6, self._look)

    def _look_no_more(self) -> None:
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None

    def _kill_hung(self, how: str, at: Question | None = None) -> None:
        self.hang, self.hung_at = how, at
        self._killed_here = True
        self._look_no_more()
        self._process.kill()
        self._end_pipe()  # one that hangs in the kernel does not end before that lets go of it: it is not waited for

    async def _next_fact(self) -> worker_messages.Fact | None:
        """None once the process is gone."""
        while not self._facts:
            self._told.clear()
            if not self._facts:  # the reader may have added one meanwhile, and been heard
                await self._told.wait()
        fact = self._facts.popleft()
        if fact is None:
            self._look_no_more()
        elif (question := worker_messages.question_of(fact)) is not None:
            self._watch.answer(question)
        return fact

    def _read_facts(self, loop: asyncio.AbstractEventLoop) -> None:
        facts: Sequence[worker_messages.Fact | None]
        while True:
            try:
                facts = worker_messages.split(self._answers.recv_bytes())  # type: ignore[assignment]
            except (EOFError, OSError):
                facts = [None]
            self._facts.extend(facts)
            if not self._waking:  # looked at after the append, as `_wake` takes it back before anybody looks
                self._waking = True
                try:
                    loop.call_soon_threadsafe(self._wake)
                except RuntimeError:
                    log.debug("the event loop ended before the inference process did")
                    return
            if facts[-1] is None:
                return

    def _wake(self) -> None:
        self._waking = False
        self._told.set()
