"""Picture metrics: PSNR, SSIM, gradient energy; all on pictures in 0 to 1."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor


def psnr(result: Tensor, reference: Tensor, mask: Tensor | None = None) -> float:
    """Peak signal-to-noise ratio in dB of (3, H, W) pictures; only where ``mask`` (H, W) is true, if given."""
    error = (result - reference).square()
    mean = error.mean() if mask is None else error[:, mask].mean()
    return -10 * math.log10(max(float(mean), 1e-10))


def ssim(result: Tensor, reference: Tensor) -> float:
    """Structural similarity of (3, H, W) pictures, mean over RGB: 11 x 11 Gaussian, sigma 1.5 (Wang et al. 2004)."""
    mean_a, mean_b = _bell_mean(result), _bell_mean(reference)
    var_a = _bell_mean(result * result) - mean_a**2
    var_b = _bell_mean(reference * reference) - mean_b**2
    both = _bell_mean(result * reference) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    value = ((2 * mean_a * mean_b + c1) * (2 * both + c2)) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return float(value.mean())


def _bell_mean(picture: Tensor) -> Tensor:
    """(3, H, W) to (3, H - 10, W - 10): means under SSIM's bell, as sums of shifts, which on a CPU are far ahead of a
    convolution with one channel."""
    weights = [math.exp(-((place - 5) ** 2) / (2 * 1.5**2)) for place in range(11)]
    for axis in (1, 2):
        length = picture.shape[axis] - 10
        summed = picture.narrow(axis, 5, length) * (weights[5] / sum(weights))
        for place in range(5):
            pair = picture.narrow(axis, place, length) + picture.narrow(axis, 10 - place, length)
            summed.add_(pair, alpha=weights[place] / sum(weights))
        picture = summed
    return picture


def gradient_energy(picture: Tensor) -> float:
    """Mean squared difference of neighbouring pixels of a (3, H, W) picture: how much edge and texture it has."""
    across = (picture[:, :, 1:] - picture[:, :, :-1]).square().mean()
    down = (picture[:, 1:] - picture[:, :-1]).square().mean()
    return float(across + down)


def gradient_energy_ratio(result: Tensor, reference: Tensor) -> float:
    """How much of the reference's gradient energy the result has; a flat reference counts as one of 1e-9."""
    return gradient_energy(result) / max(gradient_energy(reference), 1e-9)


def energy_loss(result: Tensor, reference: Tensor, window: int = 16) -> Tensor:
    """By how much edges and textures of (B, 3, H, W) are stronger or weaker than the reference's, wherever they lie.

    L1 between root mean square gradients in windows. A picture that is right on average is smooth where it is not
    sure; this asks for as much contrast as there should be.
    """

    def strength(picture: Tensor) -> Tensor:
        across = (picture[..., :-1, 1:] - picture[..., :-1, :-1]).square()
        down = (picture[..., 1:, :-1] - picture[..., :-1, :-1]).square()
        return (F.avg_pool2d((across + down).mean(dim=1, keepdim=True), window) + 1e-6).sqrt()

    return (strength(result) - strength(reference)).abs().mean()


def gradient_loss(result: Tensor, reference: Tensor, scales: int = 3) -> Tensor:
    """L1 between picture gradients at several scales of (B, 3, H, W): keeps edges that L1 alone would smear."""
    total = result.new_zeros(())
    for scale in range(scales):
        if scale:
            result, reference = F.avg_pool2d(result, 2), F.avg_pool2d(reference, 2)
        error = result - reference
        total = (
            total
            + (error[..., 1:] - error[..., :-1]).abs().mean()
            + (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
        )
    return total
