"""OpenVINO on the CPU, in float32, in bfloat16 and quantised after training by NNCF. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov

from backend_ways.exported import ExportedWay
from backend_ways.frames import Arrays


def quantized(model: Any, network: str, frames: list[Arrays]) -> Any:
    """The network with weights and activations of its products in int8, ranges as seen on ``frames``."""
    import nncf

    kind = nncf.ModelType.TRANSFORMER if network == "denoiser" else None
    return nncf.quantize(
        model, nncf.Dataset(frames), preset=nncf.QuantizationPreset.MIXED, model_type=kind, subset_size=len(frames)
    )


class Way(ExportedWay):
    """The networks in OpenVINO."""

    def __init__(self, way: str, folder: Path, model: Path | None, threads: list[int]) -> None:
        self._core = ov.Core()
        super().__init__(way, folder, model, threads)

    def read(self, way: str, network: str, source: Path, seen: list[Arrays]) -> Any:
        """The network in memory."""
        read = self._core.read_model(source)
        if not way.endswith("int8"):
            return read
        wanted = _inputs(read)
        return quantized(read, network, [{n: array for n, array in frame.items() if n in wanted} for frame in seen])

    def opened(self, way: str, read: Any, threads: int, given: Arrays) -> Callable[[], Any]:
        """A request's."""
        compiled = self._core.compile_model(read, "CPU", {
            # What is not in int8 stays in float32: by itself it takes bfloat16 where the processor has that.
            "INFERENCE_PRECISION_HINT": "bf16" if way.endswith("bfloat16") else "f32",
            "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,
        })  # fmt: skip
        request = compiled.create_infer_request()
        for name in _inputs(read) & set(given):
            request.set_tensor(name, ov.Tensor(given[name]))

        def run() -> Any:
            request.infer()
            return request

        return run

    @staticmethod
    def arrays(result: Any) -> list[npt.NDArray[np.float32]]:
        """What a pass gave."""
        return [np.array(tensor.data, np.float32) for tensor in result.output_tensors]


def _inputs(model: Any) -> set[str]:
    return {name for entry in model.inputs for name in entry.names}
