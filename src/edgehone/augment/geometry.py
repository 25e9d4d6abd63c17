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

Window = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""

BORDER = 114
"""Gray level where no picture is, as in the authors' PyTorch recipes."""

MIN_SIDE_PX = 2.0
"""Least side of what is left of an object that was cut."""

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


def map_points(points_xy: NDArray[np.float64], matrix: Matrix) -> NDArray[np.float64]:
    """``[..., 2]`` continuous coordinates through ``matrix``; not a number behind the viewer."""
    moved = points_xy @ matrix[:2, :2].T + matrix[:2, 2]
    if is_affine(matrix):
        return moved
    depth = points_xy @ matrix[2, :2] + 1.0
    return moved / np.where(depth > HORIZON, depth, np.nan)[..., None]


def map_boxes(boxes_xyxy: NDArray[np.float32], matrix: Matrix) -> NDArray[np.float64]:
    """``[n, 4]`` to the upright boxes around their four moved corners, ``[n, 4]``."""
    corners = np.asarray(boxes_xyxy, dtype=np.float64)[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    moved = map_points(corners, matrix)
    return np.concatenate([moved.min(axis=1), moved.max(axis=1)], axis=1)


def clip_boxes(
    boxes_xyxy: NDArray[np.float64],
    window_xyxy: Window,
    min_visible: float,
    seen: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Cut boxes to what is seen of them and say which ones are still worth learning.

    An object that was cut or covered counts if at least ``min_visible`` of its area is left and both
    sides of that are at least :data:`MIN_SIDE_PX`. An object that was neither always counts, however
    small: dropping it would hide truth from training that evaluation asks for.

    Args:
        boxes_xyxy: ``[n, 4]``, pixels; a box with a side that is not a number is dropped.
        window_xyxy: where something can be seen.
        min_visible: fraction of the area, 0..1.
        seen: ``[height, width]``, pixels of the canvas that are not covered; None where all are seen.

    Returns:
        The boxes kept ``[k, 4]``, around what is seen, and the mask ``[n]`` of those kept.
    """
    low = np.maximum(boxes_xyxy[:, :2], window_xyxy[:2])
    high = np.minimum(boxes_xyxy[:, 2:], window_xyxy[2:])
    left = np.concatenate([low, high], axis=1)
    whole = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    sides = np.maximum(high - low, 0.0)
    area = sides.prod(axis=1)
    if seen is not None:
        for row in np.flatnonzero(area > 0).tolist():
            left[row], area[row] = _uncovered(left[row], seen)
        sides = np.maximum(left[:, 2:] - left[:, :2], 0.0)
    visible = area / np.maximum(whole.prod(axis=1), 1e-9)
    # A thousandth of a pixel lost to rounding at the edge is not a cut.
    lost = whole.prod(axis=1) - area
    uncut = (lost <= 1e-3 * whole.sum(axis=1)) & (area > 0)
    keep = uncut | ((visible >= min_visible) & (sides >= MIN_SIDE_PX).all(axis=1))
    return left[keep].astype(np.float32), keep


def _uncovered(box: NDArray[np.float64], seen: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
    """The box around what is seen inside ``box`` and the area (px^2) of that."""
    first = np.floor(box[:2]).astype(int)
    last = np.ceil(box[2:]).astype(int)
    inside = seen[first[1] : last[1], first[0] : last[0]]
    columns = _shares(box[0], box[2], first[0], last[0])
    rows = _shares(box[1], box[3], first[1], last[1])
    area = float(rows @ inside @ columns)
    if area == 0:
        return np.array([*box[:2], *box[:2]]), 0.0
    across, down = np.flatnonzero(inside.any(axis=0)), np.flatnonzero(inside.any(axis=1))
    low = np.maximum(box[:2], np.array([across[0], down[0]]) + first)
    high = np.minimum(box[2:], np.array([across[-1], down[-1]]) + first + 1)
    return np.concatenate([low, high]), area


def _shares(low: float, high: float, first: int, last: int) -> NDArray[np.float64]:
    """How much of each pixel from ``first`` to ``last`` lies between ``low`` and ``high``."""
    edges = np.arange(first, last)
    return np.minimum(edges + 1.0, high) - np.maximum(edges, low)
