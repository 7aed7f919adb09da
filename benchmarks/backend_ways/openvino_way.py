"""OpenVINO on the CPU, in float32, in bfloat16 and quantised after training by NNCF. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov

from backend_ways.frames import Arrays, read_frames
from backend_ways.known import NETWORKS


def quantized(model: Any, network: str, frames: list[Arrays]) -> Any:
    """The network with weights and activations of its products in int8, ranges as seen on ``frames``."""
    import nncf

    kind = nncf.ModelType.TRANSFORMER if network == "denoiser" else None
    return nncf.quantize(
        model, nncf.Dataset(frames), preset=nncf.QuantizationPreset.MIXED, model_type=kind, subset_size=len(frames)
    )


class Way:
    """The networks in OpenVINO."""

    def __init__(self, way: str, folder: Path, model: Path | None, threads: list[int]) -> None:
        core = ov.Core()
        self._requests: dict[tuple[str, int], Any] = {}
        for network in NETWORKS:
            seen, given = read_frames(folder, network)
            read = core.read_model(folder / f"{network}.onnx")
            wanted = {name for entry in read.inputs for name in entry.names}
            seen = [{name: array for name, array in frame.items() if name in wanted} for frame in seen]
            if way.endswith("int8"):
                read = quantized(read, network, seen)
            for count in threads:
                compiled = core.compile_model(read, "CPU", {
                    # What is not in int8 stays in float32: by itself it takes bfloat16 where the processor has that.
                    "INFERENCE_PRECISION_HINT": "bf16" if way.endswith("bfloat16") else "f32",
                    "INFERENCE_NUM_THREADS": count, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
                    "ENABLE_CPU_PINNING": False,
                })  # fmt: skip
                request = compiled.create_infer_request()
                for name in wanted & set(given):
                    request.set_tensor(name, ov.Tensor(given[name]))
                self._requests[network, count] = request
                for _ in range(2):
                    self.run(network, count)

    @property
    def made(self) -> list[str]:
        """The networks that this way can run."""
        return list(NETWORKS)

    def run(self, network: str, threads: int) -> Any:
        """One pass."""
        request = self._requests[network, threads]
        request.infer()
        return request

    @staticmethod
    def arrays(result: Any) -> list[npt.NDArray[np.float32]]:
        """What a pass gave."""
        return [np.array(tensor.data, np.float32) for tensor in result.output_tensors]
