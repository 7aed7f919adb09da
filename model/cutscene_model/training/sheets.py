"""Sheets of picture pairs, reference above result: what a person looks at to judge a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Comparison:
    """One frame twice: pictures (288, 512, 3) uint8."""

    label: str
    reference: npt.NDArray[np.uint8]
    result: npt.NDArray[np.uint8]


def to_picture(tensor: Tensor) -> npt.NDArray[np.uint8]:
    """(3, H, W) in 0 to 1 as (H, W, 3) uint8."""
    picture: npt.NDArray[np.uint8] = (tensor.clip(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    return picture


def write_sheet(path: Path, pairs: list[Comparison], columns: int = 4, width: int = 384) -> None:
    """Writes a PNG of all pairs, ``columns`` side by side, each picture ``width`` pixels wide."""
    height = width * 9 // 16
    rows = -(-len(pairs) // columns)
    canvas = Image.new("RGB", (columns * (width + 6), rows * (2 * height + 24)), (18, 18, 20))
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(12)  # smaller ones run words together
    for place, pair in enumerate(pairs):
        x, y = place % columns * (width + 6), place // columns * (2 * height + 24)
        draw.text((x + 4, y + 1), f"{pair.label}: reference above, result below", font=font, fill=(210, 210, 210))
        for down, picture in enumerate((pair.reference, pair.result)):
            canvas.paste(Image.fromarray(picture).resize((width, height)), (x, y + 18 + down * height))
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.save(path)
