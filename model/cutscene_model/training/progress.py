"""What a training run keeps: its checkpoint, its averaged weights, its log, its learning-rate schedule."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cutscene_model.training.optimizer import MuonAdam


class Average:
    """Exponential moving average of a module's weights; short at first, so that early samples are not stale."""

    def __init__(self, module: nn.Module, decay: float = 0.994) -> None:
        self._module, self._decay = module, decay
        self.steps = 0
        self.tensors = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self) -> None:
        """Takes the module's present weights in."""
        self.steps += 1
        weight = 1 - min(self._decay, (1 + self.steps) / (10 + self.steps))
        for name, value in self._module.state_dict().items():
            if value.is_floating_point():
                self.tensors[name].lerp_(value, weight)
            else:
                self.tensors[name].copy_(value)


def schedule(step: int, steps: int, warmup: int = 100, decay_from: float = 0.6) -> float:
    """Trapezoid: linear warm-up, flat, and linear to 2 % over the last part (arXiv 2405.18392)."""
    if step < warmup:
        return (step + 1) / warmup
    start = decay_from * steps
    return 1.0 if step < start else max(0.02, (steps - step) / max(steps - start, 1))


def save_checkpoint(path: Path, step: int, module: nn.Module, average: Average, optimizer: MuonAdam) -> None:
    """Writes everything needed to go on, atomically."""
    tensors: dict[str, Tensor] = {f"module.{k}": v for k, v in module.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.tensors.items()}
    tensors |= {f"optimizer.{k}": v for k, v in optimizer.tensors().items()}
    temporary = path.with_suffix(".tmp")
    save_file({k: v.contiguous() for k, v in tensors.items()}, temporary, metadata={"step": str(step)})
    os.replace(temporary, path)


def load_checkpoint(
    path: Path, module: nn.Module, average: Average | None = None, optimizer: MuonAdam | None = None
) -> int:
    """Loads what ``save_checkpoint`` wrote and returns its step."""
    tensors = load_file(path)

    def part(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    module.load_state_dict(part("module."))
    step = read_step(path)
    if average is not None:
        average.tensors, average.steps = part("average."), step
    if optimizer is not None:
        optimizer.load_tensors(part("optimizer."))
    return step


def read_step(path: Path) -> int:
    """The step at which a checkpoint was written."""
    with safe_open(path, framework="pt") as file:
        return int(file.metadata()["step"])


def load_average(path: Path, module: nn.Module) -> None:
    """Loads a checkpoint's averaged weights into ``module``."""
    tensors = load_file(path)
    module.load_state_dict({k.removeprefix("average."): v for k, v in tensors.items() if k.startswith("average.")})


def load_weights(path: Path, module: nn.Module) -> None:
    """Loads what a checkpoint has of ``module``'s weights: the start of a run with parts that are new."""
    tensors = {k.removeprefix("module."): v for k, v in load_file(path).items() if k.startswith("module.")}
    strange = module.load_state_dict(tensors, strict=False).unexpected_keys
    if strange:
        raise ValueError(f"{path} has weights that this model has no place for: {', '.join(strange)}")


class Losses:
    """Means since the last report: a run that goes on, or has just been saved, has fewer steps for its next one."""

    def __init__(self, *names: str) -> None:
        self._names = names
        self._sums, self._steps = [0.0] * len(names), 0

    def add(self, *values: Tensor) -> None:
        """One step's, in the order of the names."""
        self._sums = [total + float(value.detach()) for total, value in zip(self._sums, values, strict=True)]
        self._steps += 1

    def report(self) -> list[tuple[str, float]]:
        """Each name with its mean, and a new start."""
        means = [(name, total / max(self._steps, 1)) for name, total in zip(self._names, self._sums, strict=True)]
        self._sums, self._steps = [0.0] * len(self._names), 0
        return means


class Log:
    """A line of JSON a report, to a file and to the terminal."""

    def __init__(self, path: Path) -> None:
        self._path, self._start = path, time.monotonic()

    def write(self, items: Iterable[tuple[str, Any]]) -> None:
        """Adds one line, with the seconds since the run's start."""
        plain = {"seconds": round(time.monotonic() - self._start, 1)}
        plain |= {key: round(value, 5) if isinstance(value, float) else value for key, value in items}
        line = json.dumps(plain)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        print(line, flush=True)
