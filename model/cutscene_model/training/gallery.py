"""Pictures that a report shows: each shot's middle, the worst frames, faces close up. Kept as JPEG files in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import simplejpeg
import torch
from PIL import Image

from cutscene_model.engine import Pixels
from cutscene_model.training.evaluation import PlayedFrame
from cutscene_model.training.scores import AUTOENCODER, FrameScore

JPEG_QUALITY = 88
ERROR_GAIN = 4  # an error of a quarter of the range is white
FACE_SIZE = 192  # pixels
SHOWN_FACES, SHOWN_WORST = 8, 4


@dataclass(frozen=True)
class Exhibit:
    """One frame in several forms, JPEG files by the name of each."""

    label: str
    kind: str  # of shot
    psnr_db: float
    pictures: dict[str, bytes]


@dataclass
class Gallery:
    """Looks at every scored frame, and keeps few. ``tier`` is whose pictures are shown."""

    tier: str
    middles: list[Exhibit] = field(default_factory=list)  # one of each shot
    worst: dict[tuple[int, int], Exhibit] = field(default_factory=dict)  # by performance and shot's start
    faces: list[tuple[int, Exhibit]] = field(default_factory=list)  # with the face's pixels, one of each shot and actor

    def see(self, played: PlayedFrame, figures: FrameScore, frames: range) -> None:
        """``frames`` are those of the shot that are played."""
        score = figures.pictures[self.tier]
        name = f"{figures.kind.replace('_', ' ')}, performance {figures.performance}, frame {figures.frame}"
        shot = figures.performance, played.shot.start
        if shot not in self.worst or score.psnr_db < self.worst[shot].psnr_db:
            self.worst[shot] = self._exhibit(name, played, figures)
        if played.frame == frames.start + len(frames) // 2:
            self.middles.append(self._exhibit(name, played, figures))
            for mask in played.regions.faces.values():
                crops = {who: _jpeg(_crop(picture, mask)) for who, picture in self._pictures(played).items()}
                self.faces.append((int(mask.sum()), Exhibit(name, figures.kind, score.face_psnr_db, crops)))

    def of_kinds(self) -> list[Exhibit]:
        """For each kind of shot the middle of the shot whose middle is of median quality."""
        chosen = []
        for kind in sorted({exhibit.kind for exhibit in self.middles}):
            some = sorted((e for e in self.middles if e.kind == kind), key=lambda exhibit: exhibit.psnr_db)
            chosen.append(some[len(some) // 2])
        return chosen

    def worst_frames(self) -> list[Exhibit]:
        """The worst, at most one of a shot, worst first."""
        return sorted(self.worst.values(), key=lambda exhibit: exhibit.psnr_db)[:SHOWN_WORST]

    def large_faces(self) -> list[Exhibit]:
        """The faces of most pixels."""
        return [exhibit for _, exhibit in sorted(self.faces, key=lambda face: -face[0])[:SHOWN_FACES]]

    def _pictures(self, played: PlayedFrame) -> dict[str, Pixels]:
        return {
            "reference": played.reference,
            "model": played.pictures[self.tier],
            "autoencoder": played.pictures[AUTOENCODER],
        }

    def _exhibit(self, label: str, played: PlayedFrame, figures: FrameScore) -> Exhibit:
        pictures = self._pictures(played)
        error = np.abs(pictures["model"].astype(np.int16) - pictures["reference"]) * ERROR_GAIN
        pictures[f"model's error, {ERROR_GAIN} times"] = np.minimum(error, 255).astype(np.uint8)
        files = {name: _jpeg(picture) for name, picture in pictures.items()}
        return Exhibit(label, figures.kind, figures.pictures[self.tier].psnr_db, files)


def _crop(picture: Pixels, mask: torch.Tensor) -> Pixels:
    """The square around a mask, a third wider but within the picture, at the size that faces are shown at."""
    height, width = mask.shape
    rows, columns = torch.where(mask)
    top, bottom, left, right = (int(value) for value in (rows.min(), rows.max(), columns.min(), columns.max()))
    side = min(round(1.33 * max(bottom - top, right - left, 8)), height, width)
    x = min(max((left + right - side) // 2, 0), width - side)
    y = min(max((top + bottom - side) // 2, 0), height - side)
    cut = Image.fromarray(picture).crop((x, y, x + side, y + side))
    return np.asarray(cut.resize((FACE_SIZE, FACE_SIZE), Image.Resampling.BICUBIC))


def _jpeg(picture: npt.NDArray[np.uint8]) -> bytes:
    encoded: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(picture), JPEG_QUALITY, "RGB", "444")
    return encoded
