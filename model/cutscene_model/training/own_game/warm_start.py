"""The start of an adaptation: a released model's weights under another vocabulary.

Whatever does not belong to a name is taken over as it is. Of what does, names that both know keep their rows, a new
name starts as the one it is said to be like, and any other as the mean of those that were trained. Where the model has
no shape of a look, its plain colour is read off the captured pictures, for their light is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from cutscene_model.autoencoder import Autoencoder
from cutscene_model.faces import MARK_CELLS, UNKNOWN_SKULL
from cutscene_model.loading import AUTOENCODER_FILE, DENOISER_FILE
from cutscene_model.manifest import Manifest
from cutscene_model.scene import EMOTIONS, MAX_CAST
from cutscene_model.surface import LIGHT, SlotEncoder
from cutscene_model.training.denoiser_training import Both
from cutscene_model.training.prepared import GRID, PreparedFrames
from cutscene_model.vocabulary import Vocabulary
from cutscene_model.volumes import Volumes

_COSTUME_ROWS = ("surface.slots.costume.weight", "surface.faces.wearer.weight")
_SKULLS, _MARKED = "surface.faces.skulls", "surface.faces.marked"
_HEADGEAR_ROWS = ("surface.slots.headgear.weight",)  # two a costume: without and with
_LOOK_ROWS = ("surface.slots.look.weight",)
SAMPLED = 200  # frames whose pictures tell plain colours
LEAST_CELLS = 30  # of one look, for its colour to be believed
_LIT = 0.15  # irradiance below which a pixel tells nothing of what it falls on


def source_rows(names: tuple[str, ...], known: tuple[str, ...], like: Mapping[str, str]) -> list[int | None]:
    """Which row of the old table each new name starts from; None: the mean of all. Row 0 is "nobody" in both."""
    rows: list[int | None] = []
    for name in names:
        model = name if name in known else like.get(name)
        if model is not None and model not in known:
            raise ValueError(f"{name} is said to be like {model!r}, which is not one of {', '.join(known)}")
        rows.append(None if model is None else known.index(model))
    return rows


def remapped(table: Tensor, rows: list[int | None], each: int = 1) -> Tensor:
    """An embedding with ``each`` rows a name, the first ``each`` for "nobody", for other names."""
    blocks = table.reshape(-1, each, table.shape[1])
    mean = blocks[1:].mean(dim=0)
    return torch.cat([blocks[0], *(mean if row is None else blocks[1 + row] for row in rows)])


def known_skulls(table: Tensor, names: tuple[str, ...], known: tuple[str, ...]) -> Tensor:
    """``FaceEncoder.skulls`` for other names: only who bears a name of the base has its skull, whoever is like whom."""
    skulls = torch.full((1 + len(names), *table.shape[1:]), UNKNOWN_SKULL, dtype=torch.int16)
    for row, name in enumerate(names, start=1):
        if name in known:
            skulls[row] = table[1 + known.index(name)].to(torch.int16)
    return skulls


def warm_model(
    directory: Path, manifest: Manifest, vocabulary: Vocabulary, volumes: Volumes, like: Mapping[str, str]
) -> Both:
    """The model in ``directory`` with ``volumes`` and the names of ``vocabulary``. Raises ``ValueError``."""
    costumes = source_rows(vocabulary.costumes, manifest.costumes, like)
    looks = source_rows(vocabulary.looks, manifest.looks, like)
    state = {name: value.float() for name, value in load_file(directory / AUTOENCODER_FILE).items()}
    state |= {name: remapped(state[name], costumes) for name in _COSTUME_ROWS}
    state[_SKULLS] = known_skulls(state[_SKULLS], vocabulary.costumes, manifest.costumes)
    # Where the base's faces are marked says nothing of other wearers' once they learn; an export finds it anew.
    state[_MARKED] = torch.ones(1 + len(vocabulary.costumes), len(EMOTIONS), MARK_CELLS, MARK_CELLS)
    state |= {name: remapped(state[name], costumes, 2) for name in _HEADGEAR_ROWS}
    state |= {name: remapped(state[name], looks) for name in _LOOK_ROWS}
    model = Both(Autoencoder(*vocabulary.sizes, volumes, manifest.latent_shape[0]))
    _take_over(model.autoencoder, state)
    denoiser = load_file(directory / DENOISER_FILE)
    _take_over(model.denoiser, {name: value.float() for name, value in denoiser.items()})
    return model


def _take_over(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Loads what fits, and says what does not: a base of another version of the networks may lack something."""
    own = module.state_dict()
    fitting = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    module.load_state_dict(fitting, strict=False)
    if fresh := [name for name in own if name not in fitting]:
        print(f"{type(module).__name__}: the base has nothing for {', '.join(fresh)}: these start fresh")


# ---- plain colours --------------------------------------------------------------------------------------------------


@torch.inference_mode()
def plain_colors(frames: PreparedFrames, sampled: int = SAMPLED) -> dict[tuple[str, int], npt.NDArray[np.float32]]:
    """Linear colours (3,) of what has no shape volume, by ("costume" or "look", row): the median of some frames."""
    seen: dict[tuple[str, int], list[npt.NDArray[np.float32]]] = {}
    for index in np.linspace(0, len(frames) - 1, min(sampled, len(frames))).astype(int):
        item = frames.crops(np.asarray([index]), np.random.default_rng(0), GRID)
        slot, sample = item.greybox.slot[0].numpy(), item.greybox.sample[0].numpy()
        light = 2 * item.greybox.field[0, LIGHT].permute(1, 2, 0).numpy()
        shown = (item.pictures[0].permute(1, 2, 0)[::2, ::2].numpy() + 1) / 2
        linear = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
        told = (slot > 0) & (sample < 0) & (light.min(axis=-1) > _LIT) & (shown.max(axis=-1) < 0.98)
        for number in np.unique(slot[told]):
            kind = "costume" if number <= MAX_CAST else "look"
            row = int(getattr(item.anchors, kind)[0, number])
            where = told & (slot == number)
            seen.setdefault((kind, row), []).append((linear[where] / light[where])[::4].astype(np.float32))
    return {
        key: np.median(np.concatenate(values), axis=0)
        for key, values in seen.items()
        if sum(map(len, values)) >= LEAST_CELLS
    }


def fit_plain_colors(
    autoencoder: Autoencoder, frames: PreparedFrames, colors: Mapping[tuple[str, int], npt.NDArray[np.float32]]
) -> None:
    """Moves the rows of costumes and looks so that what has no shape has its ``colors``; little else changes."""
    slots, plain = autoencoder.surface.slots, autoencoder.surface.plain
    classes = _classes(frames)
    tables = {"costume": slots.costume, "look": slots.look}
    for (kind, row), color in colors.items():
        target = torch.logit(torch.from_numpy(color).clamp(0.01, 0.99))
        table = tables[kind]
        change = torch.zeros(table.weight.shape[1], requires_grad=True)
        base = _before_mixing(slots, kind, row, classes.get(row, 1)).detach()
        optimizer = torch.optim.Adam([change], 0.02)
        for _ in range(200):
            x = base + change
            error = (plain(x + slots.mix(x)) - target).square().sum() + 0.01 * change.square().sum()
            optimizer.zero_grad()
            (gradient,) = torch.autograd.grad(error, [change])
            change.grad = gradient
            optimizer.step()
        with torch.no_grad():
            table.weight[row] += change.detach()


def _before_mixing(slots: SlotEncoder, kind: str, row: int, element_class: int) -> Tensor:
    """What the slot encoder adds up for an untinted costume with its headgear on, or a look of a class."""
    costume, look, headgear = (row, 0, 2 * row + 1) if kind == "costume" else (0, row, 0)
    return (
        slots.costume.weight[costume]
        + slots.headgear.weight[headgear]
        + slots.element_class.weight[0 if kind == "costume" else element_class]
        + slots.look.weight[look]
        + slots.tint.bias
    )


def _classes(frames: PreparedFrames) -> dict[int, int]:
    """A class that each look's row is used with; most looks have one only."""
    found: dict[int, int] = {}
    for index in range(0, len(frames), max(1, len(frames) // SAMPLED)):
        anchors = frames.crops(np.asarray([index]), np.random.default_rng(0), (2, 2)).anchors
        found |= dict(zip(anchors.look[0].tolist(), anchors.element_class[0].tolist(), strict=True))
    return found
