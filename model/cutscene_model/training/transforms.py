"""Small rotation and matrix helpers in glTF's conventions: column vectors, quaternions x y z w, Y up."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Vec3 = tuple[float, float, float]
Quat = tuple[float, float, float, float]


def vec3(values: npt.ArrayLike) -> Vec3:
    """Three plain Python floats."""
    x, y, z = np.asarray(values, np.float64).tolist()
    return (float(x), float(y), float(z))


def yaw_quaternion(yaw: float) -> Quat:
    """The rotation by ``yaw`` radians about +Y."""
    return (0.0, math.sin(yaw / 2), 0.0, math.cos(yaw / 2))


def quaternion_matrix(quaternion: npt.ArrayLike) -> Array:
    """(..., 4) quaternions to (..., 3, 3) rotation matrices."""
    q = np.asarray(quaternion, np.float64)
    q = q / np.linalg.norm(q, axis=-1, keepdims=True)
    x, y, z, w = q[..., 0], q[..., 1], q[..., 2], q[..., 3]
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def matrix_quaternion(matrix: Array) -> Quat:
    """A (3, 3) rotation matrix to the quaternion with w >= 0."""
    m = np.asarray(matrix, np.float64)
    # Shepperd's method: take the largest of the four squared components, so that the divisor is never small.
    squares = np.array(
        [
            1 + m[0, 0] - m[1, 1] - m[2, 2],
            1 - m[0, 0] + m[1, 1] - m[2, 2],
            1 - m[0, 0] - m[1, 1] + m[2, 2],
            1 + m[0, 0] + m[1, 1] + m[2, 2],
        ]
    )
    largest = int(squares.argmax())
    s = 2 * math.sqrt(max(float(squares[largest]), 1e-12))
    if largest == 3:
        q = [(m[2, 1] - m[1, 2]) / s, (m[0, 2] - m[2, 0]) / s, (m[1, 0] - m[0, 1]) / s, s / 4]
    elif largest == 0:
        q = [s / 4, (m[0, 1] + m[1, 0]) / s, (m[0, 2] + m[2, 0]) / s, (m[2, 1] - m[1, 2]) / s]
    elif largest == 1:
        q = [(m[0, 1] + m[1, 0]) / s, s / 4, (m[1, 2] + m[2, 1]) / s, (m[0, 2] - m[2, 0]) / s]
    else:
        q = [(m[0, 2] + m[2, 0]) / s, (m[1, 2] + m[2, 1]) / s, s / 4, (m[1, 0] - m[0, 1]) / s]
    array = np.array(q)
    array = array / np.linalg.norm(array) * (1.0 if array[3] >= 0 else -1.0)
    x, y, z, w = (float(value) for value in array)
    return (x, y, z, w)


def look_rotation(eye: npt.ArrayLike, target: npt.ArrayLike) -> Quat:
    """The rotation of a level camera at ``eye`` that looks along its local -Z at ``target``."""
    dx, dy, dz = (float(value) for value in np.asarray(target, np.float64) - np.asarray(eye, np.float64))
    # Yaw about +Y, then pitch about the camera's own X: the product of the two half-angle quaternions.
    yaw, pitch = math.atan2(-dx, -dz), math.atan2(dy, math.hypot(dx, dz))
    sy, cy, sp, cp = math.sin(yaw / 2), math.cos(yaw / 2), math.sin(pitch / 2), math.cos(pitch / 2)
    sign = 1.0 if cy * cp >= 0 else -1.0
    return (sign * cy * sp, sign * sy * cp, -sign * sy * sp, sign * cy * cp)


def affine(rotation: Array, translation: npt.ArrayLike, scale: npt.ArrayLike = 1.0) -> Array:
    """A (4, 4) matrix that scales, then rotates, then translates."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * np.broadcast_to(np.asarray(scale, np.float64), (3,))
    matrix[:3, 3] = translation
    return matrix


def perspective(vertical_fov: float, aspect: float, near: float, far: float) -> Array:
    """OpenGL's projection: camera looks along -Z, clip depth -1 to 1."""
    f = 1.0 / math.tan(vertical_fov / 2)
    matrix = np.zeros((4, 4))
    matrix[0, 0] = f / aspect
    matrix[1, 1] = f
    matrix[2, 2] = (far + near) / (near - far)
    matrix[2, 3] = 2 * far * near / (near - far)
    matrix[3, 2] = -1.0
    return matrix


def rigid_inverse(matrix: Array) -> Array:
    """The inverse of a (4, 4) matrix that only rotates and translates."""
    inverse = np.eye(4)
    inverse[:3, :3] = matrix[:3, :3].T
    inverse[:3, 3] = -matrix[:3, :3].T @ matrix[:3, 3]
    return inverse
