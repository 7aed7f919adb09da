"""The model's networks as functions of plain tensors, which every exporter takes, and what frames give them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cutscene_model.decoder import Decoder
from cutscene_model.denoiser import Conditioning, Denoiser, Memory
from cutscene_model.scene import SceneState, Stage
from cutscene_model.surface import Lacking, Surface, SurfaceEncoder
from cutscene_model.transformer import TransformerEngine, TransformerTimeline

Arrays = dict[str, npt.NDArray[np.float32]]  # a network's inputs by name, in order


class DenoiserPass(nn.Module):
    """One pass of the denoiser over one frame."""

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.network = denoiser

    def forward(
        self, noisy: Tensor, level: Tensor, tokens: Tensor, scene: Tensor, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, ...]:
        """See ``Denoiser.forward``; the latent alone."""
        return (self.network(noisy, level, Conditioning(tokens, scene), Memory(keys, values)),)


class LevelsPass(nn.Module):
    """The surface's feature levels."""

    def __init__(self, surface: SurfaceEncoder) -> None:
        super().__init__()
        self.network = surface

    def forward(self, cells: Tensor) -> tuple[Tensor, ...]:
        """See ``SurfaceEncoder.levels``."""
        return self.network.levels(cells)


class DecoderPass(nn.Module):
    """The decoder's terms: all of it but its last step, which is no network."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.network = decoder

    def forward(
        self,
        latents: Tensor,
        level0: Tensor,
        level1: Tensor,
        level2: Tensor,
        level3: Tensor,
        shaded: Tensor,
        lacking: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """See ``Decoder.terms``; raw latents. ``lacking`` (B, 48, rows, columns) is of all blocks."""
        background = torch.zeros(len(latents), 3)  # which the last step reads
        pixels = None if lacking is None else Lacking(lacking.permute(0, 2, 3, 1).flatten(0, 2))
        return self.network.terms(latents, Surface(shaded, background, (level0, level1, level2, level3), pixels))


def networks(engine: TransformerEngine) -> dict[str, nn.Module]:
    """The three networks of an engine, sharing its weights."""
    coder = engine.autoencoder
    return {
        "denoiser": DenoiserPass(engine.denoiser).eval(),
        "levels": LevelsPass(coder.surface).eval(),
        "decoder": DecoderPass(coder.decoder).eval(),
    }


def tensors(network: str, arrays: Arrays) -> tuple[Tensor, ...]:
    """Inputs in torch's own memory and in the order of channels in which the engine has them."""
    made = [torch.tensor(array) for array in arrays.values()]
    if network == "denoiser":
        return tuple(made)
    return tuple(x.contiguous(memory_format=torch.channels_last) for x in made)


def capture(
    engine: TransformerEngine, stage: Stage, states: Sequence[SceneState], tier: str, window: int
) -> tuple[list[dict[str, Arrays]], TransformerTimeline, Any]:
    """What each network is given for the frames of ``states`` after the first ``window``.

    Also the timeline, to be played on, and what was prepared for the last frame.
    """
    timeline = engine.begin(stage, 0)
    coder, frames = engine.autoencoder, []
    prepared: Any = None
    for number, state in enumerate(states):
        with _noted(engine) as seen:
            prepared = timeline.prepare(state, tier)
            latent = timeline.draw(prepared, tier).latent
        if number < window:
            continue
        noisy, level, conditioning, memory = seen["denoiser"][:4]
        surface = prepared.surface
        given = [torch.tensor(latent)[None].float() * coder.std + coder.mean, *surface.levels, surface.shaded]
        # Of all blocks, for exported networks want one shape, and how many lack something differs by the frame.
        given += [] if surface.lacking is None else [surface.lacking.everywhere(1, *surface.levels[0].shape[2:])]
        names = ("latents", "level0", "level1", "level2", "level3", "shaded", "lacking")
        frames.append(
            {
                "denoiser": _arrays(
                    noisy=noisy, level=level, tokens=conditioning.tokens, scene=conditioning.scene,
                    keys=memory.keys, values=memory.values,
                ),
                "levels": _arrays(cells=seen["levels"][0]),
                "decoder": _arrays(**dict(zip(names, given, strict=False))),
            }
        )  # fmt: skip
    return frames, timeline, prepared


def _arrays(**given: Tensor) -> Arrays:
    return {name: np.ascontiguousarray(x.float().numpy()) for name, x in given.items()}


@contextmanager
def _noted(engine: TransformerEngine) -> Iterator[dict[str, tuple[Any, ...]]]:
    """What denoiser and surface were called with, of each the last call."""
    seen: dict[str, tuple[Any, ...]] = {}
    surface = engine.autoencoder.surface
    levels: Any = surface.levels

    def noted(cells: Tensor, **options: bool) -> tuple[Tensor, ...]:
        seen["levels"] = (cells.clone(),)
        made: tuple[Tensor, ...] = levels(cells, **options)
        return made

    hook = engine.denoiser.register_forward_pre_hook(lambda _module, given: seen.update(denoiser=given))
    surface.levels = noted
    try:
        yield seen
    finally:
        hook.remove()
        del surface.levels


def write_frames(folder: Path, frames: Sequence[dict[str, Arrays]]) -> None:
    """One file a network and frame, for the processes of the ways; the last frame is the one that is timed."""
    for number, frame in enumerate(frames):
        for network, arrays in frame.items():
            np.savez(folder / f"{network}-{number}.npz", **arrays)  # type: ignore[arg-type]
