"""Looks as drawable triangles: reads assets once, and merges a whole set into one mesh so that it is one draw call."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cutscene_model.scene import ElementClass, Prop, SetElement
from cutscene_model.training.assets import BY_NAME, asset_frame
from cutscene_model.training.costumes import CostumeMesh, costume_glb
from cutscene_model.training.gltf import Glb, Mesh, merge
from cutscene_model.training.transforms import affine, quaternion_matrix

PLAIN, TEXTURED, GLOWING = 0.0, 1.0, 2.0
DUNGEON_LAYER = 0
COSTUME_LAYERS: dict[str, int] = {"knight": 1, "mage": 2, "rogue": 3, "rogue_hooded": 3, "barbarian": 4}
_CHARACTER_LAYERS = {"Knight.glb": 1, "Mage.glb": 2, "Rogue.glb": 3, "Barbarian.glb": 4}


@dataclass(frozen=True, slots=True)
class SurfaceMesh:
    """Triangles with everything the shader wants of a vertex."""

    positions: npt.NDArray[np.float32]  # (V, 3)
    normals: npt.NDArray[np.float32]  # (V, 3)
    texels: npt.NDArray[np.float32]  # (V, 3): u, v from below, layer
    paints: npt.NDArray[np.float32]  # (V, 4): tint, then PLAIN, TEXTURED or GLOWING
    triangles: npt.NDArray[np.int32]  # (T, 3)

    @staticmethod
    def merge(meshes: Sequence[SurfaceMesh]) -> SurfaceMesh:
        """One mesh of several."""
        offsets = np.cumsum([0] + [len(mesh.positions) for mesh in meshes[:-1]])
        triangles = [mesh.triangles + offset for mesh, offset in zip(meshes, offsets, strict=True)]
        return SurfaceMesh(
            np.concatenate([mesh.positions for mesh in meshes]),
            np.concatenate([mesh.normals for mesh in meshes]),
            np.concatenate([mesh.texels for mesh in meshes]),
            np.concatenate([mesh.paints for mesh in meshes]),
            np.concatenate(triangles).astype(np.int32),
        )


def texture_layers(assets_dir: Path) -> list[npt.NDArray[np.uint8]]:
    """(H, W, 3) sRGB textures in the order of the layers above. All props of the dungeon pack share one."""
    layers = [np.asarray(Glb(assets_dir / BY_NAME["wall/plain"].source).image())]
    layers += [np.asarray(costume_glb(assets_dir, name).image()) for name in ("knight", "mage", "rogue", "barbarian")]
    return layers


class SetMeshes:
    """The meshes of all looks under an assets folder, read when first asked for."""

    def __init__(self, assets_dir: Path) -> None:
        self._packs = assets_dir
        self._texture = texture_layers(assets_dir)[DUNGEON_LAYER]
        self.look_mesh = functools.cache(self._read_look)

    def _read_look(self, look: str) -> tuple[Mesh, int, npt.NDArray[np.float32]]:
        """Mesh in the asset's frame, texture layer, and (V,) whether a vertex glows."""
        file, _, node = BY_NAME[look].source.partition("#")
        glb = Glb(self._packs / file)
        mesh = glb.mesh(glb.node_index[node]) if node else glb.whole_mesh()
        if look == "lamp/torch_mounted":
            mesh = merge([mesh, self._flame()])
        layer = _CHARACTER_LAYERS[Path(file).name] if node else DUNGEON_LAYER
        glowing = np.zeros(len(mesh.positions), np.float32)
        if BY_NAME[look].element_class is ElementClass.LAMP or look == "shelf/candles":
            height, width, _ = self._texture.shape
            # Flames are known by their colours: the pack has no emissive material.
            columns = np.clip((mesh.uvs[:, 0] * width).astype(int), 0, width - 1)
            rows = np.clip((mesh.uvs[:, 1] * height).astype(int), 0, height - 1)
            red, green, blue = self._texture[rows, columns].astype(np.float32).T
            glowing = ((red > 190) & (green > 90) & (blue < 0.55 * red)).astype(np.float32)
            if look == "lamp/torch":  # its flame ends in a red tip
                x, y, z = mesh.positions.T
                glowing = ((y > 0.36) & (np.abs(x) < 0.13) & (np.abs(z) < 0.13)).astype(np.float32)
        return mesh, layer, glowing

    def _flame(self) -> Mesh:
        """The fire of the free-standing torch, moved into the cup of the mounted one, which the pack leaves unlit."""
        mesh, _, glowing = self.look_mesh("lamp/torch")
        kept = mesh.triangles[glowing[mesh.triangles].all(axis=1)]
        used, triangles = np.unique(kept, return_inverse=True)
        moved = mesh.positions[used] * np.array([1.35, 1.25, 1.35], np.float32) + np.array(
            [0.0, -0.10, 0.34], np.float32
        )
        return Mesh(moved, mesh.normals[used], mesh.uvs[used], triangles.reshape(-1, 3).astype(np.int32))

    def _surface(self, look: str, mesh: Mesh, tint: tuple[float, float, float]) -> SurfaceMesh:
        _, layer, glowing = self.look_mesh(look)
        paints = np.empty((len(mesh.positions), 4), np.float32)
        paints[:, :3] = tint
        paints[:, 3] = TEXTURED + glowing * (GLOWING - TEXTURED)
        return SurfaceMesh(mesh.positions, mesh.normals, _texels(mesh.uvs, layer), paints, mesh.triangles)

    def of_set(self, elements: Sequence[SetElement]) -> SurfaceMesh:
        """The whole set in world space: one asset per part-0 element."""
        pieces = []
        for element in elements:
            if element.part != 0:
                continue
            origin, rotation, scale = asset_frame(element)
            matrix = affine(quaternion_matrix(rotation), origin, scale)
            mesh = self.look_mesh(element.look)[0].transformed(matrix)
            pieces.append(self._surface(element.look, mesh, element.tint))
        return SurfaceMesh.merge(pieces)

    def of_prop(self, prop: Prop) -> SurfaceMesh:
        """A prop about its box's centre, scaled to its half extent."""
        look = BY_NAME[prop.look]
        scale = np.array(prop.half_extent) / np.maximum(look.half_extent, 1e-6)
        matrix = affine(np.eye(3), -scale * np.array(look.center), scale)
        return self._surface(prop.look, self.look_mesh(prop.look)[0].transformed(matrix), prop.tint)

    def of_costume(self, costume: str, mesh: CostumeMesh) -> SurfaceMesh:
        """An actor in bind space; the stage adds the bones."""
        paints = np.concatenate([mesh.tints, np.full((len(mesh.tints), 1), TEXTURED, np.float32)], axis=1)
        texels = _texels(mesh.uvs, COSTUME_LAYERS[costume])
        return SurfaceMesh(mesh.positions, mesh.normals, texels, paints, mesh.triangles)


def _texels(uvs: npt.NDArray[np.float32], layer: int) -> npt.NDArray[np.float32]:
    """glTF counts v from the top, GL from the bottom."""
    return np.stack([uvs[:, 0], 1.0 - uvs[:, 1], np.full(len(uvs), layer, np.float32)], axis=1).astype(np.float32)
