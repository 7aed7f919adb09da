"""The generated code of the contract is what its .proto files generate, byte for byte."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROTO = ROOT / "proto"


def test_generated_code_is_up_to_date(tmp_path: Path) -> None:
    sources = sorted(path.relative_to(PROTO).as_posix() for path in PROTO.rglob("*.proto"))
    assert sources
    outputs = [f"--{kind}={tmp_path}" for kind in ("python_out", "pyi_out", "grpc_python_out")]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", "-I", str(PROTO), *outputs, *sources], check=True)
    generated = {path.relative_to(tmp_path) for path in tmp_path.rglob("*_pb2*.py*")}
    committed = {path.relative_to(PROTO) for path in PROTO.rglob("*_pb2*.py*") if "__pycache__" not in path.parts}
    assert generated == committed, "run `make proto`"
    for name in sorted(generated):
        assert (tmp_path / name).read_bytes() == (PROTO / name).read_bytes(), f"{name} has drifted: run `make proto`"
