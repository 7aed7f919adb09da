"""The inference process: one loop that takes commands, draws frames and reports facts. Only here is a model loaded.

It decides nothing: which frame of which session comes next is the front end's to say. A session's failure is a fact
like any other; only the pipe's end or ``Stop`` ends the loop.
"""

from __future__ import annotations

import importlib
import logging
import os
import queue
import signal
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from cutscene_model.engine import PastFrame
from cutscene_server import worker_messages as messages
from cutscene_server.frame_ring import FrameRing
from cutscene_server.keyframes import unpack_state
from cutscene_server.session_log import DrawnFigures

if TYPE_CHECKING:
    from cutscene_model.engine import DrawnFrame, Engine, Timeline

log = logging.getLogger("cutscene_server.worker")


def main(
    connection: Connection, engine_path: str, model: str | None, device: str, threads: int | None, log_level: str
) -> None:
    """The process's entry: loads the model, says so, then serves the front end until it stops or goes away."""
    # Ctrl-C reaches the whole process group; stopping in order is the front end's business.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(level=log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    engine = _load(engine_path, Path(model) if model else None, device, threads)
    Worker(engine, connection).run()


class Worker:
    """The loop and the timelines it holds."""

    def __init__(self, engine: Engine, connection: Connection) -> None:
        self._engine = engine
        self._connection = connection
        self._timelines: dict[int, tuple[int, Timeline]] = {}  # by session: generation of its orders, and timeline
        self._owed_us: dict[int, int] = {}  # the model's time that no frame has carried yet
        self._ring: FrameRing | None = None
        self._commands: queue.SimpleQueue[messages.Message] = queue.SimpleQueue()

    def run(self) -> None:
        # The pipe is emptied by a thread of its own, so that the front end's writes never wait for a frame being drawn.
        threading.Thread(target=self._read_commands, name="commands", daemon=True).start()
        self._report(messages.Ready(messages.pack_manifest(self._engine.manifest)))
        while True:
            command = self._commands.get()
            match command:
                case messages.Draw():
                    self._draw(command)
                case messages.Begin():
                    self._begin(command)
                case messages.End(key):
                    self._drop(key)
                case messages.UseRing(name, slots, height, width):
                    self._ring = FrameRing.attach(name, slots, height, width)
                case messages.Stop():
                    break
                case _:
                    raise TypeError(f"{type(command).__name__} is not a command")
        if self._ring is not None:
            self._ring.close()

    def _begin(self, command: messages.Begin) -> None:
        started_us = now_us()
        self._drop(command.key)
        try:
            past = [self._past(*frame) for frame in command.past]
            stage = messages.unpack_stage(command.packed_stage)
            timeline = self._engine.begin(stage, command.seed, command.next_frame, past)
        except Exception as error:
            log.exception("session %d could not begin", command.key)
            self._report(messages.BeginFailed(command.key, command.generation, _text(error)))
            return
        self._timelines[command.key] = command.generation, timeline
        self._owed_us[command.key] = now_us() - started_us
        self._report(messages.Began(command.key, command.generation))

    def _past(self, frame_index: int, packed_state: bytes, latent: bytes) -> PastFrame:
        shape = self._engine.manifest.latent_shape
        return PastFrame(frame_index, unpack_state(packed_state), np.frombuffer(latent, np.float16).reshape(shape))

    def _drop(self, key: int) -> None:
        generation_and_timeline = self._timelines.pop(key, None)
        self._owed_us.pop(key, None)
        if generation_and_timeline is not None:
            generation_and_timeline[1].close()

    def _draw(self, command: messages.Draw) -> None:
        generation, timeline = self._timelines.get(command.key, (0, None))
        if timeline is None or generation != command.generation:  # it failed, ended or went back meanwhile
            text = "the session has no such timeline any more"
            self._report(messages.DrawFailed(command.key, command.generation, command.slot, text))
            return
        started_us = now_us()
        try:
            if self._ring is None:
                raise RuntimeError("a frame was ordered before there is a place for it")
            if command.latent:
                past = self._past(command.frame_index, command.packed_state, command.latent)
                self._ring.write(command.slot, timeline.show(past))
                self._report(_shown(command, started_us, now_us()))
                return
            if timeline.next_frame != command.frame_index:
                raise RuntimeError(f"frame {command.frame_index} was ordered, {timeline.next_frame} is next")
            if command.cut_before:
                timeline.cut()
            frame = timeline.draw(unpack_state(command.packed_state), command.tier)
            self._ring.write(command.slot, frame.pixels)
        except Exception as error:
            log.exception("session %d failed at frame %d", command.key, command.frame_index)
            self._drop(command.key)
            self._report(messages.DrawFailed(command.key, command.generation, command.slot, _text(error)))
            return
        finished_us = now_us()
        compute_us = self._owed_us[command.key] + finished_us - started_us
        self._report(_drawn(command, frame, compute_us, started_us, finished_us))
        self._commit(command.key, timeline)

    def _commit(self, key: int, timeline: Timeline) -> None:
        """Makes the frame's block once the frame is on its way: the client does not wait for it."""
        started_us = now_us()
        try:
            timeline.commit()
        except Exception:
            # Nothing is waiting for this; the next order finds no timeline and reports it.
            log.exception("session %d could not commit its frame", key)
            self._drop(key)
        else:
            self._owed_us[key] = now_us() - started_us

    def _read_commands(self) -> None:
        try:
            while True:
                self._commands.put(messages.unpack(self._connection.recv_bytes()))
        except (EOFError, OSError):
            self._commands.put(messages.Stop())  # the front end is gone

    def _report(self, fact: messages.Fact) -> None:
        try:
            self._connection.send_bytes(messages.pack(fact))
        except OSError:
            os._exit(0)  # the front end is gone: there is nobody to report to and nothing to save


def now_us() -> int:
    """Microseconds of the machine's monotonic clock, which both processes share."""
    return time.monotonic_ns() // 1000


def _drawn(
    command: messages.Draw, frame: DrawnFrame, compute_us: int, started_us: int, finished_us: int
) -> messages.Drawn:
    figures = DrawnFigures(
        frame_index=frame.frame_index,
        tier=frame.tier,
        blocks_reused=frame.blocks_reused,
        blocks_computed=frame.blocks_computed,
        greybox_us=frame.greybox_us,
        denoise_us=frame.denoise_us,
        decode_us=frame.decode_us,
        compute_us=compute_us,
        started_us=started_us,
        finished_us=finished_us,
    )
    plain = messages.figures_to_plain(figures)
    return messages.Drawn(command.key, command.generation, command.slot, plain, frame.latent.tobytes())


def _shown(command: messages.Draw, started_us: int, finished_us: int) -> messages.Drawn:
    took_us = finished_us - started_us
    figures = DrawnFigures(
        frame_index=command.frame_index,
        tier=command.tier,
        blocks_reused=0,
        blocks_computed=0,
        greybox_us=0,
        denoise_us=0,
        decode_us=took_us,
        compute_us=took_us,
        started_us=started_us,
        finished_us=finished_us,
    )
    return messages.Drawn(command.key, command.generation, command.slot, messages.figures_to_plain(figures), b"")


def _load(engine_path: str, model: Path | None, device: str, threads: int | None) -> Engine:
    module_name, _, function_name = engine_path.partition(":")
    factory = getattr(importlib.import_module(module_name), function_name)
    return cast("Engine", factory(model, device=device, threads=threads))


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
