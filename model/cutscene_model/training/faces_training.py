"""Trains the painter of faces alone, against the stage's own brows, eyes and mouths seen from the front.

A face fills few pixels of a captured picture, and half of what it can say is rare there. Here every step sees many
whole faces in moods drawn at random, so that minutes do what hours of pictures would not.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from cutscene_model.faces import CENTER, REACH, SKULL_CELLS, SKULL_STEP, UNKNOWN_SKULL, FaceEncoder
from cutscene_model.greybox import ACTOR_CHANNELS
from cutscene_model.scene import EMOTIONS
from cutscene_model.training.face import FaceMesh
from cutscene_model.training.progress import schedule
from cutscene_model.vocabulary import COSTUMES

FACES, POINTS = 24, 1500  # a step
SIZE = 320  # pixels along a side of a face drawn as the target


def draw_face(face: FaceMesh, mood: tuple[int, float, float]) -> npt.NDArray[np.float32]:
    """(SIZE, SIZE, 4) linear colour and coverage of the face's marks, rows top down, over the painter's reach."""
    positions, _ = face.shaped(*mood)
    surface = face.surface()
    place = (positions[:, :2] - CENTER) / REACH
    pixels = np.stack([(place[:, 0] + 1) / 2, (1 - place[:, 1]) / 2], axis=1) * SIZE
    owner = Image.new("I", (SIZE, SIZE), -1)
    brush = ImageDraw.Draw(owner)
    # What lies further out from the skull covers what lies below; pieces of one height are drawn in their order.
    for triangle in surface.triangles:
        brush.polygon([(float(x), float(y)) for x, y in pixels[triangle]], fill=int(triangle[0]))
    index = np.asarray(owner)
    colors = np.concatenate([surface.paints[:, :3], np.zeros((1, 3), np.float32)])
    return np.concatenate([colors[index], (index >= 0)[..., None]], axis=-1).astype(np.float32)


def skulls(assets: Path) -> Tensor:
    """``FaceEncoder.skulls`` of the packs' costumes: the height fields that their marks are laid on."""
    shape = len(COSTUMES) + 1, SKULL_CELLS, SKULL_CELLS
    table = torch.full(shape, UNKNOWN_SKULL, dtype=torch.int16)
    for place, costume in enumerate(COSTUMES, start=1):
        heights = FaceMesh.for_costume(assets, costume).heights
        table[place] = torch.from_numpy(np.round(heights / SKULL_STEP).astype(np.int16))
    return table


def _batch(assets: Path, random: np.random.Generator) -> tuple[Tensor, ...]:
    """Places (n, 2), moods (n, ACTOR_CHANNELS), costumes (n,) and what is there (n, 4)."""
    places, moods, costumes, targets = [], [], [], []
    for _ in range(FACES):
        costume = int(random.integers(len(COSTUMES)))
        emotion = int(random.integers(len(EMOTIONS)))
        intensity = float(random.choice([1.0, random.random()]))
        mouth = float(random.choice([0.0, random.random()]))
        drawn = draw_face(FaceMesh.for_costume(assets, COSTUMES[costume]), (emotion, intensity, mouth))
        # Half of the points lie on the marks or beside them, for most of a face is bare.
        marks = np.argwhere(drawn[..., 3] > 0)
        near = marks[random.integers(0, len(marks), POINTS // 2)] + random.normal(0, 6, (POINTS // 2, 2))
        anywhere = random.uniform(0, SIZE, (POINTS - POINTS // 2, 2))
        pixels = np.clip(np.concatenate([near, anywhere]), 0, SIZE - 1).astype(int)
        mood = np.zeros(ACTOR_CHANNELS, np.float32)
        mood[emotion], mood[-1] = intensity, mouth
        across = (pixels[:, 1] + 0.5) / SIZE * 2 - 1
        up = 1 - (pixels[:, 0] + 0.5) / SIZE * 2
        places.append(np.stack([across, up], axis=1) * REACH)
        moods.append(np.broadcast_to(mood, (POINTS, ACTOR_CHANNELS)))
        costumes.append(np.full(POINTS, 1 + costume))
        targets.append(drawn[pixels[:, 0], pixels[:, 1]])
    return (
        torch.from_numpy(np.concatenate(places)).float(),
        torch.from_numpy(np.concatenate(moods)),
        torch.from_numpy(np.concatenate(costumes)),
        torch.from_numpy(np.concatenate(targets)),
    )


def train_faces(assets: Path, out: Path, steps: int, seed: int = 3, rate: float = 4e-3) -> float:
    """Trains and writes ``out``, going on from what is there.

    Returns the mean error of coverage over the last fifty steps, 0 to 1.
    """
    torch.manual_seed(seed)
    model = FaceEncoder(len(COSTUMES))
    if out.exists():
        model.load_state_dict(load_file(out))
    model.skulls.copy_(skulls(assets))
    optimizer = torch.optim.Adam(model.parameters(), betas=(0.9, 0.98))
    errors: list[float] = []
    with tqdm(range(steps), unit="step", desc="faces", mininterval=5.0) as bar:
        for step in bar:
            for group in optimizer.param_groups:
                group["lr"] = rate * schedule(step, steps, decay_from=0.3)
            place, mood, costume, target = _batch(assets, np.random.default_rng((seed, step)))
            paint = model.painted(place, model.mood(mood) + model.wearer(costume))
            covered = target[:, 3:]
            cover = (paint[:, 3:] - covered).abs()
            color = covered * (paint[:, :3] - target[:, :3].sqrt()).abs()
            loss = (cover + cover.square()).mean() + 2 * color.mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            errors = [*errors[-49:], float(cover.mean().detach())]
            bar.set_postfix(error=f"{np.mean(errors):.4f}", refresh=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, out)
    return float(np.mean(errors))
