"""From noise to a clean latent in a few steps of the flow that the denoiser was trained on."""

from __future__ import annotations

import torch
from torch import Tensor

from cutscene_model.denoiser import Conditioning, Denoiser, Memory


def levels(steps: int) -> list[float]:
    """Noise levels at which the denoiser is asked, from pure noise down: 1, then even steps that end above 0."""
    return [1 - step / steps for step in range(steps)]


def sample(denoiser: Denoiser, noise: Tensor, conditioning: Conditioning, memory: Memory, steps: int) -> Tensor:
    """Deterministic Euler steps of the straight flow; the last prediction is the latent. Shapes (B, C, 9, 16)."""
    x, level = noise, 1.0
    clean = torch.zeros_like(noise)
    for index, level in enumerate(schedule := levels(steps)):
        clean = denoiser(x, torch.full((len(x),), level, device=x.device), conditioning, memory)
        following = schedule[index + 1] if index + 1 < steps else 0.0
        x = clean + (x - clean) * (following / level)
    return clean
