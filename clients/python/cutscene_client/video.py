"""Pictures to files: an H.264 film through PyAV, and a contact sheet that shows a whole scene at a glance."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import av
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from cutscene_client.errors import OutputUnusable

Pixels = npt.NDArray[np.uint8]

SHEET_COLUMNS = 4
SHEET_FRAMES = 12
SHEET_TILE_WIDTH = 320
LABEL_HEIGHT = 20


class FrameSink(Protocol):
    """Takes frames one by one."""

    def add(self, pixels: Pixels) -> None:
        """The next frame, (height, width, 3) uint8."""


def check_film(path: Path) -> None:
    """Raises ``OutputUnusable`` if ``mp4_writer`` could not write there. Makes the folder, leaves the file alone."""

    class Named(io.BytesIO):
        name = path.name  # of which the kind of film is told

    try:
        with av.open(Named(), "w") as container:
            known = "libx264" in container.supported_codecs or "h264" in container.supported_codecs
    except ValueError:
        known = False
    if not known:
        raise OutputUnusable(f"{path}: is no film's name; one ends in .mp4")
    _check_place(path)


def check_sheet(path: Path) -> None:
    """Raises ``OutputUnusable`` if ``write_contact_sheet`` could not write there; otherwise as ``check_film``."""
    if Image.registered_extensions().get(path.suffix.lower()) not in Image.SAVE:
        raise OutputUnusable(f"{path}: is no picture's name; one ends in .png")
    _check_place(path)


def _check_place(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            path.open("ab").close()
        else:
            path.open("xb").close()
            path.unlink()
    except OSError as error:
        raise OutputUnusable(f"{path}: cannot be written: {error.strerror or error}") from error


@contextlib.contextmanager
def mp4_writer(path: Path, width: int, height: int, fps: float) -> Iterator[FrameSink]:
    """An H.264 film in yuv420p, which every player knows, good enough that any softness is the model's own.

    The film is there once it is whole. If the block fails, or is interrupted, what was there before stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}.unfinished{path.suffix}")
    try:
        yield from _written(unfinished, width, height, fps)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _written(path: Path, width: int, height: int, fps: float) -> Iterator[FrameSink]:
    container = av.open(str(path), "w", options={"movflags": "+faststart"})
    try:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "16", "preset": "veryfast"}

        class _Sink:
            def add(self, pixels: Pixels) -> None:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
                for packet in stream.encode(frame):
                    container.mux(packet)

        yield _Sink()
        for packet in stream.encode():
            container.mux(packet)
    finally:
        container.close()


@dataclass(frozen=True, slots=True)
class SheetTile:
    """One picture of a contact sheet."""

    label: str
    pixels: Pixels


def sheet_frames(shot_lengths: Sequence[int], count: int = SHEET_FRAMES) -> list[int]:
    """Which frames a sheet shows: at least one of each shot while there is room, longer shots more often."""
    total = sum(shot_lengths)
    if total <= count:
        return list(range(total))
    shares = [1] * len(shot_lengths) if len(shot_lengths) <= count else []
    if not shares:
        return [int((index + 0.5) * total / count) for index in range(count)]
    while sum(shares) < count:
        widest = max(range(len(shares)), key=lambda index: shot_lengths[index] / shares[index])
        shares[widest] += 1
    frames, start = [], 0
    for length, share in zip(shot_lengths, shares, strict=True):
        frames += [start + int((index + 0.5) * length / share) for index in range(share)]
        start += length
    return frames


def write_contact_sheet(path: Path, title: str, tiles: Sequence[SheetTile]) -> None:
    """A PNG of labelled pictures in rows of four."""
    height, width = tiles[0].pixels.shape[:2]
    tile_height = round(SHEET_TILE_WIDTH * height / width)
    rows = -(-len(tiles) // SHEET_COLUMNS)
    columns = min(SHEET_COLUMNS, len(tiles))
    sheet = Image.new("RGB", (columns * SHEET_TILE_WIDTH, 28 + rows * (tile_height + LABEL_HEIGHT)), (24, 24, 28))
    draw = ImageDraw.Draw(sheet)
    draw.text((8, 6), title, fill=(240, 240, 240), font=ImageFont.load_default(16))
    small = ImageFont.load_default(12)
    for index, tile in enumerate(tiles):
        left = index % SHEET_COLUMNS * SHEET_TILE_WIDTH
        top = 28 + index // SHEET_COLUMNS * (tile_height + LABEL_HEIGHT)
        picture = Image.fromarray(tile.pixels).resize((SHEET_TILE_WIDTH, tile_height), Image.Resampling.LANCZOS)
        sheet.paste(picture, (left, top))
        draw.text((left + 6, top + tile_height + 3), tile.label, fill=(200, 200, 200), font=small)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
