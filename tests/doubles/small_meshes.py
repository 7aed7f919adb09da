"""Binary glTF files of a cube or two, as a game's tools would export them."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cutscene_model.scene import JOINTS
from small_scenes import actor

CUBE = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32)
SIDES = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4],
     [1, 5, 7], [1, 7, 3]], np.uint16
)  # fmt: skip


RIG = {name: f"rig_{name}" for name in JOINTS}


def write_glb(
    path: Path,
    positions: np.ndarray,
    triangles: np.ndarray,
    rig: Mapping[str, str] | None = None,
    **more: object,
) -> Path:
    """A green mesh. With a ``rig``, names of the contract's joints, it is skinned to these, whole to the neck."""
    rest = actor().joints
    binds = np.tile(np.eye(4, dtype=np.float32), (len(JOINTS), 1, 1))
    binds[:, 3, :3] = -rest  # stored by columns
    count = len(positions)
    arrays: list[tuple[np.ndarray, int, str]] = [
        (positions.astype(np.float32), 5126, "VEC3"),
        (triangles.astype(np.uint16).reshape(-1, 1), 5123, "SCALAR"),
        (np.tile(np.array([2, 0, 0, 0], np.uint16), (count, 1)), 5123, "VEC4"),
        (np.tile(np.array([1, 0, 0, 0], np.float32), (count, 1)), 5126, "VEC4"),
        (binds.reshape(-1, 16), 5126, "MAT4"),
    ]
    binary, views, accessors = b"", [], []
    for values, kind, form in arrays:
        views.append({"buffer": 0, "byteOffset": len(binary), "byteLength": values.nbytes})
        accessors.append({"bufferView": len(views) - 1, "componentType": kind, "type": form, "count": len(values)})
        binary += values.tobytes() + b"\0" * (-values.nbytes % 4)
    attributes = {"POSITION": 0} | ({"JOINTS_0": 2, "WEIGHTS_0": 3} if rig else {})
    nodes: list[dict[str, object]] = [{"name": "body", "mesh": 0} | ({"skin": 0} if rig else {})]
    nodes += [{"name": (rig or RIG)[name]} for name in JOINTS]
    document = {
        "nodes": nodes, "accessors": accessors, "bufferViews": views, "buffers": [{"byteLength": len(binary)}],
        "meshes": [{"primitives": [{"attributes": attributes, "indices": 1, "material": 0}]}],
        "materials": [{"pbrMetallicRoughness": {"baseColorFactor": [0, 1, 0, 1]}}],
        "skins": [{"joints": list(range(1, 1 + len(JOINTS))), "inverseBindMatrices": 4}], **more,
    }  # fmt: skip
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(binary), 0x4E4942) + binary
    path.write_bytes(struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks)
    return path
