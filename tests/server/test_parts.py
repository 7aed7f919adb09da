"""The small parts: the frame ring, the messages between the processes."""

from __future__ import annotations

import os

import numpy as np
import pytest

from cutscene_model.scene import EMOTIONS
from cutscene_server import picture
from cutscene_server import worker_messages as messages
from cutscene_server.frame_ring import FrameRing
from cutscene_server.terms import Codec
from synthetic_engine import MANIFEST


def test_a_frame_written_on_one_side_is_read_on_the_other() -> None:
    ring = FrameRing.create(2, 72, 5)
    other = FrameRing.attach(ring.name, 2, 72, 5)
    whole = bytes(range(72))
    other.write_picture(1, whole)
    assert ring.picture(1, 72) == whole
    assert not any(ring.picture(0, 72))
    other.write_picture(0, b"short")
    for slot in (0, 1):
        other.write_latent(slot, b"past%d" % slot)
    assert [ring.latent(slot) for slot in (0, 1)] == [b"past0", b"past1"]
    assert ring.picture(0, 5) == b"short"
    assert ring.picture(1, 72) == whole
    with pytest.raises(ValueError, match="latent of 4 bytes does not fit slots of 5"):
        ring.write_latent(0, b"past")
    with pytest.raises(ValueError, match="no slot -1"):
        ring.latent(-1)
    with pytest.raises(ValueError, match="picture of 73 bytes does not fit slots of 72"):
        ring.write_picture(0, whole + b"!")
    for length in (-1, 73):
        with pytest.raises(ValueError, match="no picture of"):
            ring.picture(0, length)
    with pytest.raises(ValueError, match="no slot 2"):
        ring.picture(2, 5)
    other.close()
    ring.close()
    ring.close()
    with pytest.raises(ValueError, match="closed"):
        ring.latent(0)
    assert ring.name not in os.listdir("/dev/shm")  # noqa: S108


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (17, 33), (288, 512)], ids=str)
def test_whatever_a_picture_shows_there_is_room_for_it(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    for codec in Codec:
        assert len(picture.encode(noise, codec, 100).data) <= picture.most_bytes(*size)


@pytest.mark.parametrize(
    "message",
    [
        messages.UseRing("name", 2, 8192, 18432),
        messages.Begin(1, 2, b"stage", (1 << 64) - 1, 5, [[4, b"state", b"latent"]], "5e55", 1, 90, 2),
        messages.Draw(1, 2, 5, 0, "draft", True, False, b"state", b"latent"),
        messages.End(1),
        messages.Stop(),
        messages.Ready(b"manifest"),
        messages.Began(1, 2),
        messages.BeginFailed(1, 2, "why"),
        messages.Drawn(1, 2, 0, [1, "draft", 2, 3, 4, 5, 6, 7, 8, 9], 30_000, b"digest", 500),
        messages.DrawFailed(1, 2, 0, "why"),
    ],
    ids=lambda message: type(message).__name__,
)
def test_messages_between_the_processes_come_back_as_they_went(message: messages.Message) -> None:
    assert messages.unpack(messages.pack(message)) == message


def test_what_is_asked_and_what_is_answered_is_known_by_the_same_question() -> None:
    draw = messages.Draw(1, 2, 5, 3, "draft", True, False, b"state", b"")
    begin = messages.Begin(1, 2, b"stage", 7, 5, [], "5e55", 1, 90, 2)
    pairs: list[tuple[messages.Command, list[messages.Fact]]] = [
        (draw, [messages.Drawn(1, 2, 3, [], 1, b"", 1), messages.DrawFailed(1, 2, 3, "why")]),
        (begin, [messages.Began(1, 2), messages.BeginFailed(1, 2, "why")]),
        (messages.Encode(1, b""), [messages.Encoded(1, b""), messages.EncodeFailed(1, "why")]),
    ]
    questions = [messages.question_of(command) for command, _ in pairs]
    assert None not in questions
    assert len(set(questions)) == 3
    for question, (_, answers) in zip(questions, pairs, strict=True):
        assert [messages.question_of(answer) for answer in answers] == [question, question]
    unasked: list[messages.Message] = [
        messages.End(1),
        messages.Stop(),
        messages.UseRing("", 1, 1, 1),
        messages.Counted({}),
        messages.Ready(b""),
    ]
    assert [messages.question_of(message) for message in unasked] == [None] * 5


def test_messages_that_are_sent_together_come_apart_in_their_order() -> None:
    sent: list[messages.Message] = [
        messages.Draw(1, 2, n, n % 3, "draft", False, True, b"state", b"") for n in range(20)
    ]
    sent.insert(7, messages.End(1))
    assert messages.split(messages.join([messages.pack(message) for message in sent])) == sent


def test_a_manifest_comes_back_as_it_went() -> None:
    assert messages.unpack_manifest(messages.pack_manifest(MANIFEST)) == MANIFEST
    assert MANIFEST.emotions == EMOTIONS[:-1]
