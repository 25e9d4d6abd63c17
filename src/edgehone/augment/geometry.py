"""Geometry of pictures and boxes: one matrix from original pixels to network input.

Matrices are ``[3, 3]`` float64, act on homogeneous *continuous* coordinates (pixel ``i`` covers ``i`` to
``i + 1``; that is how boxes are measured) and have a last entry of one. Whoever samples at pixel centres
moves a matrix by half a pixel on both sides first: :func:`centred`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
"""``[3, 3]``, continuous coordinates of the source to those of the destination."""

Image = NDArray[np.uint8]
"""``[height, width, 3]``, RGB."""

Sides = tuple[float, float]
"""``(height, width)`` in pixels, not necessarily whole."""

BORDER = 114
"""Gray level where no picture is, as in the authors' PyTorch recipes."""

HORIZON = 1e-3
"""Least depth (third homogeneous coordinate) of a point that can be seen."""


def scaling(scale_x: float, scale_y: float, shift_x: float = 0.0, shift_y: float = 0.0) -> Matrix:
    """``x' = x * scale_x + shift_x``, likewise for y; scales without unit, shifts in pixels."""
    return np.array([[scale_x, 0.0, shift_x], [0.0, scale_y, shift_y], [0.0, 0.0, 1.0]])


def shifting(shift_x: float, shift_y: float) -> Matrix:
    """A translation, pixels."""
    return scaling(1.0, 1.0, shift_x, shift_y)


def about(centre: Sides, linear: NDArray[np.float64]) -> Matrix:
    """The ``[2, 2]`` map ``linear`` with ``centre``, given as ``(y, x)`` in pixels, left where it is."""
    matrix = np.eye(3)
    point = np.array(centre[::-1])
    matrix[:2, :2] = linear
    matrix[:2, 2] = point - linear @ point
    return matrix


def turning(degrees: float, gain: float, centre: Sides) -> Matrix:
    """Rotation (clockwise on screen) and gain about ``centre``, given as ``(y, x)`` in pixels."""
    cos, sin = gain * math.cos(math.radians(degrees)), gain * math.sin(math.radians(degrees))
    return about(centre, np.array([[cos, -sin], [sin, cos]]))


def compose(*matrices: Matrix) -> Matrix:
    """One matrix that does the given ones in the order given."""
    result = matrices[0]
    for matrix in matrices[1:]:
        result = matrix @ result
    return result / result[2, 2]


def inverse(matrix: Matrix) -> Matrix:
    """The matrix that undoes ``matrix``."""
    undone = np.asarray(np.linalg.inv(matrix), dtype=np.float64)
    return undone / undone[2, 2]


def centred(matrix: Matrix) -> Matrix:
    """The same map in coordinates whose whole numbers are pixel centres, as OpenCV counts."""
    return compose(shifting(0.5, 0.5), matrix, shifting(-0.5, -0.5))


def is_affine(matrix: Matrix) -> bool:
    """Parallel lines stay parallel."""
    return bool(np.abs(matrix[2, :2]).max() < 1e-12)


def is_upright(matrix: Matrix) -> bool:
    """Upright boxes stay upright, mirrored or turned by right angles or not."""
    aligned, turned = np.abs(matrix[[0, 1], [1, 0]]).max(), np.abs(matrix[[0, 1], [0, 1]]).max()
    return is_affine(matrix) and bool(min(aligned, turned) < 1e-9)


def map_points(points_xy: NDArray[np.float64], matrix: Matrix) -> NDArray[np.float64]:
    """``[..., 2]`` continuous coordinates through ``matrix``; not a number behind the viewer."""
    moved = points_xy @ matrix[:2, :2].T + matrix[:2, 2]
    if is_affine(matrix):
        return moved
    depth = points_xy @ matrix[2, :2] + 1.0
    return moved / np.where(depth > HORIZON, depth, np.nan)[..., None]


def map_corners(boxes_xyxy: NDArray[np.float32], matrix: Matrix) -> NDArray[np.float64]:
    """``[n, 4]`` to their four moved corners, clockwise from the top left one of the source, ``[n, 4, 2]``."""
    corners = np.asarray(boxes_xyxy, dtype=np.float64)[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    return map_points(corners, matrix)


def map_boxes(boxes_xyxy: NDArray[np.float32], matrix: Matrix) -> NDArray[np.float64]:
    """``[n, 4]`` to the upright boxes around their four moved corners, ``[n, 4]``."""
    moved = map_corners(boxes_xyxy, matrix)
    return np.concatenate([moved.min(axis=1), moved.max(axis=1)], axis=1)
