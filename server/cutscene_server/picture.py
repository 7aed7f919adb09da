"""A frame's pixels to what the client gets: the codec's bytes and a digest of the pixels before the codec."""

from __future__ import annotations

import hashlib
import time

import simplejpeg

from cutscene_server.frame_ring import Pixels
from cutscene_server.terms import Codec

DIGEST_BYTES = 16


def encode(pixels: Pixels, codec: Codec, jpeg_quality: int) -> tuple[bytes, bytes, int]:
    """The encoded picture, the BLAKE2b digest of the raw pixels, and how long both took in microseconds.

    Made to run in a thread: the JPEG encoder and the digest both let go of the interpreter lock, and both read the
    pixels where they lie in shared memory.
    """
    started_ns = time.monotonic_ns()
    digest = hashlib.blake2b(pixels.data, digest_size=DIGEST_BYTES).digest()
    if codec is Codec.JPEG:
        data: bytes = simplejpeg.encode_jpeg(pixels, quality=jpeg_quality, colorspace="RGB", colorsubsampling="420")
    else:
        data = pixels.tobytes()
    return data, digest, (time.monotonic_ns() - started_ns) // 1000
