"""The inference process's loop, spoken to through its pipe: what it reports, and that nothing is kept back for good."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection

import numpy as np
import pytest

from cutscene_model.scene import Camera, SceneState, Stage
from cutscene_server import picture
from cutscene_server import worker_messages as messages
from cutscene_server.frame_ring import FrameRing
from cutscene_server.packed_scene import pack_stage, pack_state
from cutscene_server.terms import Codec, PixelDigest
from cutscene_server.worker import Worker
from synthetic_engine import HEIGHT, MANIFEST, WIDTH, load

SLOTS, SESSIONS = 16, 4
STATE = pack_state(SceneState(Camera((0.0, 1.0, 2.0), (0.0, 0.0, 0.0, 1.0), 1.0)))


@pytest.fixture
def ring() -> Iterator[FrameRing]:
    made = FrameRing.create(SLOTS, picture.most_bytes(HEIGHT, WIDTH), MANIFEST.latent_bytes)
    yield made
    made.close()


@pytest.fixture
def pipe(ring: FrameRing) -> Iterator[Connection]:
    """To a worker that has begun some sessions, whose pictures travel raw."""
    here, there = multiprocessing.Pipe()
    thread = threading.Thread(target=Worker(load(None), there, there).run)
    thread.start()
    sizes = picture.most_bytes(HEIGHT, WIDTH), MANIFEST.latent_bytes
    say(here, messages.UseRing(ring.name, SLOTS, *sizes))
    stage, raw = pack_stage(Stage()), (Codec.RAW_RGB.value, 90, PixelDigest.BLAKE3.value)
    say(here, *[messages.Begin(key, 0, stage, 7, 0, [], f"session-{key}", *raw) for key in range(SESSIONS)])
    assert isinstance(hear(here, 1)[0], messages.Ready)
    assert hear(here, SESSIONS) == [messages.Began(key, 0) for key in range(SESSIONS)]
    yield here
    say(here, messages.Stop())
    thread.join(10)
    assert not thread.is_alive()


def say(pipe: Connection, *commands: messages.Command) -> None:
    pipe.send_bytes(messages.join([messages.pack(command) for command in commands]))


def hear(pipe: Connection, count: int) -> list[messages.Message]:
    """The next facts, counts of the cache aside."""
    heard: list[messages.Message] = []
    while len(heard) < count:
        assert pipe.poll(10), f"nothing more came after {len(heard)} of {count} facts"
        told = messages.split(pipe.recv_bytes())
        heard += [fact for fact in told if not isinstance(fact, messages.Counted)]
    return heard


def draw(key: int, frame_index: int, slot: int, generation: int = 0) -> messages.Draw:
    return messages.Draw(key, generation, frame_index, slot, "draft", False, False, STATE, b"")


@pytest.mark.parametrize("rounds", [1, 20])
def test_frames_that_are_ordered_together_are_all_reported_in_their_order(pipe: Connection, rounds: int) -> None:
    for number in range(rounds):
        orders = [draw(key, 4 * number + index, 4 * index + key) for index in range(4) for key in range(SESSIONS)]
        say(pipe, *orders)
        drawn = [fact for fact in hear(pipe, len(orders)) if isinstance(fact, messages.Drawn)]
        assert [(fact.key, fact.slot) for fact in drawn] == [(order.key, order.slot) for order in orders]


@pytest.mark.parametrize("rounds", [20])
def test_a_frame_is_not_kept_back_by_what_is_no_frame_or_fails(pipe: Connection, rounds: int) -> None:
    for index in range(rounds):
        say(pipe, draw(0, index, 0), messages.End(99), draw(1, index, 1), draw(2, 0, 2, generation=5))
        kinds = [
            (type(fact), fact.slot) for fact in hear(pipe, 3) if isinstance(fact, messages.Drawn | messages.DrawFailed)
        ]
        assert kinds == [(messages.Drawn, 0), (messages.Drawn, 1), (messages.DrawFailed, 2)]


def test_a_frame_comes_encoded_with_the_digest_of_its_pixels(pipe: Connection, ring: FrameRing) -> None:
    say(pipe, draw(0, 0, 3))
    (drawn,) = hear(pipe, 1)
    assert isinstance(drawn, messages.Drawn)
    pixels = np.frombuffer(ring.picture(3, drawn.picture_bytes), np.uint8).reshape(HEIGHT, WIDTH, 3)
    assert pixels.any()
    assert drawn.pixel_digest == picture.digest_of(pixels, PixelDigest.BLAKE3)
    assert len(ring.latent(3)) == MANIFEST.latent_bytes
