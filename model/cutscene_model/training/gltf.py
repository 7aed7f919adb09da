"""Reads binary glTF files into plain numpy meshes, skeletons and clips.

Written here rather than taken from a loader because drawing, joints and the client's motion library must come from the
very same numbers, and because loaders merge, rename and re-orient what they load.
"""

from __future__ import annotations

import io
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cutscene_model.training.transforms import Array, affine, quaternion_matrix

_COMPONENTS = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


@dataclass(frozen=True, slots=True)
class Mesh:
    """Triangles of one node, in that node's frame (bind space when skinned)."""

    positions: npt.NDArray[np.float32]  # (V, 3)
    normals: npt.NDArray[np.float32]  # (V, 3)
    uvs: npt.NDArray[np.float32]  # (V, 2), origin top left as in glTF
    triangles: npt.NDArray[np.int32]  # (T, 3)
    joints: npt.NDArray[np.int32] | None = None  # (V, 4) into the skin's joint list
    weights: npt.NDArray[np.float32] | None = None  # (V, 4)

    def transformed(self, matrix: Array) -> Mesh:
        """The same triangles seen from the frame that ``matrix`` leads to."""
        linear = matrix[:3, :3]
        normals = self.normals @ np.linalg.inv(linear)  # the inverse transpose, applied to rows
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
        positions = self.positions @ linear.T + matrix[:3, 3]
        return Mesh(positions.astype(np.float32), normals.astype(np.float32), self.uvs, self.triangles)


def merge(meshes: list[Mesh]) -> Mesh:
    """One unskinned mesh of several."""
    offsets = np.cumsum([0] + [len(mesh.positions) for mesh in meshes[:-1]])
    return Mesh(
        np.concatenate([mesh.positions for mesh in meshes]),
        np.concatenate([mesh.normals for mesh in meshes]),
        np.concatenate([mesh.uvs for mesh in meshes]),
        np.concatenate([mesh.triangles + offset for mesh, offset in zip(meshes, offsets, strict=True)]).astype(
            np.int32
        ),
    )


class Glb:
    """One binary glTF file."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        self.path = path
        offset = 12
        while offset < len(data):
            length, kind = struct.unpack_from("<II", data, offset)
            chunk = data[offset + 8 : offset + 8 + length]
            offset += 8 + length
            if kind == 0x4E4F534A:
                self.document: dict[str, Any] = json.loads(chunk)
            else:
                self._binary = chunk
        self.nodes: list[dict[str, Any]] = self.document["nodes"]
        self.node_index = {node["name"]: index for index, node in enumerate(self.nodes)}
        self.parents = {child: index for index, node in enumerate(self.nodes) for child in node.get("children", ())}

    def accessor(self, index: int) -> npt.NDArray[Any]:
        """(N, width) values of an accessor."""
        spec = self.document["accessors"][index]
        view = self.document["bufferViews"][spec["bufferView"]]
        if "byteStride" in view:
            raise ValueError(f"{self.path.name}: interleaved accessors are not read")
        start = view.get("byteOffset", 0) + spec.get("byteOffset", 0)
        width = _WIDTHS[spec["type"]]
        dtype = _COMPONENTS[spec["componentType"]]
        return np.frombuffer(self._binary, dtype, spec["count"] * width, start).reshape(-1, width)

    def image(self) -> Image.Image:
        """The file's only texture."""
        view = self.document["bufferViews"][self.document["images"][0]["bufferView"]]
        start = view.get("byteOffset", 0)
        return Image.open(io.BytesIO(self._binary[start : start + view["byteLength"]])).convert("RGB")

    def local_matrix(self, node: int) -> Array:
        """A node's rest transform in its parent."""
        spec = self.nodes[node]
        rotation = quaternion_matrix(spec.get("rotation", (0.0, 0.0, 0.0, 1.0)))
        return affine(rotation, spec.get("translation", (0.0, 0.0, 0.0)), spec.get("scale", 1.0))

    def mesh(self, node: int) -> Mesh:
        """The mesh of a node, its primitives merged."""
        spec = self.nodes[node]
        primitives = self.document["meshes"][spec["mesh"]]["primitives"]
        if len(primitives) != 1:
            raise ValueError(f"{self.path.name}: expected one primitive in {spec['name']}")
        attributes = primitives[0]["attributes"]
        skinned = "JOINTS_0" in attributes
        return Mesh(
            self.accessor(attributes["POSITION"]).astype(np.float32),
            self.accessor(attributes["NORMAL"]).astype(np.float32),
            self.accessor(attributes["TEXCOORD_0"]).astype(np.float32),
            self.accessor(primitives[0]["indices"]).reshape(-1, 3).astype(np.int32),
            self.accessor(attributes["JOINTS_0"]).astype(np.int32) if skinned else None,
            self.accessor(attributes["WEIGHTS_0"]).astype(np.float32) if skinned else None,
        )

    def whole_mesh(self) -> Mesh:
        """All meshes of an unskinned file in the file's own frame."""
        meshes = []
        for index, node in enumerate(self.nodes):
            if "mesh" not in node:
                continue
            matrix = self.local_matrix(index)
            above = self.parents.get(index)
            while above is not None:
                matrix = self.local_matrix(above) @ matrix
                above = self.parents.get(above)
            meshes.append(self.mesh(index).transformed(matrix))
        return merge(meshes)
