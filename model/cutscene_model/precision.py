"""In which number format layers compute: those of the surface, the faces, the decoder, and the denoiser's products.

A layer in bfloat16 takes half the time where the processor multiplies such numbers, and several times as long where it
does not. The memory, and the sums that become latents, are always computed in float32.
"""

from __future__ import annotations

import torch

from cutscene_model.autoencoder import Autoencoder
from cutscene_model.denoiser import Denoiser
from cutscene_model.engine import PRECISIONS


def picture_dtype(precision: str, device: torch.device) -> torch.dtype:
    """What ``precision`` means on ``device``: "auto" is bfloat16 where that is fast. Raises ``ValueError``."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision: {precision!r} is not one of {', '.join(PRECISIONS)}")
    if precision == "auto":
        return torch.bfloat16 if _multiplies_bfloat16(device) else torch.float32
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def autocast() -> torch.autocast:
    """Training's arithmetic on the CPU: products in bfloat16 where that is fast, which takes two thirds of the time."""
    fast = _multiplies_bfloat16(torch.device("cpu"))
    return torch.autocast("cpu", torch.bfloat16, enabled=fast)


def _multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def set_picture_dtype(autoencoder: Autoencoder, denoiser: Denoiser, dtype: torch.dtype) -> None:
    """Converts the layers that run once a frame. Colours stay float32: eight bits of mantissa would show as bands."""
    surface = autoencoder.surface
    for part in (surface.enter, surface.shrink, surface.faces, autoencoder.decoder, autoencoder.sketch):
        part.to(dtype)
    denoiser.set_product_dtype(dtype)
