"""Writes the model's networks as ONNX, in a process of its own: FOLDER [MODEL]. Then other ways need no torch."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path

import torch

from backend_ways.frames import read_frames
from backend_ways.networks import networks, tensors
from cutscene_model.loading import load_engine

OPSET = 20


def main() -> int:
    """Writes one file a network."""
    folder = Path(sys.argv[1])
    model = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    warnings.simplefilter("ignore")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    engine = load_engine(model, precision="float32")
    for network, module in networks(engine).items():
        given = read_frames(folder, network)[1]
        torch.onnx.export(
            module, tensors(network, given), folder / f"{network}.onnx", input_names=list(given), dynamo=True,
            external_data=False, opset_version=OPSET, verbose=False,
        )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
