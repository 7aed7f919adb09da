"""Muon for hidden weights, AdamW for the rest, in one optimiser whose state saves as plain tensors.

Muon orthogonalises the momentum of matrix-shaped weights (Jordan et al. 2024, kellerjordan.github.io/posts/muon); at
these sizes it reached in a quarter of the steps what AdamW did. ``torch.optim.Muon`` takes matrices only, and most
of the autoencoder is convolutions.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # quintic coefficients of the reference implementation
_EMBEDDINGS = ("costume", "headgear", "element_class", "look", "part", "place", "sink")
_OUTER = frozenset((*_EMBEDDINGS, "leave", "enter", "choose", "detail"))  # with first and last layers


def orthogonalised(matrix: Tensor, steps: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrix to ``matrix`` (m, n), roughly: singular values end in 0.7 to 1.2.

    Every iterate is a polynomial in the Gram matrix times the start, so only square matrices of the smaller side are
    multiplied until the end: two to three times cheaper where the sides differ, as a convolution's do.
    """
    a, b, c = _NEWTON_SCHULZ
    x = matrix / (matrix.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    gram = x @ x.T
    eye = torch.eye(len(gram), dtype=x.dtype, device=x.device)
    product = eye
    for step in range(steps):
        factor = a * eye + b * gram + c * gram @ gram
        product = factor @ product
        if step + 1 < steps:
            gram = factor @ gram @ factor
    x = product @ x
    return x.T if tall else x


def is_hidden(name: str, parameter: nn.Parameter) -> bool:
    """Whether Muon suits it: a weight of two or more dimensions, not an embedding, a first or a last layer."""
    if parameter.ndim < 2 or min(parameter.shape[0], parameter.shape[1]) < 16:
        return False
    return not any(piece in _OUTER for piece in name.split("."))


class MuonAdam(torch.optim.Optimizer):
    """Two rules by parameter group; ``scale`` (0 to 1) multiplies both learning rates and is set by the schedule."""

    def __init__(
        self,
        named: Iterable[tuple[str, nn.Parameter]],
        muon_rate: float = 0.02,
        adam_rate: float = 2e-3,
        slowed: str = "",
        slowed_by: float = 0.3,
    ) -> None:
        """``slowed`` is a prefix of names whose rates are multiplied by ``slowed_by``: what was trained before."""
        groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
        self._named: dict[str, nn.Parameter] = {}
        for name, parameter in named:
            if parameter.requires_grad:
                self._named[name] = parameter
                factor = slowed_by if slowed and name.startswith(slowed) else 1.0
                groups.setdefault((is_hidden(name, parameter), factor), []).append(parameter)
        super().__init__(
            [
                {"params": members, "muon": muon, "rate": (muon_rate if muon else adam_rate) * factor}
                for (muon, factor), members in groups.items()
            ],
            {},
        )
        self.scale = 1.0

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """One update from the gradients at hand."""
        for group in self.param_groups:
            rate = group["rate"] * self.scale
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if group["muon"]:
                    self._muon(parameter, parameter.grad, rate)
                else:
                    self._adam(parameter, parameter.grad, rate)

    def _muon(self, parameter: Tensor, gradient: Tensor, rate: float) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter, memory_format=torch.contiguous_format)
        momentum = state["momentum"]
        momentum.lerp_(gradient, 0.05)
        update = gradient.lerp(momentum, 0.95).flatten(1)
        update = orthogonalised(update) * max(1.0, update.shape[0] / update.shape[1]) ** 0.5
        parameter.mul_(1 - 0.01 * rate)
        parameter.add_(update.reshape(parameter.shape), alpha=-rate)

    def _adam(self, parameter: Tensor, gradient: Tensor, rate: float) -> None:
        state = self.state[parameter]
        if not state:
            state["first"] = torch.zeros_like(parameter, memory_format=torch.contiguous_format)
            state["second"] = torch.zeros_like(parameter, memory_format=torch.contiguous_format)
            state["steps"] = torch.zeros(())
        state["steps"] += 1
        state["first"].lerp_(gradient, 0.1)
        state["second"].lerp_(gradient.square(), 0.01)
        steps = float(state["steps"])
        unbiased = state["first"] / (1 - 0.9**steps)
        parameter.sub_(rate * unbiased / ((state["second"] / (1 - 0.99**steps)).sqrt() + 1e-8))

    def tensors(self) -> dict[str, Tensor]:
        """The whole state, flat, for a safetensors file: ``PARAMETER.KEY``."""
        return {f"{name}.{key}": value for name, p in self._named.items() for key, value in self.state[p].items()}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """The inverse of ``tensors``. Parameters that only one of the two optimisers trains, since parts of the model
        were held then or are now, begin anew.
        """
        for place, value in tensors.items():
            name, _, key = place.rpartition(".")
            if name in self._named:
                self.state[self._named[name]][key] = value.clone()
