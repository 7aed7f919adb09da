"""Reference pictures: what a cast or a set is to look like, said once when a session is opened."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import simplejpeg

from cutscene_client.errors import CutsceneError
from cutscene_proto.v1 import cutscene_pb2 as pb

MAX_REFERENCES = 4  # a model may take fewer: ``ModelInfo.references``
MAX_REFERENCE_BYTES = 1 << 20
MAX_SIDE = 4096  # pixels
JPEG_QUALITY = 95

ReferenceSource = str | os.PathLike[str] | bytes | npt.NDArray[np.uint8]
"""A file's path, a JPEG's or PNG's bytes, or pixels (H, W, 3) uint8 RGB, which are sent as a JPEG."""


class ReferencePictureError(CutsceneError, ValueError):
    """A reference picture cannot be sent; says which, and what is allowed. Nothing was sent."""


def read_references(sources: Iterable[ReferenceSource]) -> list[pb.ReferencePicture]:
    """Pictures as ``open`` sends them. Files and bytes go as they are.

    Raises ``ReferencePictureError``, and ``OSError`` if a file cannot be read.
    """
    pictures = []
    for index, source in enumerate(sources):
        if index == MAX_REFERENCES:
            raise ReferencePictureError(f"references: found more than {MAX_REFERENCES}, which is the most of a session")
        data = _bytes(source, f"references[{index}]")
        if not 1 <= len(data) <= MAX_REFERENCE_BYTES:
            found = "no bytes" if not data else f"over {MAX_REFERENCE_BYTES} bytes"
            raise ReferencePictureError(
                f"references[{index}]: found {found}; allowed are 1 to {MAX_REFERENCE_BYTES}: a JPEG of twice the "
                "model's size is enough"
            )
        pictures.append(pb.ReferencePicture(data=data))
    return pictures


def _bytes(source: ReferenceSource, place: str) -> bytes:
    if isinstance(source, bytes):
        return source
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3 or max(source.shape) > MAX_SIDE:
            raise ReferencePictureError(
                f"{place}: found {source.dtype} of shape {source.shape}; allowed is uint8 of (height, width, 3), sides "
                f"up to {MAX_SIDE}"
            )
        if not source.size:
            raise ReferencePictureError(f"{place}: found a picture without pixels")
        pixels = np.ascontiguousarray(source)
        encoded: bytes = simplejpeg.encode_jpeg(pixels, JPEG_QUALITY, "RGB", "444")
        return encoded
    with Path(source).open("rb") as file:
        return file.read(MAX_REFERENCE_BYTES + 1)
