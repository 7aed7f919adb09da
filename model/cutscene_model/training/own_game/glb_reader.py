"""Reads the meshes of any well-formed binary glTF file: triangles with colours, in the file's or the bind pose's frame.

``training.gltf`` reads the two packs that the shipped look comes from, and nothing else; here files are other people's.
What is not read (compressed, sparse or quantised geometry, textures outside of the file) is refused by name.
"""

from __future__ import annotations

import contextlib
import io
import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from cutscene_model.training.own_game.errors import MeshesError
from cutscene_model.training.transforms import Array, affine, quaternion_matrix

MAX_FILE = 256 << 20  # bytes
MAX_TRIANGLES = 200_000  # of a file: fitting takes time in proportion
TEXTURE = 1024  # pixels along a side of a texture that is read, at most
_MAGIC, _JSON, _BINARY = 0x46546C67, 0x4E4F534A, 0x004E4942
_TYPES = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_TRIANGLES = 4

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Triangles:
    """Some triangles of one material, corner by corner."""

    node: str  # the name of the node that they hang on
    corners: Floats  # (T, 3, 3) metres
    normals: Floats  # (T, 3, 3)
    uvs: Floats  # (T, 3, 2) origin top left
    material: int  # -1: none
    joints: npt.NDArray[np.int64] | None = None  # (T, 3, 4) numbers of the file's nodes
    weights: Floats | None = None  # (T, 3, 4)


class GlbFile:
    """One file. Raises ``MeshesError`` for whatever it cannot read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            if path.stat().st_size > MAX_FILE:
                raise self.error("", f"larger than {MAX_FILE >> 20} MiB")
            data = path.read_bytes()
        except OSError as error:
            raise self.error("", str(error.strerror)) from error
        if len(data) < 20 or struct.unpack_from("<I", data)[0] != _MAGIC:
            raise self.error("", "not a binary glTF file (.glb)")
        self._document: dict[str, Any] = {}
        self._binary = b""
        offset = 12
        while offset + 8 <= len(data):
            length, kind = struct.unpack_from("<II", data, offset)
            chunk = data[offset + 8 : offset + 8 + length]
            offset += 8 + length
            if kind == _JSON:
                try:
                    self._document = json.loads(chunk)
                except ValueError as error:
                    raise self.error("JSON", str(error)) from error
            elif kind == _BINARY:
                self._binary = chunk
        required = self._document.get("extensionsRequired", [])
        if required:
            raise self.error("extensionsRequired", f"{', '.join(required)} cannot be read; export without")
        with self._reading("nodes"):
            self._nodes: list[dict[str, Any]] = self._document.get("nodes", [])
            self._parents = {child: at for at, node in enumerate(self._nodes) for child in node.get("children", ())}

    def error(self, field: str, description: str) -> MeshesError:
        """What is wrong with this file."""
        return MeshesError(self.path, field, description)

    @contextlib.contextmanager
    def _reading(self, part: str) -> Iterator[None]:
        """What is missing, or of another kind than glTF has it, is an error of the file."""
        try:
            yield
        except MeshesError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, np.linalg.LinAlgError) as error:
            raise self.error(part, f"malformed: {type(error).__name__}: {error}") from error

    # ---- whole meshes -----------------------------------------------------------------------------------------------

    def still(self, node: str | None = None) -> list[Triangles]:
        """All triangles in the file's frame; of one ``node`` alone in that node's own frame."""
        with self._reading("meshes"):
            if node is not None:
                return self._gathered([self._of_node(self._named(node), np.eye(4))])
            return self._gathered(self._of_node(at, self._world(at)) for at in range(len(self._nodes)))

    def skinned(self) -> list[Triangles]:
        """All triangles in the bind pose, each corner bound to up to four joints; rigid pieces to what carries them."""
        with self._reading("meshes"):
            return self._gathered(self._skinned())

    def _skinned(self) -> Iterator[list[Triangles]]:
        binds = self.bind_matrices()
        for at, node in enumerate(self._nodes):
            if "mesh" not in node:
                continue
            if "skin" in node:
                yield self._of_node(at, np.eye(4))
                continue
            carrier, matrix = self._carrier(at, binds)
            if carrier is None:
                continue  # hangs on no joint: it is no part of a body
            for one in self._of_node(at, binds[carrier] @ matrix):
                joints = np.zeros((*one.corners.shape[:2], 4), np.int64)
                joints[..., 0] = carrier
                weights = np.zeros(joints.shape)
                weights[..., 0] = 1
                yield [Triangles(one.node, one.corners, one.normals, one.uvs, one.material, joints, weights)]

    def _gathered(self, nodes: Iterable[list[Triangles]]) -> list[Triangles]:
        """What nodes show, counted after each: a mesh takes memory as often as it is shown."""
        found: list[Triangles] = []
        count = 0
        for pieces in nodes:
            found += pieces
            count += sum(len(one.corners) for one in pieces)
            if count > MAX_TRIANGLES:
                raise self.error("meshes", f"found more triangles than the {MAX_TRIANGLES} that are allowed")
        if not count:
            raise self.error("meshes", "found no triangles")
        return found

    def bind_matrices(self) -> dict[int, Array]:
        """(4, 4) where each joint lies in the bind pose, by the number of its node."""
        binds: dict[int, Array] = {}
        with self._reading("skins"):
            for skin in self._document.get("skins", []):
                inverse = self._accessor(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
                binds |= dict(zip(skin["joints"], np.linalg.inv(inverse.astype(np.float64)), strict=True))
        if not binds:
            raise self.error("skins", "there is no skeleton in it")
        return binds

    def names(self) -> dict[str, int]:
        """The numbers of nodes by their names."""
        return {str(node.get("name", at)): at for at, node in enumerate(self._nodes)}

    def _named(self, name: str) -> int:
        names = self.names()
        if name not in names:
            raise self.error("nodes", f"there is no node {name!r}; there are {', '.join(sorted(names))[:300]}")
        return names[name]

    def _local(self, at: int) -> Array:
        node = self._nodes[at]
        if "matrix" in node:
            return np.array(node["matrix"], np.float64).reshape(4, 4).T
        rotation = quaternion_matrix(node.get("rotation", (0.0, 0.0, 0.0, 1.0)))
        return affine(rotation, node.get("translation", (0.0, 0.0, 0.0)), node.get("scale", 1.0))

    def _world(self, at: int) -> Array:
        matrix = self._local(at)
        for above in self._above(at):
            matrix = self._local(above) @ matrix
        return matrix

    def _above(self, at: int) -> Iterator[int]:
        """The nodes that a node hangs on, from the nearest up."""
        seen = {at}
        while (above := self._parents.get(at)) is not None:
            if above in seen:
                raise self.error("nodes", f"node {at} hangs on itself")
            seen.add(above)
            yield above
            at = above

    def _carrier(self, at: int, joints: dict[int, Array]) -> tuple[int | None, Array]:
        """The joint that a rigid node hangs on, and the node's transform in it."""
        matrix = self._local(at)
        for above in self._above(at):
            if above in joints:
                return above, matrix
            matrix = self._local(above) @ matrix
        return None, matrix

    # ---- primitives -------------------------------------------------------------------------------------------------

    def _of_node(self, at: int, matrix: Array) -> list[Triangles]:
        node = self._nodes[at]
        if "mesh" not in node:
            return []
        name = str(node.get("name", at))
        joints = self._document["skins"][node["skin"]]["joints"] if "skin" in node else None
        return [
            self._primitive(name, one, matrix, joints) for one in self._document["meshes"][node["mesh"]]["primitives"]
        ]

    def _primitive(self, name: str, spec: dict[str, Any], matrix: Array, joints: list[int] | None) -> Triangles:
        if spec.get("mode", _TRIANGLES) != _TRIANGLES:
            raise self.error(name, "holds points, lines or strips; export plain triangles")
        attributes = spec["attributes"]
        positions = self._accessor(attributes["POSITION"]).astype(np.float64)
        index = self._accessor(spec["indices"]).reshape(-1, 3) if "indices" in spec else None
        if index is None:
            index = np.arange(len(positions) // 3 * 3).reshape(-1, 3)
        index = index.astype(np.int64)
        if index.size and not 0 <= index.min() <= index.max() < len(positions):
            raise self.error(name, "an index points past the vertices")
        linear = matrix[:3, :3]
        if np.linalg.det(linear) < 0:  # mirrored: by the specification the triangles turn the other way round then
            index = index[:, ::-1]
        corners = (positions @ linear.T + matrix[:3, 3])[index]
        if not np.isfinite(corners).all():
            raise self.error(name, "has corners that are not finite")
        flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals = np.repeat(flat[:, None], 3, axis=1)
        if "NORMAL" in attributes:
            normals = (self._accessor(attributes["NORMAL"]).astype(np.float64) @ np.linalg.inv(linear))[index]
        normals = normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
        uvs = np.zeros((*index.shape, 2))
        if "TEXCOORD_0" in attributes:
            uvs = self._accessor(attributes["TEXCOORD_0"])[index].astype(np.float64)
            uvs -= np.floor(uvs.mean(axis=1, keepdims=True))  # textures repeat
        bound = weights = None
        if joints is not None and "JOINTS_0" in attributes:
            bound = np.asarray(joints, np.int64)[self._accessor(attributes["JOINTS_0"]).astype(np.int64)][index]
            weights = self._accessor(attributes["WEIGHTS_0"])[index].astype(np.float64)
        return Triangles(name, corners, normals, uvs, int(spec.get("material", -1)), bound, weights)

    def _accessor(self, number: int) -> npt.NDArray[np.generic]:
        """(N, width) values; whole numbers that stand for fractions become these."""
        spec = self._document["accessors"][number]
        if "sparse" in spec or "bufferView" not in spec:
            raise self.error(f"accessors[{number}]", "sparse accessors are not read")
        view = self._document["bufferViews"][spec["bufferView"]]
        kind = np.dtype(_TYPES[spec["componentType"]])
        width, count = _WIDTHS[spec["type"]], int(spec["count"])
        start = view.get("byteOffset", 0) + spec.get("byteOffset", 0)
        stride = view.get("byteStride", width * kind.itemsize)
        if view.get("buffer", 0) or start + stride * (count - 1) + width * kind.itemsize > len(self._binary):
            raise self.error(f"accessors[{number}]", "reaches past the file's own buffer")
        values = np.ndarray((count, width), kind, self._binary, start, (stride, kind.itemsize))
        if spec.get("normalized"):
            return values.astype(np.float32) / np.iinfo(kind).max
        return values

    # ---- colours ----------------------------------------------------------------------------------------------------

    def painted(self, pieces: list[Triangles]) -> tuple[Floats, npt.NDArray[np.uint8]]:
        """The pieces' uvs (T, 3, 2), one after the other, in a texture (H, W, 3) sRGB of all their materials."""
        with self._reading("materials"):
            used = sorted({one.material for one in pieces})
            tiles = [self._material(number) for number in used]
            height, width = (max(tile.shape[axis] for tile in tiles) for axis in (0, 1))
            sheets = [
                np.asarray(Image.fromarray(tile).resize((width, height), Image.Resampling.NEAREST)) for tile in tiles
            ]
            uvs = []
            for one in pieces:
                moved = one.uvs.clip(1e-4, 1 - 1e-4)
                moved[..., 1] = (moved[..., 1] + used.index(one.material)) / len(used)
                uvs.append(moved)
            return np.concatenate(uvs), np.concatenate(sheets)

    def _material(self, number: int) -> npt.NDArray[np.uint8]:
        """(H, W, 3) sRGB: a material's texture times its colour."""
        surface = self._document["materials"][number].get("pbrMetallicRoughness", {}) if number >= 0 else {}
        factor = np.array(surface.get("baseColorFactor", (1.0, 1.0, 1.0, 1.0)), np.float64)[:3]
        image = np.full((4, 4, 3), 255, np.uint8)
        if "baseColorTexture" in surface:
            source = self._document["textures"][surface["baseColorTexture"]["index"]]["source"]
            view = self._document["images"][source].get("bufferView")
            if view is None:
                raise self.error(f"images[{source}]", "lies outside of the file; export with textures inside")
            spec = self._document["bufferViews"][view]
            start = spec.get("byteOffset", 0)
            try:
                picture = Image.open(io.BytesIO(self._binary[start : start + spec["byteLength"]]))
                picture.thumbnail((TEXTURE, TEXTURE))
                image = np.asarray(picture.convert("RGB"))
            except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
                raise self.error(f"images[{source}]", str(error)) from error
        if (factor == 1).all():
            return image
        levels = image / 255.0
        linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4) * factor
        shown = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clip(0.0031308) ** (1 / 2.4) - 0.055)
        return np.round(shown.clip(0, 1) * 255).astype(np.uint8)
