"""ONNX Runtime on the CPU, in float32 and quantised after training. Imports no torch."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from backend_ways.exported import ExportedWay
from backend_ways.frames import Arrays


class _Reader:
    """Captured frames for the quantiser, one after another."""

    def __init__(self, frames: list[Arrays]) -> None:
        self._frames = iter(frames)

    def get_next(self) -> Arrays | None:
        """The next frame's inputs; None after the last."""
        return next(self._frames, None)


def quantized(source: Path, frames: list[Arrays]) -> Path:
    """Writes the network with weights and activations of its products in int8, ranges as seen on ``frames``."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(_Reader, CalibrationDataReader):  # type: ignore[misc]
        pass

    logging.getLogger().setLevel(logging.ERROR)  # it advises a step that the exporter has done already
    written = source.with_suffix(".ort-int8.onnx")
    quantize_static(
        source, written, Reader(frames), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, op_types_to_quantize=["Conv", "MatMul", "Gemm"],
    )  # fmt: skip
    return written


class Way(ExportedWay):
    """The networks in ONNX Runtime."""

    def read(self, way: str, network: str, source: Path, seen: list[Arrays]) -> Path:
        """The file."""
        return quantized(source, seen) if way.endswith("int8") else source

    def opened(self, way: str, read: Path, threads: int, given: Arrays) -> Callable[[], Any]:
        """A session's."""
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        # Threads that wait by spinning would take the core of whatever else makes a frame.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = ort.InferenceSession(str(read), options, providers=["CPUExecutionProvider"])
        wanted = {entry.name for entry in session.get_inputs()}
        taken = {name: array for name, array in given.items() if name in wanted}
        return lambda: session.run(None, taken)

    @staticmethod
    def arrays(result: Any) -> list[npt.NDArray[np.float32]]:
        """What a pass gave."""
        return [np.asarray(x, np.float32) for x in result]
