"""ONNX Runtime on the CPU, in float32 and quantised after training. Imports no torch."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from backend_ways.frames import Arrays, read_frames
from backend_ways.known import NETWORKS


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


class Way:
    """The networks in ONNX Runtime."""

    def __init__(self, way: str, folder: Path, model: Path | None, threads: list[int]) -> None:
        self._sessions: dict[tuple[str, int], Any] = {}
        self._given: dict[str, Arrays] = {}
        for network in NETWORKS:
            seen, given = read_frames(folder, network)
            source = folder / f"{network}.onnx"
            if way.endswith("int8"):
                source = quantized(source, seen)
            for count in threads:
                options = ort.SessionOptions()
                options.intra_op_num_threads, options.inter_op_num_threads = count, 1
                options.log_severity_level = 3
                # Threads that wait by spinning would take the core of whatever else makes a frame.
                options.add_session_config_entry("session.intra_op.allow_spinning", "0")
                session = ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
                wanted = {entry.name for entry in session.get_inputs()}
                self._given[network] = {name: array for name, array in given.items() if name in wanted}
                self._sessions[network, count] = session
                for _ in range(2):
                    self.run(network, count)

    @property
    def made(self) -> list[str]:
        """The networks that this way can run."""
        return list(NETWORKS)

    def run(self, network: str, threads: int) -> Any:
        """One pass."""
        return self._sessions[network, threads].run(None, self._given[network])

    @staticmethod
    def arrays(result: Any) -> list[npt.NDArray[np.float32]]:
        """What a pass gave."""
        return [np.asarray(x, np.float32) for x in result]
