"""A film's encoder, as a process of its own: raw frames come on stdin, an H.264 film goes into a file.

    python -m cutscene_server.rendering.encoder FILE WIDTH HEIGHT FPS FRAMES RATE_FACTOR

It is a process so that it can be nice: in a thread of lower priority, whatever holds the interpreter lock would hold up
the event loop for as long as somebody else wants the processor. It takes exactly FRAMES frames of WIDTH x HEIGHT x 3
bytes, closes the file, syncs it, and says in one line of JSON what it is. If fewer come, whoever sent them is gone: it
ends with a code other than 0, and what it leaves is not a film.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import sys
from fractions import Fraction
from pathlib import Path

# What stops a server is often told to all of its processes. It is this one's parent that says what becomes of its film.
for _number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(_number, signal.SIG_IGN)

import av  # noqa: E402 - it takes a while, in which a signal may come
import numpy as np  # noqa: E402

NICENESS = 10
PRESET = "veryfast"
DIGEST_BYTES = 16


def main() -> int:
    """Encodes one film. Returns the exit code."""
    path = Path(sys.argv[1])
    width, height, frame_count, rate_factor = (int(sys.argv[at]) for at in (2, 3, 5, 6))
    os.nice(NICENESS)
    read = bytearray(height * width * 3)
    pixels = np.frombuffer(read, np.uint8).reshape(height, width, 3)
    frames = io.BufferedReader(io.FileIO(0))
    # Faststart puts the index first, so that a film can be shown while it is being loaded.
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(sys.argv[4]).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": str(rate_factor), "preset": PRESET}
        stream.thread_count = 1  # it has time; more threads would only take the processor from live sessions in turns
        for _ in range(frame_count):
            if frames.readinto(read) != len(read):
                os._exit(3)  # nobody waits for the rest of the film
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    with path.open("rb") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES))
    print(json.dumps({"bytes": path.stat().st_size, "digest": digest.hexdigest()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
