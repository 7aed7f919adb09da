"""Pictures encoded beside the event loop."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest

from cutscene_server import picture
from cutscene_server.encoders import Encoders
from cutscene_server.terms import Codec, Names, Terms

TERMS = Terms("m", "d", 64, 32, Codec.JPEG, 90, 24.0, 7, "draft", 48, 1000, Names({}, {}, frozenset()))
RAW = dataclasses.replace(TERMS, codec=Codec.RAW_RGB)


@pytest.fixture
def encoders() -> Iterator[Encoders]:
    made = Encoders(2)
    yield made
    made.close()


def pixels(seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (32, 64, 3), np.uint8)


async def test_every_picture_is_encoded_as_it_would_be_alone(encoders: Encoders) -> None:
    asked = [encoders.encode(terms, pixels(seed)) for seed in range(40) for terms in (TERMS, RAW)]
    found = await asyncio.gather(*asked)
    for number, encoded in enumerate(found):
        terms = (TERMS, RAW)[number % 2]
        data, digest, _ = picture.encode(pixels(number // 2), terms.codec, terms.jpeg_quality)
        assert (encoded.data, encoded.pixel_digest) == (data, digest)


async def test_one_that_fails_or_that_nobody_waits_for_any_more_fails_alone(encoders: Encoders) -> None:
    asked = [
        encoders.encode(TERMS, pixels(0)),
        encoders.encode(TERMS, np.zeros((32, 64, 2), np.uint8)),  # no JPEG can be made of two colours
        encoders.encode(TERMS, pixels(2)),
        encoders.encode(TERMS, pixels(3)),
    ]
    asked[2].cancel()
    first, failed, left, last = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(first, picture.Encoded)
    assert isinstance(failed, ValueError)
    assert isinstance(left, asyncio.CancelledError)
    assert isinstance(last, picture.Encoded)


async def test_what_was_asked_for_is_encoded_before_the_end(encoders: Encoders) -> None:
    asked = [encoders.encode(TERMS, pixels(seed)) for seed in range(8)]
    encoders.close()
    assert len(await asyncio.gather(*asked)) == 8
    with pytest.raises(RuntimeError, match="any more"):
        encoders.encode(TERMS, pixels(0))
    encoders.close()
