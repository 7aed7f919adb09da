"""The few rotations that cameras and held things need, as quaternions ``(x, y, z, w)`` in float64 numpy."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def look_rotation(position: npt.ArrayLike, target: npt.ArrayLike) -> FloatArray:
    """The rotation of a camera at ``position`` that looks (along its local -Z) at ``target``, with +Y up."""
    backward = np.asarray(position, np.float64) - np.asarray(target, np.float64)
    length = float(np.linalg.norm(backward))
    if length < 1e-9:
        raise ValueError("a camera cannot look at the place where it stands")
    backward /= length
    up = np.array([0.0, 1.0, 0.0])
    if abs(float(backward @ up)) > 0.9999:  # straight up or down: any horizontal right will do
        up = np.array([0.0, 0.0, 1.0])
    right = np.cross(up, backward)
    right /= np.linalg.norm(right)
    return from_matrix(np.stack([right, np.cross(backward, right), backward], axis=1))


def from_matrix(matrix: FloatArray) -> FloatArray:
    """The unit quaternion of a (3, 3) rotation matrix whose columns are the rotated axes; w is never negative."""
    m = matrix
    # Each row of this symmetric table is the quaternion times 4 times one of its own components (Shepperd's method);
    # the longest row is the numerically safe one.
    rows = np.array(
        [
            [1 + m[0, 0] - m[1, 1] - m[2, 2], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0], m[2, 1] - m[1, 2]],
            [m[0, 1] + m[1, 0], 1 - m[0, 0] + m[1, 1] - m[2, 2], m[1, 2] + m[2, 1], m[0, 2] - m[2, 0]],
            [m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], 1 - m[0, 0] - m[1, 1] + m[2, 2], m[1, 0] - m[0, 1]],
            [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], 1 + m[0, 0] + m[1, 1] + m[2, 2]],
        ]
    )
    best = rows[int(np.argmax(np.diag(rows)))]
    unit: FloatArray = best / np.linalg.norm(best)
    return -unit if unit[3] < 0 else unit


def yaw(angle: float) -> FloatArray:
    """A turn about +Y; 0 faces +Z, a quarter turn faces +X."""
    return np.array([0.0, math.sin(angle / 2), 0.0, math.cos(angle / 2)])


def multiply(a: npt.ArrayLike, b: npt.ArrayLike) -> FloatArray:
    """``a`` after ``b``."""
    ax, ay, az, aw = np.asarray(a, np.float64)
    bx, by, bz, bw = np.asarray(b, np.float64)
    return np.array(
        [
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
            aw * bw - ax * bx - ay * by - az * bz,
        ]
    )


def rotate(rotation: npt.ArrayLike, points: npt.ArrayLike) -> FloatArray:
    """``points`` (..., 3) turned by ``rotation``."""
    q = np.asarray(rotation, np.float64)
    p = np.asarray(points, np.float64)
    cross = 2.0 * np.cross(np.broadcast_to(q[:3], p.shape), p)
    turned: FloatArray = p + q[3] * cross + np.cross(np.broadcast_to(q[:3], p.shape), cross)
    return turned


def unit(rotation: npt.ArrayLike) -> FloatArray:
    """A rotation brought back to unit length."""
    q = np.asarray(rotation, np.float64)
    length = float(np.linalg.norm(q))
    if length < 1e-6:
        raise ValueError("a quaternion of no length is no rotation")
    normal: FloatArray = q / length
    return normal
