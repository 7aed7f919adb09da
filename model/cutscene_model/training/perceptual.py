"""LPIPS, where somebody has its weights at hand: a distance of deep features that agrees with what people see.

Version 0.1 on AlexNet (Zhang et al., CVPR 2018, arXiv 1801.03924). The weights are not ours and are never fetched: they
are read from a local safetensors file with the names that the authors' own module gives them, written once by

    safetensors.torch.save_file(lpips.LPIPS(net="alex").state_dict(), "lpips-alex.safetensors")
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

_LAYERS = (  # the authors' name, kernel, stride, padding, whether a pool comes before; channels in and out
    ("net.slice1.0", 11, 4, 2, False, 3, 64),
    ("net.slice2.3", 5, 1, 2, True, 64, 192),
    ("net.slice3.6", 3, 1, 1, True, 192, 384),
    ("net.slice4.8", 3, 1, 1, False, 384, 256),
    ("net.slice5.10", 3, 1, 1, False, 256, 256),
)


class Lpips:
    """Called with a result and its reference, (3, H, W) in 0 to 1, gives their distance; 0 for equal pictures."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        """Raises ``ValueError`` where a tensor is missing or of another shape."""
        self._tensors = {}
        for name, shape in expected_shapes().items():
            if name not in tensors or tuple(tensors[name].shape) != shape:
                found = tuple(tensors[name].shape) if name in tensors else "missing"
                raise ValueError(f"not LPIPS 0.1 on AlexNet: {name} is {found}, not {shape}")
            self._tensors[name] = tensors[name].float()

    @torch.inference_mode()
    def __call__(self, result: Tensor, reference: Tensor) -> float:
        total = 0.0
        pairs = self._features(torch.stack([result, reference]))
        for index, features in enumerate(pairs):
            directions = features / (features.square().sum(dim=1, keepdim=True).sqrt() + 1e-10)
            difference = (directions[0] - directions[1]).square()
            weights = self._tensors[f"lin{index}.model.1.weight"][0]
            total += float((difference * weights).sum(dim=0).mean())
        return total

    def _features(self, pictures: Tensor) -> list[Tensor]:
        tensors = self._tensors
        x = (pictures * 2 - 1 - tensors["scaling_layer.shift"]) / tensors["scaling_layer.scale"]
        features = []
        for name, _, stride, padding, pooled, _, _ in _LAYERS:
            if pooled:
                x = F.max_pool2d(x, 3, 2)
            x = F.relu(F.conv2d(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"], stride, padding))
            features.append(x)
        return features


def expected_shapes() -> dict[str, tuple[int, ...]]:
    """The tensors that ``Lpips`` reads; the authors' file has more."""
    shapes: dict[str, tuple[int, ...]] = {"scaling_layer.shift": (1, 3, 1, 1), "scaling_layer.scale": (1, 3, 1, 1)}
    for index, (name, kernel, _, _, _, below, above) in enumerate(_LAYERS):
        shapes |= {f"{name}.weight": (above, below, kernel, kernel), f"{name}.bias": (above,)}
        shapes[f"lin{index}.model.1.weight"] = (1, above, 1, 1)
    return shapes


def load_lpips(path: Path) -> Lpips:
    """Reads a local safetensors file. Raises ``ValueError`` for anything else: nothing is ever unpickled."""
    try:
        return Lpips(load_file(path))
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: not a safetensors file: {error}") from error
