"""Geometry of pictures and boxes: one affine matrix from original pixels to network input.

Matrices are ``[2, 3]`` float64 and act on *continuous* coordinates, where pixel ``i`` covers
``i`` to ``i + 1``; that is how boxes are measured. OpenCV samples at pixel centres, so that
:func:`warp` moves a matrix by half a pixel on both sides before it hands it over.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehone.types import Size

Matrix = NDArray[np.float64]
"""``[2, 3]``, continuous coordinates of the source to those of the destination."""

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


def scaling(scale_x: float, scale_y: float, shift_x: float = 0.0, shift_y: float = 0.0) -> Matrix:
    """``x' = x * scale_x + shift_x``, likewise for y; scales without unit, shifts in pixels."""
    return np.array([[scale_x, 0.0, shift_x], [0.0, scale_y, shift_y]])


def turning(degrees: float, gain: float, centre: Sides) -> Matrix:
    """Rotation (clockwise on screen) and gain about ``centre``, given as ``(y, x)`` in pixels."""
    y, x = centre
    cos, sin = (
        gain * math.cos(math.radians(degrees)),
        gain * math.sin(math.radians(degrees)),
    )
    return np.array([[cos, -sin, x - cos * x + sin * y], [sin, cos, y - sin * x - cos * y]])


def compose(*matrices: Matrix) -> Matrix:
    """One matrix that does the given ones in the order given."""
    result = matrices[0]
    for matrix in matrices[1:]:
        linear = matrix[:, :2]
        result = np.concatenate([linear @ result[:, :2], linear @ result[:, 2:] + matrix[:, 2:]], axis=1)
    return result


def inverse(matrix: Matrix) -> Matrix:
    """The matrix that undoes ``matrix``."""
    linear = np.asarray(np.linalg.inv(matrix[:, :2]), dtype=np.float64)
    return np.concatenate([linear, -linear @ matrix[:, 2:]], axis=1)


def map_points(points_xy: NDArray[np.float64], matrix: Matrix) -> NDArray[np.float64]:
    """``[..., 2]`` continuous coordinates through ``matrix``."""
    return points_xy @ matrix[:, :2].T + matrix[:, 2]


def map_boxes(boxes_xyxy: NDArray[np.float32], matrix: Matrix) -> NDArray[np.float64]:
    """``[n, 4]`` to the upright boxes around their four moved corners, ``[n, 4]``."""
    corners = np.asarray(boxes_xyxy, dtype=np.float64)[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    moved = map_points(corners, matrix)
    return np.concatenate([moved.min(axis=1), moved.max(axis=1)], axis=1)


def clip_boxes(
    boxes_xyxy: NDArray[np.float64], window_xyxy: Window, min_visible: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Cut boxes to a window and say which ones are still worth learning.

    An object that the window cuts counts if at least ``min_visible`` of its area is left and both
    sides of that are at least :data:`MIN_SIDE_PX`. An object that is not cut always counts, however
    small: dropping it would hide truth from training that evaluation asks for.

    Args:
        boxes_xyxy: ``[n, 4]``, pixels.
        window_xyxy: where something can be seen.
        min_visible: fraction of the area, 0..1.

    Returns:
        The boxes kept ``[k, 4]``, clipped, and the mask ``[n]`` of those kept.
    """
    low = np.maximum(boxes_xyxy[:, :2], window_xyxy[:2])
    high = np.minimum(boxes_xyxy[:, 2:], window_xyxy[2:])
    sides = np.maximum(high - low, 0.0)
    whole = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    visible = sides.prod(axis=1) / np.maximum(whole.prod(axis=1), 1e-9)
    # A thousandth of a pixel lost to rounding at the edge is not a cut.
    uncut = (whole - sides <= 1e-3).all(axis=1) & (sides > 0).all(axis=1)
    keep = uncut | ((visible >= min_visible) & (sides >= MIN_SIDE_PX).all(axis=1))
    return np.concatenate([low, high], axis=1)[keep].astype(np.float32), keep


def warp(image: Image, matrix: Matrix, size: Size) -> Image:
    """The picture seen through ``matrix`` on a canvas of ``size``; :data:`BORDER` where there is none.

    Sampling is bilinear. An axis that shrinks below a half is first halved by area averaging (as
    often as needed), since bilinear sampling would skip pixels there.
    """
    scale_x, scale_y = np.hypot(matrix[0, :2], matrix[1, :2])
    halvings_x, halvings_y = _halvings(float(scale_x)), _halvings(float(scale_y))
    if halvings_x or halvings_y:
        height, width = image.shape[:2]
        small_height, small_width = (
            max(1, height >> halvings_y),
            max(1, width >> halvings_x),
        )
        shrunk = cv2.resize(image, (small_width, small_height), interpolation=cv2.INTER_AREA)
        image = np.asarray(shrunk, dtype=np.uint8)
        matrix = compose(scaling(width / small_width, height / small_height), matrix)
    centred = matrix.copy()
    centred[:, 2] += matrix[:, :2].sum(axis=1) / 2 - 0.5
    warped = cv2.warpAffine(
        image,
        centred,
        size[::-1],
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(BORDER, BORDER, BORDER),
    )
    return np.asarray(warped, dtype=np.uint8)


def _halvings(scale: float) -> int:
    return int(math.log2(1 / scale) + 1e-9) if 0 < scale < 0.5 else 0
