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
from cutscene_model.training.costumes import costume_mesh
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
        buffers = {"main": self._main, "ids": self._ids, "shadow": self._shadow}
        self._roots = {name: _root(name, buffer) for name, buffer in buffers.items()}
        self._branches = {}
        for (name, program), shader in _programs().items():
            branch = self._roots["main" if name == "depth" else name].attach_new_node(f"{name} {program}")
            branch.set_shader(shader, 100)
            if name == "depth":
                # Shading is what costs: with the depths laid down first, each sample is shaded once.
                branch.set_attrib(core.ColorWriteAttrib.make(core.ColorWriteAttrib.C_off))
                branch.set_bin("fixed", 0)
                # Two compilations of one formula may differ in the last bit: nothing may lie before its own depth.
                branch.set_depth_offset(-1)
            else:
                branch.set_bin("fixed", 10)
                branch.set_attrib(core.DepthTestAttrib.make(core.RenderAttrib.M_less_equal))
            self._branches[name, program] = branch
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
        self._corners = np.array(
            [[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])]
        )
        self._attach(_geometry(static, np.full(len(static.positions), SET_ID, np.float32))[0], "still")
        self._build_bodies(stage)
        self._build_faces(stage)

    def _build_bodies(self, stage: scene.Stage) -> None:
        """One mesh of all actors and props. Actor k's bones begin at k * joints, the props' follow, one for each."""
        per_actor = len(self._rig.names)
        self._bones = np.zeros((per_actor * len(stage.cast) + len(stage.props), 4, 4), np.float32)
        pieces: list[SurfaceMesh] = []
        idents, skins = [], []
        for index, member in enumerate(stage.cast):
            costume = costume_mesh(self._assets, member)
            pieces.append(self._set_meshes.of_costume(member.costume, costume))
            idents.append(np.full(len(costume.positions), index + 1, np.float32))
            skins.append(np.concatenate([costume.bones + index * per_actor, costume.weights], axis=1))
        for index, prop in enumerate(stage.props):
            piece = self._set_meshes.of_prop(prop)
            pieces.append(piece)
            idents.append(np.full(len(piece.positions), PROP_ID, np.float32))
            bone = len(stage.cast) * per_actor + index
            skins.append(np.tile(np.array([bone, 0, 0, 0, 1, 0, 0, 0], np.float32), (len(piece.positions), 1)))
        if pieces:
            # Only the bones that some vertex follows are sent to the shader.
            skin = np.concatenate(skins)
            weighted = skin[:, :4] * (skin[:, 4:] > 0)
            self._used, renamed = np.unique(weighted.astype(np.int64), return_inverse=True)
            if len(self._used) > shaders.MAX_BONES:
                raise ValueError(f"{len(self._used)} bones, and the shader holds {shaders.MAX_BONES}")
            skin[:, :4] = renamed.reshape(-1, 4)
            self._attach(_geometry(SurfaceMesh.merge(pieces), np.concatenate(idents), skin)[0], "skinned")

    def _build_faces(self, stage: scene.Stage) -> None:
        """One small mesh of all faces, whose vertices are rewritten for each frame."""
        self._faces = [FaceMesh.for_costume(self._assets, member.costume) for member in stage.cast]
        if self._faces:
            surfaces = [face.surface() for face in self._faces]
            idents = [np.full(len(surface.positions), i + 1, np.float32) for i, surface in enumerate(surfaces)]
            self._face_rows = np.zeros((len(surfaces), len(surfaces[0].positions), 6), np.float32)
            node, self._face_data = _geometry(SurfaceMesh.merge(surfaces), np.concatenate(idents), dynamic=True)
            self._attach(node, "still", two_sided=True)

    def _attach(self, node: Any, program: str, two_sided: bool = False) -> None:
        for name in (*self._roots, "depth"):
            path = self._branches[name, program].attach_new_node(node)
            path.set_two_sided(two_sided or program == "skinned")
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
        self._pose(self._stage, state)

    def _pose(self, stage: scene.Stage, state: scene.SceneState) -> None:
        self._bones[:] = 0.0  # whoever is not in the state collapses to a point and is not drawn
        per_actor = len(self._rig.names)
        if self._faces:
            self._face_rows[:] = 0.0
        for actor in state.actors:
            if actor.hint is None:
                raise ValueError("the training stage poses actors from hints, and this state has none")
            hint, index = actor.hint, actor.cast_index
            matrices = self._rig.world_pose(hint.clip, hint.clip_time, hint.position, hint.yaw)
            self._bones[index * per_actor : (index + 1) * per_actor] = matrices @ self._rig.inverse_binds
            head = matrices[self._rig.index["head"]]
            positions, normals = self._faces[index].shaped(actor.emotion, actor.intensity, actor.mouth_open)
            self._face_rows[index, :, :3] = positions @ head[:3, :3].T + head[:3, 3]
            self._face_rows[index, :, 3:] = normals @ head[:3, :3].T
        for prop in state.props:
            bone = len(stage.cast) * per_actor + prop.prop_index
            self._bones[bone] = affine(quaternion_matrix(prop.rotation), prop.position)
        if self._faces:
            self._face_data.modify_array_handle(0).copy_data_from(self._face_rows.tobytes())
        if len(self._bones):
            used = np.ascontiguousarray(self._bones[self._used].transpose(0, 2, 1))
            array = core.PTA_LMatrix4f.empty_array(shaders.MAX_BONES)
            array.set_subdata(0, len(used), used.tobytes())
            for root in self._roots.values():
                root.set_shader_input("bones", array)

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
        buffer.set_clear_color(core.LVecBase4f(0.0, 0.0, 0.0, 1.0))  # Panda3D's own default is grey
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


def _root(name: str, buffer: Any) -> Any:
    """What a buffer draws. The shaders bring their own projection and nothing is culled: the lens plays no part."""
    root = core.NodePath(name)
    buffer.make_display_region().set_camera(root.attach_new_node(core.Camera(name, core.OrthographicLens())))
    return root


def _programs() -> dict[tuple[str, str], Any]:
    """The shader of each pass, for meshes in world space and for those with bones."""
    sources = {
        "main": (shaders.WORLD_VERTEX, shaders.world_fragment(SHADOW_SIZE)),
        "ids": (shaders.ID_VERTEX, shaders.ID_FRAGMENT),
        "shadow": (shaders.SHADOW_VERTEX, shaders.SHADOW_FRAGMENT),
        "depth": (shaders.ID_VERTEX, shaders.ID_FRAGMENT),
    }
    programs = {}
    for name, (vertex, fragment) in sources.items():
        for kind in ("still", "skinned"):
            text = shaders.vertex_program(vertex, kind == "skinned")
            programs[name, kind] = core.Shader.make(core.Shader.SL_GLSL, text, fragment)
    return programs


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


def _geometry(
    mesh: SurfaceMesh,
    idents: npt.NDArray[np.float32],
    skin: npt.NDArray[np.float32] | None = None,
    dynamic: bool = False,
) -> tuple[Any, Any]:
    """A Panda3D node of a mesh, and its vertex data, whose array 0 (places and normals) may be rewritten."""
    arrays = [
        ((("vertex", 3), ("normal", 3)), np.concatenate([mesh.positions, mesh.normals], axis=1)),
        (
            (("texel", 3), ("paint", 4), ("ident", 1)),
            np.concatenate([mesh.texels, mesh.paints, idents[:, None]], axis=1),
        ),
    ]
    if skin is not None:
        arrays.append(((("joint", 4), ("weight", 4)), skin))
    contents = {"vertex": core.Geom.C_point, "normal": core.Geom.C_normal}
    layout = core.GeomVertexFormat()
    for columns, _ in arrays:
        array_format = core.GeomVertexArrayFormat()
        for name, width in columns:
            array_format.add_column(name, width, core.Geom.NT_float32, contents.get(name, core.Geom.C_other))
        layout.add_array(array_format)
    usage = core.Geom.UH_dynamic if dynamic else core.Geom.UH_static
    data = core.GeomVertexData("mesh", core.GeomVertexFormat.register_format(layout), usage)
    data.unclean_set_num_rows(len(mesh.positions))
    for index, (_, values) in enumerate(arrays):
        data.modify_array_handle(index).copy_data_from(values.astype(np.float32).tobytes())
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
