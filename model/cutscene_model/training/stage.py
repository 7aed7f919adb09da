"""The training stage: draws scene states with Panda3D, headless, as the reference pictures the model learns from.

Everything is drawn as two meshes in world space (set; cast and props) with matrices from numpy. Panda3D only owns the
GL context: glTF's Y-up coordinates go straight to the shaders, so nothing needs converting.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from panda3d import core
from PIL import Image

from cutscene_model import scene
from cutscene_model.training import shaders
from cutscene_model.training.costumes import CostumeMesh, costume_mesh
from cutscene_model.training.face import FaceMesh
from cutscene_model.training.motion import load_rig
from cutscene_model.training.set_mesh import SetMeshes, SurfaceMesh, texture_layers
from cutscene_model.training.transforms import Array, affine, perspective, quaternion_matrix, rigid_inverse

NEAR, FAR = 0.05, 60.0
SUPERSAMPLING = 2
SHADOW_SIZE = 1024
GLOW = 1.6  # added to the irradiance of flames
PROP_ID, SET_ID = 5, 6

core.load_prc_file_data(
    "cutscene stage",
    "load-display p3headlessgl\naux-display p3none\nwindow-type offscreen\naudio-library-name null\nsync-video 0\n"
    "gl-version 3 3\nnotify-level-display error\ntextures-power-2 none\n",
)


class StageRenderer:
    """Draws one stage at a time. Not thread-safe; one per process."""

    def __init__(self, assets_dir: Path, width: int = 512, height: int = 288) -> None:
        self._assets = assets_dir
        self._size = (width, height)
        self._rig = load_rig(assets_dir)
        self._set_meshes = SetMeshes(assets_dir)
        self._engine = core.GraphicsEngine.get_global_ptr()
        pipe = core.GraphicsPipeSelection.get_global_ptr().make_module_pipe("p3headlessgl")
        if pipe is None:
            raise RuntimeError("Panda3D found no headless GL: install libegl1 libgl1 libgl1-mesa-dri")
        self._pipe = pipe
        large = (width * SUPERSAMPLING, height * SUPERSAMPLING)
        self._host: Any = None
        self._main, self._picture = self._buffer("main", large, 10)
        self._ids, self._id_picture = self._buffer("ids", (width, height), 20)
        self._ids.set_active(False)
        self._shadow, self._shadow_map = self._shadow_buffer()
        self._roots = {
            "main": self._root("main", self._main, shaders.WORLD_VERTEX, shaders.world_fragment(SHADOW_SIZE)),
            "ids": self._root("ids", self._ids, shaders.ID_VERTEX, shaders.ID_FRAGMENT),
            "shadow": self._root("shadow", self._shadow, shaders.SHADOW_VERTEX, shaders.SHADOW_FRAGMENT),
        }
        main = self._roots["main"]
        main.set_shader_input("atlas", _texture_array(texture_layers(assets_dir)))
        main.set_shader_input("shadow_map", self._shadow_map)
        main.set_shader_input("glow", GLOW)
        self._stage: scene.Stage | None = None
        self._nodes: list[Any] = []

    # Opening a stage -----------------------------------------------------------------------------------------------

    def open(self, stage: scene.Stage) -> None:
        """Builds the set and the cast; ``render`` then draws states of this stage."""
        for node in self._nodes:
            node.remove_node()
        self._nodes = []
        self._stage = stage
        static = self._set_meshes.of_set(stage.elements)
        low, high = static.positions.min(axis=0), static.positions.max(axis=0)
        self._corners = np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
        node, _ = _geometry(static, np.full(len(static.positions), SET_ID, np.float32), dynamic=False)
        self._attach(node, two_sided=False)
        self._costumes: list[CostumeMesh] = [costume_mesh(self._assets, member) for member in stage.cast]
        self._faces = [FaceMesh.for_costume(self._assets, member.costume) for member in stage.cast]
        self._props = [self._set_meshes.of_prop(prop) for prop in stage.props]
        self._build_moving()

    def _build_moving(self) -> None:
        """One mesh of all actors, faces and props, whose vertices are rewritten for each frame."""
        assert self._stage is not None
        pieces: list[SurfaceMesh] = []
        idents: list[npt.NDArray[np.float32]] = []
        self._spans: list[tuple[int, int]] = []
        start = 0
        for index, (member, mesh, face) in enumerate(zip(self._stage.cast, self._costumes, self._faces, strict=True)):
            for piece in (self._set_meshes.of_costume(member.costume, mesh), face.surface()):
                pieces.append(piece)
                idents.append(np.full(len(piece.positions), index + 1, np.float32))
                self._spans.append((start, start + len(piece.positions)))
                start += len(piece.positions)
        for piece in self._props:
            pieces.append(piece)
            idents.append(np.full(len(piece.positions), PROP_ID, np.float32))
            self._spans.append((start, start + len(piece.positions)))
            start += len(piece.positions)
        self._moving: Any = None
        if pieces:
            whole = SurfaceMesh.merge(pieces)
            self._buffer_rows = np.zeros((len(whole.positions), 6), np.float32)
            node, self._moving = _geometry(whole, np.concatenate(idents), dynamic=True)
            self._attach(node, two_sided=True)

    def _attach(self, node: Any, two_sided: bool) -> None:
        for root in self._roots.values():
            path = root.attach_new_node(node)
            path.set_two_sided(two_sided)
            self._nodes.append(path)

    # Drawing -------------------------------------------------------------------------------------------------------

    def render(self, state: scene.SceneState) -> npt.NDArray[np.uint8]:
        """(height, width, 3) uint8 RGB of the state."""
        self._prepare(state)
        self._light(state.lights)
        self._main.set_active(True)
        self._shadow.set_active(any(value > 0 for value in state.lights.sun_color))
        self._engine.render_frame()
        width, height = self._size
        raw = self._picture.get_ram_image()
        image = Image.frombuffer("RGBX", (width * SUPERSAMPLING, height * SUPERSAMPLING), raw, "raw", "RGBX", 0, 1)
        rows = np.asarray(image.reduce(SUPERSAMPLING) if SUPERSAMPLING > 1 else image)
        return np.ascontiguousarray(rows[::-1, :, 2::-1])  # GL gives rows bottom-up, channels BGRA

    def render_ids(self, state: scene.SceneState) -> npt.NDArray[np.uint8]:
        """(height, width) uint8: 0 background, 1 to 4 the actor of that cast index plus one, 5 props, 6 the set."""
        self._prepare(state)
        self._main.set_active(False)
        self._shadow.set_active(False)
        self._ids.set_active(True)
        self._engine.render_frame()
        self._ids.set_active(False)
        width, height = self._size
        raw = np.frombuffer(self._id_picture.get_ram_image(), np.uint8).reshape(height, width, 4)
        return np.ascontiguousarray(raw[::-1, :, 2])

    def close(self) -> None:
        """Frees the buffers and the GL context."""
        for node in self._nodes:
            node.remove_node()
        for buffer in (self._shadow, self._ids, self._main):
            self._engine.remove_window(buffer)

    def __enter__(self) -> StageRenderer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _prepare(self, state: scene.SceneState) -> None:
        if self._stage is None:
            raise RuntimeError("open a stage first")
        width, height = self._size
        camera = state.camera
        world_from_camera = affine(quaternion_matrix(camera.rotation), camera.position)
        projection = perspective(camera.vertical_fov, width / height, NEAR, FAR)
        clip = _matrix(projection @ rigid_inverse(world_from_camera))
        self._roots["main"].set_shader_input("clip_from_world", clip)
        self._roots["ids"].set_shader_input("clip_from_world", clip)
        self._pose(state)

    def _pose(self, state: scene.SceneState) -> None:
        if self._moving is None:
            return
        assert self._stage is not None
        rows = self._buffer_rows
        rows[:] = 0.0  # whoever is not in the state collapses to a point and is not drawn
        for actor in state.actors:
            if actor.hint is None:
                raise ValueError("the training stage poses actors from hints, and this state has none")
            hint = actor.hint
            matrices = self._rig.world_pose(hint.clip, hint.clip_time, hint.position, hint.yaw)
            body, face = self._spans[2 * actor.cast_index], self._spans[2 * actor.cast_index + 1]
            positions, normals = self._costumes[actor.cast_index].posed(matrices)
            rows[body[0] : body[1], :3], rows[body[0] : body[1], 3:] = positions, normals
            head = matrices[self._rig.index["head"]]
            positions, normals = self._faces[actor.cast_index].shaped(actor.emotion, actor.intensity, actor.mouth_open)
            rows[face[0] : face[1], :3] = positions @ head[:3, :3].T + head[:3, 3]
            rows[face[0] : face[1], 3:] = normals @ head[:3, :3].T
        first = 2 * len(self._stage.cast)
        for prop in state.props:
            begin, end = self._spans[first + prop.prop_index]
            mesh = self._props[prop.prop_index]
            rotation = quaternion_matrix(prop.rotation)
            rows[begin:end, :3] = mesh.positions @ rotation.T + prop.position
            rows[begin:end, 3:] = mesh.normals @ rotation.T
        self._moving.modify_array_handle(0).copy_data_from(rows.tobytes())

    def _light(self, lights: scene.Lights) -> None:
        main = self._roots["main"]
        self._main.set_clear_color(core.LVecBase4f(*lights.background, 1.0))
        main.set_shader_input("ambient", core.LVecBase3f(*lights.ambient))
        main.set_shader_input("sun_direction", core.LVecBase3f(*lights.sun_direction))
        main.set_shader_input("sun_color", core.LVecBase3f(*lights.sun_color))
        main.set_shader_input("point_count", len(lights.points))
        places, colors = core.PTA_LVecBase4f.empty_array(4), core.PTA_LVecBase3f.empty_array(4)
        for index in range(shaders.MAX_POINTS):
            lit = index < len(lights.points)
            point = lights.points[index] if lit else scene.PointLight((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 1.0)
            places.set_element(index, core.LVecBase4f(*point.position, 1.0 / point.range))
            colors.set_element(index, core.LVecBase3f(*point.color))
        main.set_shader_input("point_place", places)
        main.set_shader_input("point_color", colors)
        shadow = _matrix(shadow_projection(np.array(lights.sun_direction), self._corners))
        main.set_shader_input("shadow_from_world", shadow)
        self._roots["shadow"].set_shader_input("shadow_from_world", shadow)

    # Panda3D set-up ------------------------------------------------------------------------------------------------

    def _buffer(self, name: str, size: tuple[int, int], sort: int) -> tuple[Any, Any]:
        properties = core.FrameBufferProperties()
        properties.set_rgba_bits(8, 8, 8, 8)
        properties.set_depth_bits(24)
        window = core.WindowProperties.size(*size)
        flags = core.GraphicsPipe.BF_refuse_window
        if self._host is None:
            buffer = self._engine.make_output(self._pipe, name, sort, properties, window, flags)
            self._host = buffer
        else:
            buffer = self._engine.make_output(
                self._pipe, name, sort, properties, window, flags, self._host.get_gsg(), self._host
            )
        if buffer is None:
            raise RuntimeError(f"Panda3D could not open the {name} buffer")
        texture = core.Texture(name)
        buffer.add_render_texture(texture, core.GraphicsOutput.RTM_copy_ram, core.GraphicsOutput.RTP_color)
        buffer.set_clear_color_active(True)
        buffer.set_clear_depth_active(True)
        return buffer, texture

    def _shadow_buffer(self) -> tuple[Any, Any]:
        properties = core.FrameBufferProperties()
        properties.set_depth_bits(24)
        buffer = self._engine.make_output(
            self._pipe,
            "shadow",
            0,
            properties,
            core.WindowProperties.size(SHADOW_SIZE, SHADOW_SIZE),
            core.GraphicsPipe.BF_refuse_window,
            self._host.get_gsg(),
            self._host,
        )
        if buffer is None:
            raise RuntimeError("Panda3D could not open the shadow buffer")
        texture = core.Texture("shadow")
        texture.set_format(core.Texture.F_depth_component24)
        texture.set_minfilter(core.SamplerState.FT_shadow)
        texture.set_magfilter(core.SamplerState.FT_shadow)
        texture.set_wrap_u(core.SamplerState.WM_border_color)
        texture.set_wrap_v(core.SamplerState.WM_border_color)
        texture.set_border_color(core.LColor(1, 1, 1, 1))
        buffer.add_render_texture(texture, core.GraphicsOutput.RTM_bind_or_copy, core.GraphicsOutput.RTP_depth)
        buffer.set_clear_depth_active(True)
        return buffer, texture

    def _root(self, name: str, buffer: Any, vertex: str, fragment: str) -> Any:
        root = core.NodePath(name)
        root.set_shader(core.Shader.make(core.Shader.SL_GLSL, vertex, fragment), 100)
        # The shaders bring their own projection, and unbounded nodes are never culled: the lens plays no part.
        path = root.attach_new_node(core.Camera(name, core.OrthographicLens()))
        buffer.make_display_region().set_camera(path)
        return root


def shadow_projection(sun_direction: Array, corners: Array) -> Array:
    """(4, 4) orthographic clip transform along the sun that just covers ``corners`` (8, 3) of the set's bounds."""
    forward = sun_direction / np.linalg.norm(sun_direction)
    up = np.array([0.0, 0.0, 1.0]) if abs(forward[1]) > 0.9 else np.array([0.0, 1.0, 0.0])
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    basis = np.stack([right, np.cross(right, forward), -forward])
    local = corners @ basis.T
    low, high = local.min(axis=0) - 0.1, local.max(axis=0) + 0.1
    matrix = np.eye(4)
    scale = 2.0 / (high - low)
    scale[2] *= -1  # clip depth grows away from the light, which looks along its -Z
    matrix[:3, :3] = basis * scale[:, None]
    matrix[:3, 3] = -scale * (low + high) / 2
    return matrix


def _matrix(matrix: Array) -> Any:
    """Panda3D multiplies row vectors: its memory layout is the transpose of ours."""
    return core.LMatrix4f(*(float(value) for value in matrix.T.ravel()))


def _texture_array(layers: list[npt.NDArray[np.uint8]]) -> Any:
    texture = core.Texture("atlas")
    height, width, _ = layers[0].shape
    texture.setup_2d_texture_array(width, height, len(layers), core.Texture.T_unsigned_byte, core.Texture.F_srgb)
    pixels = np.stack([layer[::-1, :, ::-1] for layer in layers])  # bottom-up BGR
    texture.set_ram_image(np.ascontiguousarray(pixels).tobytes())
    texture.set_minfilter(core.SamplerState.FT_linear)
    texture.set_magfilter(core.SamplerState.FT_linear)
    return texture


def _geometry(mesh: SurfaceMesh, idents: npt.NDArray[np.float32], dynamic: bool) -> tuple[Any, Any]:
    """A Panda3D node of a mesh, and its vertex data: array 0 (place) may be rewritten, array 1 (looks) never."""
    moving = core.GeomVertexArrayFormat()
    moving.add_column("vertex", 3, core.Geom.NT_float32, core.Geom.C_point)
    moving.add_column("normal", 3, core.Geom.NT_float32, core.Geom.C_normal)
    fixed = core.GeomVertexArrayFormat()
    fixed.add_column("texel", 3, core.Geom.NT_float32, core.Geom.C_other)
    fixed.add_column("paint", 4, core.Geom.NT_float32, core.Geom.C_other)
    fixed.add_column("ident", 1, core.Geom.NT_float32, core.Geom.C_other)
    layout = core.GeomVertexFormat()
    layout.add_array(moving)
    layout.add_array(fixed)
    usage = core.Geom.UH_dynamic if dynamic else core.Geom.UH_static
    data = core.GeomVertexData("mesh", core.GeomVertexFormat.register_format(layout), usage)
    data.unclean_set_num_rows(len(mesh.positions))
    place = np.concatenate([mesh.positions, mesh.normals], axis=1).astype(np.float32)
    looks = np.concatenate([mesh.texels, mesh.paints, idents[:, None]], axis=1).astype(np.float32)
    data.modify_array_handle(0).copy_data_from(place.tobytes())
    data.modify_array_handle(1).copy_data_from(looks.tobytes())
    triangles = core.GeomTriangles(usage)
    triangles.set_index_type(core.Geom.NT_uint32)
    indices = triangles.modify_vertices()
    indices.unclean_set_num_rows(mesh.triangles.size)
    indices.modify_handle().copy_data_from(mesh.triangles.astype(np.uint32).tobytes())
    geom = core.Geom(data)
    geom.add_primitive(triangles)
    geom.set_bounds(core.OmniBoundingVolume())
    node = core.GeomNode("mesh")
    node.add_geom(geom)
    node.set_bounds(core.OmniBoundingVolume())
    node.set_final(True)
    return node, node.modify_geom(0).modify_vertex_data()
