"""Which ways there are and what each needs. Imports nothing of them."""

from __future__ import annotations

import importlib.util
import os
import shutil
from dataclasses import dataclass

NETWORKS = ("denoiser", "levels", "decoder")
REFERENCE = "eager_float32"
INSTALL = "pip install -e '.[client,server,backends]'"
_EXPORT = ("onnx", "onnxscript")


@dataclass(frozen=True, slots=True)
class Kind:
    """What runs a way, and what must be installed for it."""

    module: str  # of this package
    needs: tuple[str, ...] = ()  # modules
    compiler: bool = False  # whether a C++ compiler is needed

    @property
    def reads_onnx(self) -> bool:
        """Whether the networks have to be written as ONNX first."""
        return "onnx" in self.needs


WAYS: dict[str, Kind] = {
    REFERENCE: Kind("torch_way"),
    "eager_bfloat16": Kind("torch_way"),
    "compile_float32": Kind("torch_way", compiler=True),
    "compile_bfloat16": Kind("torch_way", compiler=True),
    "dynamic_int8": Kind("torch_way"),
    "onnxruntime_float32": Kind("onnxruntime_way", (*_EXPORT, "onnxruntime")),
    "onnxruntime_int8": Kind("onnxruntime_way", (*_EXPORT, "onnxruntime")),
    "openvino_float32": Kind("openvino_way", (*_EXPORT, "openvino")),
    "openvino_bfloat16": Kind("openvino_way", (*_EXPORT, "openvino")),
    "openvino_int8": Kind("openvino_way", (*_EXPORT, "openvino", "nncf")),
}


def lacking(way: str) -> str | None:
    """Why a way cannot be run here, and what to do about it; None if it can."""
    kind = WAYS[way]
    missing = [module for module in kind.needs if importlib.util.find_spec(module) is None]
    if missing:
        return f"{', '.join(missing)} not installed: {INSTALL}"
    if kind.compiler and not any(map(shutil.which, (os.environ.get("CXX") or "c++", "g++", "clang++"))):
        return "no C++ compiler: install g++, or name one in CXX"
    return None
