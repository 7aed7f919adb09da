"""A frame's pixels to what the client gets: the codec's bytes and a digest of the pixels before the codec."""

from __future__ import annotations

import hashlib
import time
from typing import NamedTuple

import simplejpeg

from cutscene_server.frame_ring import Pixels
from cutscene_server.terms import Codec

DIGEST_BYTES = 16


class Encoded(NamedTuple):
    """A picture as it is sent."""

    data: bytes
    pixel_digest: bytes  # BLAKE2b, 16 bytes, of the raw pixels
    took_us: int


def encode(pixels: Pixels, codec: Codec, jpeg_quality: int) -> Encoded:
    """The encoded picture, the digest of the raw pixels, and how long both took.

    Made to run in a thread: the JPEG encoder and the digest both let go of the interpreter lock, and both read the
    pixels where they lie in shared memory.
    """
    started_ns = time.monotonic_ns()
    digest = hashlib.blake2b(pixels.data, digest_size=DIGEST_BYTES).digest()
    if codec is Codec.JPEG:
        data: bytes = simplejpeg.encode_jpeg(pixels, quality=jpeg_quality, colorspace="RGB", colorsubsampling="420")
    else:
        data = pixels.tobytes()
    return Encoded(data, digest, (time.monotonic_ns() - started_ns) // 1000)
