"""The small parts: the frame ring, the messages between the processes."""

from __future__ import annotations

import os

import numpy as np
import pytest

from cutscene_model.scene import EMOTIONS
from cutscene_server import worker_messages as messages
from cutscene_server.frame_ring import FrameRing
from synthetic_engine import MANIFEST


def test_a_frame_written_on_one_side_is_read_on_the_other() -> None:
    ring = FrameRing.create(2, 4, 6, 5)
    other = FrameRing.attach(ring.name, 2, 4, 6, 5)
    pixels = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)
    other.write(1, pixels)
    assert (ring.view(1) == pixels).all()
    assert not ring.view(0).any()
    other.write(0, pixels)
    for slot in (0, 1):
        other.write_latent(slot, b"past%d" % slot)
    assert [ring.latent(slot) for slot in (0, 1)] == [b"past0", b"past1"]
    assert (ring.view(0) == pixels).all()
    assert (ring.view(1) == pixels).all()
    with pytest.raises(ValueError, match="latent of 4 bytes does not fit slots of 5"):
        ring.write_latent(0, b"past")
    with pytest.raises(ValueError, match="no slot -1"):
        ring.latent(-1)
    with pytest.raises(ValueError, match="does not fit"):
        ring.write(0, pixels[:3])
    with pytest.raises(ValueError, match="does not fit"):
        ring.write(0, pixels.astype(np.float32))
    with pytest.raises(ValueError, match="no slot 2"):
        ring.view(2)
    other.close()
    ring.close()
    ring.close()
    assert ring.name not in os.listdir("/dev/shm")  # noqa: S108


@pytest.mark.parametrize(
    "message",
    [
        messages.UseRing("name", 2, 32, 64, 18432),
        messages.Begin(1, 2, b"stage", (1 << 64) - 1, 5, [[4, b"state", b"latent"]], "5e55"),
        messages.Draw(1, 2, 5, 0, "draft", True, False, b"state", b"latent"),
        messages.End(1),
        messages.Stop(),
        messages.Ready(b"manifest"),
        messages.Began(1, 2),
        messages.BeginFailed(1, 2, "why"),
        messages.Drawn(1, 2, 0, [1, "draft", 2, 3, 4, 5, 6, 7, 8, 9]),
        messages.DrawFailed(1, 2, 0, "why"),
    ],
    ids=lambda message: type(message).__name__,
)
def test_messages_between_the_processes_come_back_as_they_went(message: messages.Message) -> None:
    assert messages.unpack(messages.pack(message)) == message


def test_messages_that_are_sent_together_come_apart_in_their_order() -> None:
    sent: list[messages.Message] = [
        messages.Draw(1, 2, n, n % 3, "draft", False, True, b"state", b"") for n in range(20)
    ]
    sent.insert(7, messages.End(1))
    assert messages.split(messages.join([messages.pack(message) for message in sent])) == sent


def test_a_manifest_comes_back_as_it_went() -> None:
    assert messages.unpack_manifest(messages.pack_manifest(MANIFEST)) == MANIFEST
    assert MANIFEST.emotions == EMOTIONS[:-1]
