"""Which pixels of a frame are whose: actors, faces and silhouettes, told from the stage's id pass and the scene state.

None of it depends on the model: regions of one frame are the same for every model that is measured on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw
from scipy import ndimage
from torch import Tensor

from cutscene_model.scene import JOINT_INDEX, MAX_CAST, ActorState, Camera, SceneState
from cutscene_model.vectors import frame_along, rotation_matrix

Mask = npt.NDArray[np.bool_]

EDGE_REACH = 2  # pixels on either side of a silhouette
LEAST_FACE = 64  # pixels: smaller faces have no features to get right
LEAST_ACTOR = 16  # pixels
FACING = 0.3  # cosine between where a face looks and the way to the camera: beyond some 72 degrees it is a profile

_HEAD_HEIGHT = 0.96  # from neck to crown in the rest pose, metres, that the rest is measured by
_FACE_CENTER = (0.0, 0.36, 0.45)  # from the neck: across, up, forward, metres
_FACE_RADII = (0.40, 0.36)  # brows, eyes and mouth lie within (see ``face``)
_NEAR = 0.1


@dataclass(frozen=True)
class Regions:
    """Masks (H, W) of one frame."""

    actors: dict[int, Tensor]  # by cast index, those in the picture
    faces: dict[int, Tensor]  # by cast index, those turned to the camera and large enough to read
    edges: Tensor  # near outlines of actors, of props, of the set before the sky
    anyone: Tensor  # all actors
    any_face: Tensor  # all faces


def regions_of(state: SceneState, ids: npt.NDArray[np.uint8]) -> Regions:
    """``ids`` (H, W) as ``StageRenderer.render_ids`` gives them: 1 to 4 the cast, other values other things."""
    actors = {index: ids == index + 1 for index in range(MAX_CAST)}
    actors = {index: mask for index, mask in actors.items() if np.count_nonzero(mask) >= LEAST_ACTOR}
    faces: dict[int, Mask] = {}
    for actor in state.actors:
        if actor.cast_index in actors:
            face = face_outline(actor, state.camera, ids.shape[0], ids.shape[1]) & actors[actor.cast_index]
            if np.count_nonzero(face) >= LEAST_FACE:
                faces[actor.cast_index] = face
    return Regions(
        {index: torch.from_numpy(mask) for index, mask in actors.items()},
        {index: torch.from_numpy(mask) for index, mask in faces.items()},
        torch.from_numpy(silhouettes(ids)),
        torch.from_numpy((ids >= 1) & (ids <= MAX_CAST)),
        torch.from_numpy(np.any([np.zeros(ids.shape, np.bool_), *faces.values()], axis=0)),
    )


def silhouettes(ids: npt.NDArray[np.uint8], reach: int = EDGE_REACH) -> Mask:
    """(H, W): the ``reach`` pixels on either side of where the id changes."""
    size = 2 * reach + 1
    different: Mask = ndimage.maximum_filter(ids, size) != ndimage.minimum_filter(ids, size)
    return different


def face_outline(actor: ActorState, camera: Camera, height: int, width: int) -> Mask:
    """(height, width): an actor's face as an ellipse on the front of the head, nothing if it is turned away."""
    neck, top, nose = (actor.joints[JOINT_INDEX[name]] for name in ("neck", "head_top", "face"))
    scale = float(np.linalg.norm(top - neck)) / _HEAD_HEIGHT
    axes = frame_along(top - neck, nose - neck)
    center = neck + scale * axes @ np.asarray(_FACE_CENTER, np.float32)
    eye = np.asarray(camera.position, np.float32)
    to_camera = eye - center
    picture = Image.new("1", (width, height))
    if float(axes[:, 2] @ to_camera) > FACING * float(np.linalg.norm(to_camera)):
        angles = np.linspace(0, math.tau, 24, endpoint=False)
        ring = np.stack([_FACE_RADII[0] * np.cos(angles), _FACE_RADII[1] * np.sin(angles), np.zeros(24)], axis=1)
        local = (center + scale * ring @ axes.T - eye) @ rotation_matrix(np.asarray(camera.rotation, np.float32))
        depth = -local[:, 2]
        if depth.min() > _NEAR:
            focal = height / 2 / math.tan(camera.vertical_fov / 2)
            x, y = width / 2 + focal * local[:, 0] / depth, height / 2 - focal * local[:, 1] / depth
            # PIL puts a pixel's centre at its whole number.
            ImageDraw.Draw(picture).polygon(list(zip((x - 0.5).tolist(), (y - 0.5).tolist(), strict=True)), fill=1)
    return np.array(picture, np.bool_)
