"""How pixels are fetched through a matrix: what every applier agrees on, and OpenCV's way of doing it.

A picture is sampled in two steps: it is resampled upright to another size (by area averaging where it
shrinks), then sampled bilinearly through what is left of the matrix. A picture that lands upright on whole
pixels, mirrored or turned by right angles or not, is resampled to exactly the size at which it lands, so that
the second step only moves pixels. That is what inference does, so that training without motion sees the same.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehone.augment.geometry import (
    BORDER,
    Image,
    Matrix,
    centred,
    compose,
    is_affine,
    is_upright,
    map_points,
    scaling,
)
from edgehone.types import Size

WHOLE_PX = 1e-6
"""How far from a whole pixel counts as on it."""


def resampled_size(matrix: Matrix, size: Size) -> Size:
    """``(height, width)`` to which a source of ``size`` is resampled before it is sampled through the matrix.

    Where it does not land upright on whole pixels, an axis that shrinks below a half is halved as often as
    needed, since bilinear sampling would skip pixels there.
    """
    height, width = size
    if is_upright(matrix):
        low, high = map_points(np.array([[0.0, 0.0], [width, height]]), matrix)
        whole = np.abs(np.rint([low, high]) - [low, high]).max() < WHOLE_PX
        across, down = np.abs(np.rint(high - low)).astype(int).tolist()
        if whole and across and down:
            return (down, across) if abs(matrix[0, 1]) < abs(matrix[0, 0]) else (across, down)
    scale_x, scale_y = _scales(matrix, size)
    return max(1, height >> _halvings(scale_y)), max(1, width >> _halvings(scale_x))


def after_resampling(matrix: Matrix, size: Size, resampled: Size) -> Matrix:
    """What is left of a matrix for a source of ``size`` that was resampled to ``resampled``."""
    if resampled == size:
        return matrix
    return compose(scaling(size[1] / resampled[1], size[0] / resampled[0]), matrix)


def resample(image: Image, size: Size) -> Image:
    """``[h, w, 3]`` uint8 to ``[*size, 3]``: area averaging when it shrinks, else bilinear."""
    height, width = size
    if image.shape[:2] == size:
        return image
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=how), dtype=np.uint8)


def warp(image: Image, matrix: Matrix, size: Size) -> Image:
    """The picture seen through ``matrix`` on a canvas of ``size`` (a new array); :data:`BORDER` elsewhere."""
    source: Size = (image.shape[0], image.shape[1])
    resampled = resampled_size(matrix, source)
    image, matrix = resample(image, resampled), after_resampling(matrix, source, resampled)
    linear = np.rint(matrix[:2, :2])
    if is_affine(matrix) and np.abs(matrix[:2] - np.rint(matrix[:2])).max() < WHOLE_PX and abs(_area(linear)) == 1:
        return _moved(image, np.rint(matrix[:2]).astype(int), size)
    affine = is_affine(matrix)  # OpenCV does these faster
    warped = (cv2.warpAffine if affine else cv2.warpPerspective)(
        image,
        centred(matrix)[: 2 if affine else 3],
        size[::-1],
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(BORDER, BORDER, BORDER),
    )
    return np.asarray(warped, dtype=np.uint8)


def _moved(image: Image, matrix: NDArray[np.int64], size: Size) -> Image:
    """Mirrors, right-angle turns and whole-pixel shifts: no pixel changes its value."""
    if matrix[0, 0] == 0:
        image = image.transpose(1, 0, 2)
        matrix = matrix[:, [1, 0, 2]]
    height, width = image.shape[:2]
    image = image[:: int(matrix[1, 1]), :: int(matrix[0, 0])]
    left, top = int(matrix[0, 2]) - width * (matrix[0, 0] < 0), int(matrix[1, 2]) - height * (matrix[1, 1] < 0)
    x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + width, size[1]), min(top + height, size[0])
    inside = image[y1 - top : max(y2, y1) - top, x1 - left : max(x2, x1) - left]
    if inside.shape[:2] == size:
        return inside.copy()
    canvas = np.full((*size, 3), BORDER, dtype=np.uint8)
    canvas[y1 : max(y2, y1), x1 : max(x2, x1)] = inside
    return canvas


def _area(linear: Matrix) -> float:
    return float(linear[0, 0] * linear[1, 1] - linear[0, 1] * linear[1, 0])


def _scales(matrix: Matrix, size: Size) -> tuple[float, float]:
    """By how much the matrix scales along x and y of the source, at its centre."""
    point = np.array([size[1] / 2, size[0] / 2, 1.0])
    x, y, depth = matrix @ point
    slopes = (matrix[:2, :2] - np.outer([x, y], matrix[2, :2]) / depth) / depth
    scale_x, scale_y = np.hypot(slopes[0], slopes[1])
    return float(scale_x), float(scale_y)


def _halvings(scale: float) -> int:
    return int(math.log2(1 / scale) + 1e-9) if 0 < scale < 0.5 else 0
