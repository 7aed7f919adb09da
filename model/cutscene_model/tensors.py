"""Greyboxes and anchor tables as batches of tensors on a device."""

from __future__ import annotations

import numpy as np
import torch

from cutscene_model.anchors import AnchorTable
from cutscene_model.greybox import Greybox
from cutscene_model.surface import AnchorBatch, GreyboxBatch


def greybox_batch(greyboxes: list[Greybox], device: torch.device) -> GreyboxBatch:
    """B control maps."""
    return GreyboxBatch(
        torch.from_numpy(np.stack([g.slot for g in greyboxes])).to(device),
        torch.from_numpy(np.stack([g.part for g in greyboxes])).to(device),
        torch.from_numpy(np.stack([g.sample for g in greyboxes])).to(device),
        torch.from_numpy(np.stack([g.field for g in greyboxes])).to(device),
        torch.from_numpy(np.stack([g.actors for g in greyboxes])).to(device),
        torch.from_numpy(np.stack([g.globals for g in greyboxes])).to(device),
    )


def anchor_batch(tables: list[AnchorTable], device: torch.device) -> AnchorBatch:
    """B anchor tables, indices widened to int64."""

    def stacked(name: str) -> torch.Tensor:
        return torch.from_numpy(np.stack([getattr(table, name) for table in tables])).to(device)

    return AnchorBatch(
        stacked("costume").long(),
        stacked("headgear").long(),
        stacked("element_class").long(),
        stacked("look").long(),
        stacked("tint"),
    )
