"""Greyboxes and anchor tables as batches of tensors on a device."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from cutscene_model.anchors import AnchorTable
from cutscene_model.greybox import Greybox
from cutscene_model.surface import AnchorBatch, GreyboxBatch


def greybox_batch(greyboxes: list[Greybox], device: torch.device) -> GreyboxBatch:
    """B control maps."""

    def stacked(name: str) -> torch.Tensor:
        return _stacked([getattr(greybox, name) for greybox in greyboxes], device)

    return GreyboxBatch(
        stacked("slot"),
        stacked("part"),
        stacked("sample"),
        stacked("field"),
        stacked("actors"),
        stacked("globals"),
        stacked("viewpoints"),
        stacked("sheet"),
    )


def anchor_batch(tables: list[AnchorTable], device: torch.device) -> AnchorBatch:
    """B anchor tables, indices widened to int64."""

    def stacked(name: str) -> torch.Tensor:
        return _stacked([getattr(table, name) for table in tables], device)

    return AnchorBatch(
        stacked("costume").long(),
        stacked("headgear").long(),
        stacked("element_class").long(),
        stacked("look").long(),
        stacked("tint"),
    )


def _stacked(arrays: list[npt.NDArray[np.generic]], device: torch.device) -> torch.Tensor:
    """One tensor of several arrays, in torch's own memory.

    Numpy aligns to 16 bytes, torch to 64, and how MKL rounds may depend on it (oneMKL's notes on conditional numerical
    reproducibility): a tensor over numpy's memory could differ from run to run.
    """
    return torch.stack([torch.from_numpy(array) for array in arrays]).to(device)
