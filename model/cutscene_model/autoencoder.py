"""The autoencoder: one 512 x 288 picture to 64 x 9 x 16 latents and back, frame by frame (32 x each way).

Deep compression with a light decoder, since only the decoder is in the playing loop; residual space-to-depth paths
around the down- and upsampling stages carry what the convolutions have not yet learnt (DC-AE, arXiv 2410.10733).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _Residual(nn.Module):
    """Two 3 x 3 convolutions around a SiLU, added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.silu(self.first(F.silu(x))))


class _Down(nn.Module):
    """Halves height and width; the shortcut averages groups of space-to-depth channels."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inner * 4, outer, 1)
        self.mix = nn.Conv2d(outer, outer, 3, padding=1)
        self.outer = outer

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(F.silu(self.conv(F.pixel_unshuffle(x, 2)))) + _regroup(F.pixel_unshuffle(x, 2), self.outer)


class _Up(nn.Module):
    """Doubles height and width; the shortcut repeats channels before depth-to-space."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inner, outer * 4, 1)
        self.outer = outer

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(F.silu(x)) + _regroup(x, self.outer * 4), 2)


def _regroup(x: Tensor, channels: int) -> Tensor:
    """Averages or repeats channel groups so that (B, C, H, W) has ``channels`` channels; cuts or pads if neither."""
    have = x.shape[1]
    if have % channels == 0:
        grouped: Tensor = x.reshape(x.shape[0], channels, have // channels, *x.shape[2:])
        return grouped.mean(dim=2)
    if channels % have == 0:
        return x.repeat_interleave(channels // have, dim=1)
    return x[:, :channels] if have > channels else F.pad(x, (0, 0, 0, 0, 0, channels - have))


class Encoder(nn.Module):
    """Pictures (B, 3, H, W) in -1 to 1 to raw latents (B, C, H / 32, W / 32)."""

    def __init__(self, latent: int = 64, widths: tuple[int, int, int] = (96, 160, 256)) -> None:
        super().__init__()
        a, b, c = widths
        self.layers = nn.Sequential(
            nn.Conv2d(3 * 64, a, 1), _Residual(a),
            _Down(a, b), _Residual(b),
            _Down(b, c), _Residual(c), _Residual(c),
            nn.SiLU(), nn.Conv2d(c, latent, 1),
        )  # fmt: skip

    def forward(self, pictures: Tensor) -> Tensor:
        return self.layers(F.pixel_unshuffle(pictures, 8))


class Decoder(nn.Module):
    """Raw latents (B, C, h, w) to pictures (B, 3, 32 h, 32 w), about -1 to 1, not clipped."""

    def __init__(self, latent: int = 64, widths: tuple[int, int, int] = (192, 128, 64)) -> None:
        super().__init__()
        a, b, c = widths
        self.layers = nn.Sequential(
            nn.Conv2d(latent, a, 3, padding=1), _Residual(a), _Residual(a),
            _Up(a, b), _Residual(b),
            _Up(b, c), _Residual(c),
            nn.SiLU(), nn.Conv2d(c, 3 * 64, 3, padding=1),
        )  # fmt: skip

    def forward(self, latents: Tensor) -> Tensor:
        return F.pixel_shuffle(self.layers(latents), 8)


class Autoencoder(nn.Module):
    """Encoder, decoder, and the per-channel statistics that make latents zero-mean and unit-variance."""

    mean: Tensor
    std: Tensor

    def __init__(self, latent: int = 64) -> None:
        super().__init__()
        self.encoder = Encoder(latent)
        self.decoder = Decoder(latent)
        self.register_buffer("mean", torch.zeros(1, latent, 1, 1))
        self.register_buffer("std", torch.ones(1, latent, 1, 1))

    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in -1 to 1 to normalised latents (B, C, H / 32, W / 32)."""
        return (self.encoder(pictures) - self.mean) / self.std

    def decode(self, latents: Tensor) -> Tensor:
        """Normalised latents to pictures (B, 3, H, W), about -1 to 1, not clipped."""
        return self.decoder(latents * self.std + self.mean)
