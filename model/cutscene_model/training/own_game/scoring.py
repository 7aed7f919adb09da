"""How near a model comes to what a game drew: held-out runs of a capture played as the game would play them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from tqdm import tqdm

from cutscene_model.engine import Pixels
from cutscene_model.greybox import GreyboxRaster
from cutscene_model.scene import MAX_CAST
from cutscene_model.training.evaluation import as_tensor
from cutscene_model.training.own_game.capture_folder import CapturedFrame, CapturedRun
from cutscene_model.training.regions import regions_of
from cutscene_model.training.scores import Score, score, summary
from cutscene_model.transformer import TransformerEngine

SHOWN = 4  # frames of a sheet, side by side
SET_ID = 6
_WIDTH = 384


@dataclass(frozen=True, slots=True)
class Shown:
    """One frame as the game and as the model drew it."""

    reference: Pixels
    result: Pixels


@dataclass(frozen=True, slots=True)
class CaptureScore:
    """What a model's frames are worth on some runs."""

    frames: int
    figures: dict[str, float]  # see ``scores.summary``
    autoencoder: dict[str, float]  # the same of pictures through the autoencoder: what the denoiser could reach
    shown: tuple[Shown, ...]

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        return {"frames": self.frames, "model": self.figures, "autoencoder": self.autoencoder}


def score_runs(
    engine: TransformerEngine, runs: Sequence[CapturedRun], tier: str = "standard", most: int = 0
) -> CaptureScore:
    """Plays ``runs`` on ``engine``; of each at most ``most`` frames, spread over its shots (0: all)."""
    scores: list[Score] = []
    ceiling: list[Score] = []
    shown: list[Shown] = []
    chosen = {run.name: _chosen(run, most) for run in runs}
    total = sum(map(len, chosen.values()))
    places = sheet_places(total)
    with tqdm(total=total, unit="frame", desc=f"playing {engine.manifest.name}", mininterval=2.0) as bar:
        for run in runs:
            for played, coded, reference, result in _play(engine, run, chosen[run.name], tier):
                if len(scores) in places:
                    shown.append(Shown(reference, result))
                scores.append(played)
                ceiling.append(coded)
                bar.update()
    return CaptureScore(len(scores), summary(scores), summary(ceiling), tuple(shown))


def sheet_places(total: int) -> set[int]:
    """Which of so many frames, all runs together, are shown: some ``SHOWN``, evenly spread."""
    count = min(SHOWN, total)
    return {int((number + 0.5) * total / count) for number in range(count)}


def _chosen(run: CapturedRun, most: int) -> list[CapturedFrame]:
    """The first frames of every shot, so that there are at most ``most``."""
    if not most or len(run.frames) <= most:
        return list(run.frames)
    shots = {frame.shot for frame in run.frames}
    each = max(1, most // len(shots))
    counts: dict[int, int] = {}
    chosen = []
    for frame in run.frames:
        counts[frame.shot] = counts.get(frame.shot, 0) + 1
        if counts[frame.shot] <= each:
            chosen.append(frame)
    return chosen[:most]


def _play(
    engine: TransformerEngine, run: CapturedRun, frames: list[CapturedFrame], tier: str
) -> Iterator[tuple[Score, Score, Pixels, Pixels]]:
    """Scores and pictures, frame after frame on one timeline."""
    raster = GreyboxRaster(run.stage, engine.volumes)
    timeline = engine.begin(run.stage, seed=1)
    last: tuple[int, int] | None = None  # number and shot
    before: dict[str, Tensor] = {}
    try:
        for frame in frames:
            follows = last == (frame.number - 1, frame.shot)
            if last is not None and not follows:
                timeline.cut()
            reference = frame.rgb()
            prepared = timeline.prepare(frame.state, tier)
            result = timeline.decode(prepared, timeline.draw(prepared, tier).latent)
            coded = timeline.decode(prepared, _encoded(engine, reference))
            ids = frame.object_ids()
            regions = regions_of(frame.state, _ids_of(raster, frame) if ids is None else ids)
            tensors = {"model": as_tensor(result), "autoencoder": as_tensor(coded), "reference": as_tensor(reference)}
            marks = []
            for who in ("model", "autoencoder"):
                past = (before[who], before["reference"]) if follows else None
                marks.append(score(tensors[who], tensors["reference"], regions, past))
            yield marks[0], marks[1], reference, result
            last, before = (frame.number, frame.shot), tensors
    finally:
        timeline.close()


def _ids_of(raster: GreyboxRaster, frame: CapturedFrame) -> Pixels:
    """Object ids as the greybox has them, where the game sent none: outlines are exact to two pixels only."""
    slot = raster.draw(frame.state).slot
    ids = np.where(slot > MAX_CAST, SET_ID, slot).astype(np.uint8)
    return ids.repeat(2, axis=0).repeat(2, axis=1)


@torch.inference_mode()
def _encoded(engine: TransformerEngine, picture: Pixels) -> Any:
    latent = engine.autoencoder.encode(as_tensor(picture)[None].to(engine.device) * 2 - 1)
    return latent[0].half().cpu().numpy()


def write_rows(path: Path, titles: Sequence[str], rows: Sequence[Sequence[Pixels]]) -> None:
    """A PNG with one row of pictures for each title, all rows of one length."""
    height = _WIDTH * 9 // 16
    columns = max(len(pictures) for pictures in rows)
    canvas = Image.new("RGB", (columns * (_WIDTH + 6), len(rows) * (height + 22)), (18, 18, 20))
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(12)  # smaller ones run words together
    for down, (title, pictures) in enumerate(zip(titles, rows, strict=True)):
        top = down * (height + 22)
        draw.text((4, top + 1), title, font=font, fill=(210, 210, 210))
        for across, picture in enumerate(pictures):
            small = Image.fromarray(picture).resize((_WIDTH, height))
            canvas.paste(small, (across * (_WIDTH + 6), top + 18))
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.save(path)
