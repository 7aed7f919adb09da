"""The inference process: one loop that takes commands, draws frames and reports facts. Only here is a model loaded.

    take an order -> prepare -> draw -> decode, encode, write, report
                     (threads)  (loop)  (thread)

While a frame is drawn, the one before is decoded and, if their orders are here already, the two after are prepared. A
turn's first frame has the machine to itself, for somebody waits for it: the next is begun once it is on its way. Not so
where frames keep a cadence: there the next one's order comes when its time has come, and is not held up, so that each
frame takes as long as the one before.

The process decides nothing: which frame of which session comes next is the front end's to say. A session's failure is a
fact like any other; only the pipe's end or ``Stop`` ends the loop.
"""

from __future__ import annotations

import importlib
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from cutscene_model.engine import PastFrame
from cutscene_model.errors import EngineError, ModelError
from cutscene_model.pipeline import AHEAD, Pipeline, Prepared, now_us
from cutscene_server import logs, picture
from cutscene_server import worker_messages as messages
from cutscene_server.frame_ring import FrameRing
from cutscene_server.packed_scene import unpack_stage, unpack_state
from cutscene_server.session_log import DrawnFigures
from cutscene_server.terms import Codec, PixelDigest

if TYPE_CHECKING:
    from cutscene_model.engine import DrawnFrame, Engine, Pixels, Timeline

log = logging.getLogger("cutscene_server.worker")

LOGGED_EVERY_S = 60.0  # of frames drawn: how the cache fares is logged
COUNTED_EVERY_S = 1.0  # and told to the front end
HELD_US = 3_000  # how long a frame may wait for those ordered behind it, to be reported with them
QUICK_US = 1_000  # what a frame must take less than for that


def main(
    commands: Connection,
    facts: Connection,
    engine_path: str,
    model: str | None,
    placement: dict[str, Any],
    niceness: int,
    log_level: str,
    log_json: bool,
) -> None:
    """The process's entry: loads the model, says so, then serves the front end until it stops or goes away.

    ``placement`` is handed to the engine's factory as it is: ``device``, ``threads`` and ``precision``. ``niceness``
    is added to the server's own.
    """
    os.nice(niceness)  # before there are threads, for on Linux each has its own
    # Ctrl-C reaches the whole process group; stopping in order is the front end's business.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with logs.to_standard_error(log_level, as_json=log_json):
        try:
            engine = _load(engine_path, Path(model) if model else None, placement)
        except ModelError as error:  # which says by itself what is wrong, and where
            log.error("%s", error)
            sys.exit(1)
        Worker(engine, commands, facts).run()


class Format(NamedTuple):
    """How a session's pictures travel, and what proves them."""

    codec: Codec
    jpeg_quality: int
    pixel_digest: PixelDigest


class Playing(NamedTuple):
    """A session as it is drawn here."""

    generation: int  # of its orders
    timeline: Timeline
    format: Format


class Worker:
    """The loop and the timelines it holds."""

    def __init__(self, engine: Engine, commands: Connection, facts: Connection) -> None:
        """The two may be one."""
        self._engine = engine
        self._commands_from, self._facts_to = commands, facts
        self._reporting = threading.Lock()
        self._unreported: list[bytes] = []  # frames that wait for others
        self._held_since_us = 0  # the first of them
        self._playing: dict[int, Playing] = {}  # by session
        self._logs: dict[int, logs.SessionLogger] = {}  # by session
        self._owed_us: dict[int, int] = {}  # the model's time that no frame has carried yet
        self._broken: dict[int, int] = {}  # by session: the generation of which a frame could not be decoded
        self._ring: FrameRing | None = None
        self._commands: queue.SimpleQueue[messages.Message] = queue.SimpleQueue()
        # Looked at, and not taken yet; with the preparing of those that are frames.
        self._next: deque[tuple[messages.Message, Future[Prepared] | None]] = deque()
        self._pipeline = Pipeline()
        self._logged_at = self._counted_at = time.monotonic()  # when the cache's counters were last logged, and told

    def run(self) -> None:
        # The pipe is emptied by a thread of its own, so that the front end's writes never wait for a frame being drawn.
        threading.Thread(target=self._read_commands, name="commands", daemon=True).start()
        self._report(messages.Ready(messages.pack_manifest(self._engine.manifest)))
        while True:
            command, prepared, waited = self._take()
            if not isinstance(command, messages.Draw):
                self._report_held()
            match command:
                case messages.Draw():
                    self._draw(command, prepared, alone=waited and not command.paced)
                case messages.Begin():
                    self._begin(command)
                case messages.Encode():
                    self._encode(command)
                case messages.End(key):
                    self._drop(key)
                    self._logs.pop(key, None)
                case messages.Rehearse():
                    self._report(messages.Rehearsed(self._engine.rehearse()))
                case messages.UseRing(name, slots, picture_bytes, latent_bytes):
                    self._ring = FrameRing.attach(name, slots, picture_bytes, latent_bytes)
                case messages.Stop():
                    break
                case _:
                    raise TypeError(f"{type(command).__name__} is not a command")
        self._pipeline.close()
        self._log_counters()
        if self._ring is not None:
            self._ring.close()

    def _take(self) -> tuple[messages.Message, Future[Prepared] | None, bool]:
        """The next command, what of it is being prepared, and whether there was none for a while."""
        if self._next:
            return *self._next.popleft(), False
        waited = self._commands.empty()
        if waited:
            self._report_held()
        return self._commands.get(), None, waited

    def _look_ahead(self) -> None:
        """Has the next frames prepared, as far as they are ordered."""
        # Only this loop takes from the queue. Past what is no frame nothing is known of timelines.
        while (
            len(self._next) < AHEAD
            and not self._commands.empty()
            and all(isinstance(command, messages.Draw) for command, _ in self._next)
        ):
            command, preparing = self._commands.get(), None
            if isinstance(command, messages.Draw) and (playing := self._meant(command)) is not None:
                preparing = self._prepare(playing.timeline, command)
            self._next.append((command, preparing))

    def _prepare(self, timeline: Timeline, command: messages.Draw) -> Future[Prepared]:
        return self._pipeline.prepare(timeline, lambda: unpack_state(command.packed_state), command.tier)

    def _prepare_now(self, timeline: Timeline, command: messages.Draw) -> Prepared:
        return self._pipeline.prepare_now(timeline, lambda: unpack_state(command.packed_state), command.tier)

    def _meant(self, command: messages.Draw) -> Playing | None:
        """The session with the timeline that an order means; None if it failed, ended or went back meanwhile."""
        playing = self._playing.get(command.key)
        if playing is None or playing.generation != command.generation:
            return None
        return None if self._broken.get(command.key) == command.generation else playing

    def _begin(self, command: messages.Begin) -> None:
        started_us = now_us()
        self._drop(command.key)
        self._logs[command.key] = logs.SessionLogger(log, command.key, command.session_id)
        try:
            past = [self._past(*frame) for frame in command.past]
            stage = unpack_stage(command.packed_stage)
            timeline = self._engine.begin(stage, command.seed, command.next_frame, past)
            form = Format(Codec(command.codec), command.jpeg_quality, PixelDigest(command.pixel_digest))
        except Exception as error:
            self._log(command.key).exception("could not begin")
            self._report(messages.BeginFailed(command.key, command.generation, _text(error)))
            return
        self._playing[command.key] = Playing(command.generation, timeline, form)
        self._owed_us[command.key] = now_us() - started_us
        self._report(messages.Began(command.key, command.generation))

    def _encode(self, command: messages.Encode) -> None:
        """Between two frames: it takes less time than drawing one, and sessions are opened rarely."""
        manifest = self._engine.manifest
        try:
            pixels = np.frombuffer(command.pixels, np.uint8).reshape(manifest.height, manifest.width, 3)
            seen = self._engine.encode(pixels)
        except Exception as error:
            log.exception("could not encode a reference picture")
            self._report(messages.EncodeFailed(command.number, _text(error)))
            return
        self._report(messages.Encoded(command.number, seen.tobytes()))

    def _past(self, frame_index: int, packed_state: bytes, latent: bytes) -> PastFrame:
        shape = self._engine.manifest.latent_shape
        return PastFrame(frame_index, unpack_state(packed_state), np.frombuffer(latent, np.float16).reshape(shape))

    def _drop(self, key: int) -> None:
        self._broken.pop(key, None)
        playing = self._playing.pop(key, None)
        self._owed_us.pop(key, None)
        if playing is not None:
            playing.timeline.close()

    def _draw(self, command: messages.Draw, ahead: Future[Prepared] | None, *, alone: bool) -> None:
        """``alone``: nothing else is begun until the frame is on its way."""
        playing = self._meant(command)
        if playing is None:
            self._fail(command, "the session has no such timeline any more")
            return
        timeline = playing.timeline
        if command.latent:
            preparing = self._prepare(timeline, command) if ahead is None else ahead
            latent = np.frombuffer(command.latent, np.float16).reshape(self._engine.manifest.latent_shape)
            self._pipeline.finish(lambda: self._finish(command, playing, preparing.result, latent))
            return
        try:
            prepared = self._prepare_now(timeline, command) if ahead is None else ahead.result()
            if not alone:
                self._look_ahead()
            started_us = now_us()
            if timeline.next_frame != command.frame_index:
                raise RuntimeError(f"frame {command.frame_index} was ordered, {timeline.next_frame} is next")
            if command.cut_before:
                timeline.cut()
            frame = timeline.draw(prepared.value, command.tier)
        except Exception as error:
            self._note_failure(command)
            self._drop(command.key)
            self._fail(command, _text(error))
            return
        drawn_us = now_us() - started_us
        owed_us, self._owed_us[command.key] = self._owed_us[command.key], 0
        finishing = self._pipeline.finish(
            lambda: self._finish(command, playing, lambda: prepared, frame.latent, frame, drawn_us, owed_us),
            beside_us=drawn_us + owed_us,
        )
        if not alone:
            self._look_ahead()
        self._commit(command.key, timeline)
        self._tell_counters()
        if alone:
            finishing.result()

    def _tell_counters(self) -> None:
        """Says how the cache fares, now and then."""
        now = time.monotonic()
        if now - self._counted_at >= COUNTED_EVERY_S:
            self._counted_at = now
            self._report(messages.Counted(self._engine.counters()))
        if now - self._logged_at >= LOGGED_EVERY_S:
            self._logged_at = now
            self._log_counters()

    def _log_counters(self) -> None:
        told = ", ".join(f"{name} {value}" for name, value in self._engine.counters().items())
        log.info("cache: %s", told or "none")

    def _finish(
        self,
        command: messages.Draw,
        playing: Playing,
        prepare: Callable[[], Prepared],
        latent: npt.NDArray[np.float16],
        frame: DrawnFrame | None = None,
        drawn_us: int = 0,
        owed_us: int = 0,
    ) -> None:
        """The last stage, on its own thread: decodes and encodes a frame, drawn now or before, and reports it."""
        if self._broken.get(command.key) == command.generation:
            self._report(messages.DrawFailed(command.key, command.generation, command.slot, "an earlier frame failed"))
            return
        try:
            prepared = prepare()
            if self._ring is None:
                raise RuntimeError("a frame was ordered before there is a place for it")
            started_us = now_us()
            pixels = self._in_one_piece(playing.timeline.decode(prepared.value, latent))
            finished_us = now_us()
            encoded = picture.encode(pixels, *playing.format)
            self._ring.write_picture(command.slot, encoded.data)
            if frame is not None:
                self._ring.write_latent(command.slot, latent.tobytes())
        except Exception as error:
            self._note_failure(command)
            if command.key in self._playing:  # else it has ended meanwhile
                self._broken[command.key] = command.generation
            self._report(messages.DrawFailed(command.key, command.generation, command.slot, _text(error)))
            return
        decode_us = finished_us - started_us
        figures = DrawnFigures(
            frame_index=command.frame_index,
            tier=command.tier,
            blocks_reused=frame.blocks_reused if frame else 0,
            blocks_computed=frame.blocks_computed if frame else 0,
            greybox_us=prepared.took_us,
            denoise_us=drawn_us,
            decode_us=decode_us,
            compute_us=owed_us + prepared.took_us + drawn_us + decode_us,
            started_us=prepared.started_us,
            finished_us=finished_us,
        )
        self._report(
            messages.Drawn(
                command.key, command.generation, command.slot, messages.figures_to_plain(figures),
                len(encoded.data), encoded.pixel_digest, encoded.took_us,
            ),
            may_wait=figures.compute_us + encoded.took_us < QUICK_US,
        )  # fmt: skip

    def _in_one_piece(self, pixels: Pixels) -> Pixels:
        """The engine's pixels, as they can be encoded. Raises ``ValueError`` if they are not what it says it draws."""
        shape = self._engine.manifest.height, self._engine.manifest.width, 3
        if pixels.shape != shape or pixels.dtype != np.uint8:
            raise ValueError(f"a frame of {pixels.dtype} {pixels.shape} is not one of uint8 {shape}")
        return np.ascontiguousarray(pixels)

    def _log(self, key: int) -> logs.SessionLogger:
        return self._logs.get(key) or logs.SessionLogger(log, key, "")  # a frame may fail once its session has ended

    def _note_failure(self, command: messages.Draw) -> None:
        """Logs the exception at hand."""
        self._log(command.key).exception("failed", extra={"frame": command.frame_index})

    def _fail(self, command: messages.Draw, text: str) -> None:
        """Reports a frame that cannot be drawn, after the frames before it."""
        failed = messages.DrawFailed(command.key, command.generation, command.slot, text)
        self._pipeline.finish(lambda: self._report(failed))

    def _commit(self, key: int, timeline: Timeline) -> None:
        """Makes the frame's block once the frame is on its way: the client does not wait for it."""
        started_us = now_us()
        try:
            timeline.commit()
        except Exception:
            # Nothing is waiting for this; the next order finds no timeline and reports it.
            self._log(key).exception("could not commit its frame")
            self._drop(key)
        else:
            self._owed_us[key] += now_us() - started_us

    def _read_commands(self) -> None:
        try:
            while True:
                for command in messages.split(self._commands_from.recv_bytes()):
                    self._commands.put(command)
        except (EOFError, OSError):
            self._commands.put(messages.Stop())  # the front end is gone

    def _report(self, fact: messages.Fact, *, may_wait: bool = False) -> None:
        """``may_wait``: for a moment, if there is another frame to draw. A frame alone would cost the front end as much
        waking up as several that come together.
        """
        with self._reporting:
            if not self._unreported:
                self._held_since_us = now_us()
            self._unreported.append(messages.pack(fact))
            more = self._next or not self._commands.empty()
            if may_wait and more and now_us() - self._held_since_us < HELD_US:
                return
            self._send_unreported()

    def _report_held(self) -> None:
        """Reports what waits for others, none of which will come soon."""
        with self._reporting:
            if self._unreported:
                self._send_unreported()

    def _send_unreported(self) -> None:
        unreported, self._unreported = self._unreported, []
        try:
            self._facts_to.send_bytes(messages.join(unreported))
        except OSError:
            os._exit(0)  # the front end is gone: there is nobody to report to and nothing to save


def _load(engine_path: str, model: Path | None, placement: dict[str, Any]) -> Engine:
    module_name, _, function_name = engine_path.partition(":")
    try:
        factory = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise EngineError(f"engine: {engine_path} cannot be had: {error}") from error
    return cast("Engine", factory(model, **placement))


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
