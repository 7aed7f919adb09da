"""Small pictures as files: what a client may send as a reference."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image


def noise(width: int = 96, height: int = 64, seed: int = 0) -> Image.Image:
    """Coloured blocks of 8 pixels, others for every seed."""
    blocks = np.random.default_rng(seed).integers(20, 236, (-(-height // 8), -(-width // 8), 3), np.uint8)
    return Image.fromarray(blocks.repeat(8, axis=0).repeat(8, axis=1)[:height, :width])


def top_row(color: tuple[int, int, int]) -> Image.Image:
    """A picture of the synthetic engine's size whose first row is of one colour: some make that engine misbehave."""
    pixels = np.full((64, 128, 3), 90, np.uint8)
    pixels[:16] = color
    return Image.fromarray(pixels)


def png(image: Image.Image) -> bytes:
    return _file(image, "PNG")


def jpeg(image: Image.Image, **options: Any) -> bytes:
    return _file(image, "JPEG", **options)


def _file(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
