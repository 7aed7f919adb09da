"""Films in memory: two pictures side by side, small enough to lie inside a page."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
from PIL import Image

from cutscene_model.engine import Pixels

WIDTH, HEIGHT = 400, 225  # of each picture; the film's own height must be even
_EVEN_HEIGHT = HEIGHT + HEIGHT % 2


class SideBySide:
    """An H.264 film of the reference on the left and a result on the right."""

    def __init__(self, fps: int) -> None:
        self._file = io.BytesIO()
        self._container = av.open(self._file, "w", format="mp4")
        self._stream = self._container.add_stream("libx264", rate=Fraction(fps))
        self._stream.width, self._stream.height, self._stream.pix_fmt = 2 * WIDTH, _EVEN_HEIGHT, "yuv420p"
        self._stream.options = {"crf": "25", "preset": "medium"}

    def add(self, reference: Pixels, result: Pixels) -> None:
        """The next frame."""
        halves = [
            np.asarray(Image.fromarray(picture).resize((WIDTH, _EVEN_HEIGHT), Image.Resampling.BILINEAR))
            for picture in (reference, result)
        ]
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.concatenate(halves, axis=1)), format="rgb24")
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> bytes:
        """The whole film as an MP4 file."""
        self._container.mux(self._stream.encode())
        self._container.close()
        return self._file.getvalue()
