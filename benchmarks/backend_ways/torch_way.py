"""torch's own ways: eager in two precisions, compiled by inductor, linear layers in int8."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from backend_ways.frames import read_frames
from backend_ways.known import NETWORKS
from backend_ways.networks import networks, tensors
from cutscene_model.decoder import Pointwise
from cutscene_model.loading import load_engine


class PointwiseLinear(nn.Module):
    """A ``Pointwise`` with its matrix in a linear layer, which is what torch quantises."""

    def __init__(self, layer: Pointwise) -> None:
        super().__init__()
        self.linear = nn.Linear(layer.in_channels, layer.out_channels, bias=layer.bias is not None)
        with torch.no_grad():
            self.linear.weight.copy_(layer.weight.flatten(1))
            if layer.bias is not None:
                self.linear.bias.copy_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to (B, D, h, w)."""
        made: Tensor = self.linear(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return made


def with_linear_layers(module: nn.Module) -> nn.Module:
    """Puts ``PointwiseLinear`` for every ``Pointwise`` in ``module``; returns it."""
    for name, child in module.named_children():
        if isinstance(child, Pointwise):
            setattr(module, name, PointwiseLinear(child))
        else:
            with_linear_layers(child)
    return module


def in_int8(module: nn.Module) -> nn.Module:
    """A copy with linear layers in int8, their inputs rounded as they come. Raises ``ValueError`` if it has none."""
    copied = with_linear_layers(copy.deepcopy(module)).float()
    if not any(isinstance(layer, nn.Linear) for layer in copied.modules()):
        raise ValueError("no linear layers")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.ao is to be replaced by torchao
        quantize: Any = torch.ao.quantization.quantize_dynamic
        quantized: nn.Module = quantize(copied, {nn.Linear}, dtype=torch.qint8)
    return quantized


class Way:
    """The networks of one model, in one of torch's ways."""

    def __init__(self, way: str, folder: Path, model: Path | None, threads: list[int]) -> None:
        engine = load_engine(model, threads=1, precision="float32")
        self._runs: dict[tuple[str, int], Callable[..., Any]] = {}
        self._given: dict[str, tuple[Tensor, ...]] = {}
        method, _, kind = way.rpartition("_")
        dtype = torch.bfloat16 if kind == "bfloat16" else torch.float32
        made = networks(engine)
        for network in NETWORKS:
            module = made[network]
            self._given[network] = tensors(network, read_frames(folder, network)[1])
            if kind == "int8":
                if network == "levels":
                    continue  # it has no linear layers
                module = in_int8(module)
            elif dtype != torch.float32 and network == "denoiser":
                module = copy.deepcopy(module)
                denoiser: Any = module.get_submodule("network")
                denoiser.set_product_dtype(dtype)  # as the engine has it: only the products
            elif dtype != torch.float32:
                module = copy.deepcopy(module).to(dtype)
                # Colours stay float32 until the network rounds them itself.
                stay = {"levels": (0,), "decoder": (0, 5, 6)}[network]
                self._given[network] = tuple(
                    x if i in stay else x.to(dtype) for i, x in enumerate(self._given[network])
                )
            for count in threads:
                torch.set_num_threads(count)
                run: Callable[..., Any] = module
                if method == "compile":
                    # A copy each, for inductor writes the number of threads into the code.
                    run = torch.compile(copy.deepcopy(module), dynamic=False, options={"freezing": True})
                self._runs[network, count] = run
                for _ in range(2):
                    self.run(network, count)

    @property
    def made(self) -> list[str]:
        """The networks that this way can run."""
        return list(dict.fromkeys(network for network, _ in self._runs))

    def run(self, network: str, threads: int) -> Any:
        """One pass."""
        torch.set_num_threads(threads)
        with torch.no_grad():
            return self._runs[network, threads](*self._given[network])

    @staticmethod
    def arrays(result: Any) -> list[npt.NDArray[np.float32]]:
        """What a pass gave."""
        return [np.ascontiguousarray(x.float().numpy()) for x in result]
