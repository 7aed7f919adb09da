"""A frame's pixels to what the client gets: the codec's bytes and a digest of the pixels before the codec."""

from __future__ import annotations

import hashlib
import time
from typing import NamedTuple

import simplejpeg
from blake3 import blake3

from cutscene_model.engine import Pixels
from cutscene_server.terms import Codec, PixelDigest

DIGEST_BYTES = 16


class Encoded(NamedTuple):
    """A picture as it is sent."""

    data: bytes
    pixel_digest: bytes  # 16 bytes, of the raw pixels
    took_us: int


def encode(pixels: Pixels, codec: Codec, jpeg_quality: int, pixel_digest: PixelDigest = PixelDigest.BLAKE2B) -> Encoded:
    """The encoded picture, the digest of the raw pixels, and how long both took.

    The pixels lie in one piece. The JPEG encoder and the digest both let go of the interpreter lock.
    """
    started_ns = time.monotonic_ns()
    digest = digest_of(pixels, pixel_digest)
    if codec is Codec.JPEG:
        data: bytes = simplejpeg.encode_jpeg(pixels, quality=jpeg_quality, colorspace="RGB", colorsubsampling="420")
    else:
        data = pixels.tobytes()
    return Encoded(data, digest, (time.monotonic_ns() - started_ns) // 1000)


def most_bytes(height: int, width: int) -> int:
    """What an encoded picture of that size takes at most, whatever it shows: as libjpeg-turbo reckons for 4:2:0, which
    is never less than the raw pixels take.
    """
    return 3 * (-(-height // 16) * 16) * (-(-width // 16) * 16) + 2048


def digest_of(pixels: Pixels, kind: PixelDigest) -> bytes:
    """16 bytes that prove the pixels, which lie in one piece."""
    if kind is PixelDigest.BLAKE3:
        return blake3(pixels.data).digest(length=DIGEST_BYTES)
    return hashlib.blake2b(pixels.data, digest_size=DIGEST_BYTES).digest()
