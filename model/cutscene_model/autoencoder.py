"""The autoencoder: one 512 x 288 picture to 64 x 9 x 16 latents and back, frame by frame (32 x each way).

The way back sees the greybox's surface too, so that a latent need only hold what the scene state does not tell. Deep
compression with residual space-to-depth paths around the downsampling stages, which carry what the convolutions have
not yet learnt (DC-AE, arXiv 2410.10733).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cutscene_model.decoder import Decoder, Residual, mixed
from cutscene_model.sketch import Sketch
from cutscene_model.surface import Surface, SurfaceEncoder
from cutscene_model.volumes import Volumes


class _Down(nn.Module):
    """Halves height and width; the shortcut is the first of the space-to-depth channels."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inner * 4, outer, 1)
        self.mix = nn.Conv2d(outer, outer, 3, padding=1)
        self.outer = outer

    def forward(self, x: Tensor) -> Tensor:
        x = F.pixel_unshuffle(x, 2)
        return self.mix(F.silu(self.conv(x))) + x[:, : self.outer]


class Encoder(nn.Module):
    """Pictures (B, 3, H, W) in -1 to 1 to raw latents (B, C, H / 32, W / 32)."""

    def __init__(self, latent: int = 64, widths: tuple[int, int, int] = (96, 160, 256)) -> None:
        super().__init__()
        a, b, c = widths
        self.layers = nn.Sequential(
            nn.Conv2d(3 * 64, a, 1), Residual(a),
            _Down(a, b), Residual(b),
            _Down(b, c), Residual(c), Residual(c),
            nn.SiLU(), nn.Conv2d(c, latent, 1),
        )  # fmt: skip

    def forward(self, pictures: Tensor) -> Tensor:
        return self.layers(F.pixel_unshuffle(pictures, 8))


class Autoencoder(nn.Module):
    """Encoder, surface encoder, decoder, and the per-channel statistics that make latents zero-mean, unit-variance."""

    mean: Tensor
    std: Tensor

    def __init__(self, costumes: int, looks: int, volumes: Volumes, latent: int = 64) -> None:
        super().__init__()
        self.encoder = Encoder(latent)
        self.surface = SurfaceEncoder(costumes, looks, volumes)
        self.decoder = Decoder(latent)
        self.sketch = Sketch()
        self.register_buffer("mean", torch.zeros(1, latent, 1, 1))
        self.register_buffer("std", torch.ones(1, latent, 1, 1))

    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in -1 to 1 to normalised latents (B, C, H / 32, W / 32)."""
        return (self.encoder(pictures) - self.mean) / self.std

    def decode(self, latents: Tensor, surface: Surface) -> Tensor:
        """Normalised latents and what the greybox shows to pictures (B, 3, H, W), about -1 to 1, not clipped."""
        return self.decoder(latents * self.std + self.mean, surface)

    def sketched(self, surface: Surface) -> Tensor:
        """What the greybox shows as the draft tier draws it: pictures as of ``decode``."""
        return mixed(surface, *self.sketch(surface))
