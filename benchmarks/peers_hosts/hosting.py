"""The model in a host without sessions: what all three peers run, so that they differ by their frameworks alone.

    one turn: open the model anew (cast, set) -> remember the window -> frame by frame: prepare, draw, decode and JPEG

One lock around the model: a single thread opens, draws and makes blocks, for everybody, first come first served. Turns
that go on at once therefore take a frame each in turns. What needs no lock, preparing and decoding, goes on beside it
on the two other threads of the model package's own ``Pipeline``, for whosoever's frame it is. A frame is sent as soon
as it is encoded, while the next is drawn.

Nothing is kept from one turn to the next: each has a block pool of its own, as if the request before had gone to
another replica. ``keep_blocks`` leaves the model package's pool on instead, which one lone process may do.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import importlib
import time
from collections.abc import AsyncIterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import simplejpeg

from cutscene_model.block_pool import BlockPool
from cutscene_model.engine import PastFrame
from cutscene_model.pipeline import Pipeline, Prepared
from cutscene_model.transformer import TransformerEngine
from cutscene_server.packed_scene import unpack_stage, unpack_state
from peers_hosts.turn import HostedFrame, TurnRequest

if TYPE_CHECKING:
    from cutscene_model.engine import Engine, Timeline

ENGINE = "cutscene_model.loading:load_engine"


class ModelHost:
    """See the module's docstring. One a process."""

    def __init__(self, engine: Engine, keep_blocks: bool = False) -> None:
        self._engine = engine
        self._keep_blocks = keep_blocks
        self._pipeline = Pipeline()
        self._model = ThreadPoolExecutor(1, thread_name_prefix="model")  # the lock

    async def perform(self, request: TurnRequest) -> AsyncIterator[bytes]:
        """Draws one turn; yields its frames, packed."""
        loop, begun = asyncio.get_running_loop(), time.monotonic()
        frame_s = 1 / request.fps if request.fps else 0.0
        count = len(request.states)
        if not count:
            return
        timeline = await loop.run_in_executor(self._model, self._open, request)
        try:
            drawing = self._draw(timeline, request, 0, self._prepare(timeline, request, 0))
            for position in range(count):
                encoding = await asyncio.wrap_future(drawing)
                following = position + 1
                wait = begun + following * frame_s - time.monotonic()
                if following < count and wait <= 0:
                    drawing = self._draw(timeline, request, following, self._prepare(timeline, request, following))
                yield await asyncio.wrap_future(encoding)
                if following < count and wait > 0:
                    await asyncio.sleep(begun + following * frame_s - time.monotonic())
                    drawing = self._draw(timeline, request, following, self._prepare(timeline, request, following))
        finally:
            self._model.submit(timeline.close)

    def _open(self, request: TurnRequest) -> Timeline:
        """The model, opened anew: anchors of cast and set, and the window of what was drawn before."""
        engine = self._engine
        if not self._keep_blocks and isinstance(engine, TransformerEngine):
            engine = copy.copy(engine)
            engine.pool = BlockPool()
        stage, shape = unpack_stage(request.stage), engine.manifest.latent_shape
        if all(frame.latent for frame in request.past):
            past = [
                PastFrame(f.frame_index, unpack_state(f.state), np.frombuffer(f.latent, np.float16).reshape(shape))
                for f in request.past
            ]
            return engine.begin(stage, request.seed, request.first_frame, past)
        timeline = engine.begin(stage, request.seed, request.past[0].frame_index)
        for frame in request.past:  # nobody looks at these: they are not decoded
            timeline.draw(timeline.prepare(unpack_state(frame.state), request.tier), request.tier)
            timeline.commit()
        return timeline

    def _prepare(self, timeline: Timeline, request: TurnRequest, position: int) -> Future[Prepared]:
        return self._pipeline.prepare(timeline, lambda: unpack_state(request.states[position]), request.tier)

    def _draw(
        self, timeline: Timeline, request: TurnRequest, position: int, preparing: Future[Prepared]
    ) -> Future[Future[bytes]]:
        """Has a frame drawn; what comes back is its being decoded and encoded."""

        def run() -> Future[bytes]:
            prepared = preparing.result().value
            latent = timeline.draw(prepared, request.tier).latent
            kept = latent.tobytes() if position >= len(request.states) - request.with_latents else b""

            def finish() -> bytes:
                pixels = timeline.decode(prepared, latent)
                picture = simplejpeg.encode_jpeg(
                    pixels, quality=request.jpeg_quality, colorspace="RGB", colorsubsampling="420"
                )
                return HostedFrame(picture, kept).pack()

            encoding = self._pipeline.finish(finish)
            timeline.commit()
            return encoding

        return self._model.submit(run)


def load_host(engine: str, model: str | None, threads: int | None, keep_blocks: bool) -> ModelHost:
    """Loads the model as this project's own inference process does: same factory, same precision, same threads."""
    module, _, function = engine.partition(":")
    factory = getattr(importlib.import_module(module), function)
    return ModelHost(cast("Engine", factory(Path(model) if model else None, threads=threads)), keep_blocks)


def host_options(description: str | None) -> argparse.Namespace:
    """The command line that every host has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True, help="of 127.0.0.1, to listen on")
    parser.add_argument("--engine", default=ENGINE, help="module:function that loads the model (default: %(default)s)")
    parser.add_argument("--model", help="directory of the model (default: the shipped weights)")
    parser.add_argument("--threads", type=int, help="of the model's arithmetic (default: the engine's choice)")
    parser.add_argument("--keep-blocks", action="store_true", help="keep frame blocks from one turn to the next")
    return parser.parse_args()
