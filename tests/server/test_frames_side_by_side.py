"""What the inference process begins while a frame is being decoded: its real loop, with an engine that waits."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import pytest

from cutscene_model.engine import PastFrame, Pixels
from cutscene_model.scene import SceneState, Stage
from cutscene_server import worker_messages as messages
from cutscene_server.frame_ring import FrameRing
from cutscene_server.packed_scene import pack_stage, pack_state
from cutscene_server.terms import Codec, PixelDigest
from cutscene_server.worker import Worker
from small_scenes import stage, state
from synthetic_engine import HEIGHT, MANIFEST, WIDTH, SyntheticEngine, SyntheticTimeline

SOON_S = 10.0  # for what is to happen
LONG_S = 0.3  # for what is not to
PICTURE_BYTES = 3 * HEIGHT * WIDTH
RAW = Codec.RAW_RGB.value, 90, PixelDigest.BLAKE3.value  # the codec, its quality, the digest

Send = Callable[[messages.Command], None]


class WaitingTimeline(SyntheticTimeline):
    """Says when it prepares and decodes, and decodes only once it may."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage, 1, set(), 0, (), lambda _: None, ())
        self.prepared, self.decoding, self.may_decode = (threading.Semaphore(0) for _ in range(3))

    def prepare(self, state: SceneState, tier: str) -> SceneState:
        self.prepared.release()
        return super().prepare(state, tier)

    def decode(self, prepared: SceneState, latent: npt.NDArray[np.float16]) -> Pixels:
        self.decoding.release()
        assert self.may_decode.acquire(timeout=2 * SOON_S)
        return super().decode(prepared, latent)


class WaitingEngine(SyntheticEngine):
    """Of one timeline, which the test holds."""

    def __init__(self) -> None:
        super().__init__()
        self.timeline = WaitingTimeline(stage())

    def begin(self, stage: Stage, seed: int, next_frame: int = 0, past: Sequence[PastFrame] = ()) -> SyntheticTimeline:
        return self.timeline


@contextmanager
def at_work(engine: SyntheticEngine) -> Iterator[Send]:
    """A worker's loop on a thread of its own, which has begun session 1."""
    ours, theirs = multiprocessing.Pipe()
    ring = FrameRing.create(4, PICTURE_BYTES, MANIFEST.latent_bytes)
    working = threading.Thread(target=Worker(engine, theirs, theirs).run)

    def send(command: messages.Command) -> None:
        ours.send_bytes(messages.join([messages.pack(command)]))

    working.start()
    try:
        send(messages.UseRing(ring.name, 4, PICTURE_BYTES, MANIFEST.latent_bytes))
        send(messages.Begin(1, 0, pack_stage(stage()), 1, 0, [], "5e55", *RAW))
        assert isinstance(messages.split(ours.recv_bytes())[0], messages.Ready)
        assert isinstance(messages.split(ours.recv_bytes())[0], messages.Began)
        yield send
    finally:
        send(messages.Stop())
        working.join(SOON_S)
        ours.close()
        ring.close()


def order(frame_index: int, *, paced: bool) -> messages.Draw:
    return messages.Draw(1, 0, frame_index, frame_index, "draft", False, paced, pack_state(state()), b"")


@pytest.mark.parametrize("paced", [True, False])
def test_a_frame_whose_time_has_come_is_begun_while_the_one_before_is_decoded_and_the_rest_of_a_turn_is_not(
    paced: bool,
) -> None:
    """Without a cadence the first frame of a turn has the machine to itself. Where there is one, the second frame's
    order comes a frame time later, and would be late by what it was kept waiting.
    """
    engine = WaitingEngine()
    timeline = engine.timeline
    with at_work(engine) as send:
        send(order(0, paced=paced))
        assert timeline.decoding.acquire(timeout=SOON_S)
        assert timeline.prepared.acquire(timeout=SOON_S)
        send(order(1, paced=paced))
        assert timeline.prepared.acquire(timeout=SOON_S if paced else LONG_S) == paced
        timeline.may_decode.release(2)
        assert paced or timeline.prepared.acquire(timeout=SOON_S)
