"""Fitting a picture of any size into the network input, and boxes back out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgehone.augment.geometry import Image, Matrix, Sides, inverse, map_boxes, scaling
from edgehone.augment.resampling import warp
from edgehone.types import Picture, Size

Fit = Literal["stretch", "letterbox"]
"""``stretch``: each side on its own (Darknet's default); ``letterbox``: keep the aspect, pad with gray."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The network input that pictures are made for.

    Attributes:
        input_size: ``(height, width)`` in pixels.
        fit: how a picture of another shape is brought into it.
    """

    input_size: Size
    fit: Fit = "stretch"


def content_size(size: Sides, input_size: Size, kind: Fit) -> Size:
    """``(height, width)`` that the picture itself takes up in the input; whole pixels, at least 1."""
    if kind == "stretch":
        return input_size
    scale = min(input_size[0] / size[0], input_size[1] / size[1])
    height, width = (max(1, min(limit, round(s * scale))) for s, limit in zip(size, input_size, strict=True))
    return height, width


def fit_matrix(size: Sides, input_size: Size, kind: Fit) -> Matrix:
    """Original pixels to network input, ``[3, 3]`` float64, in the continuous coordinates of boxes.

    The picture's corner (0, 0) and its pixel edges map exactly (``x' = x * scale + offset``); that is
    the geometry of :func:`cv2.resize`, for which pixel centres are at half integers.
    """
    height, width = content_size(size, input_size, kind)
    top, left = (input_size[0] - height) // 2, (input_size[1] - width) // 2
    return scaling(width / size[1], height / size[0], left, top)


def fit_picture(image: Image, input_size: Size, kind: Fit) -> Image:
    """``[h, w, 3]`` uint8 to ``[*input_size, 3]``: area averaging when it shrinks, else bilinear."""
    return warp(image, fit_matrix((image.shape[0], image.shape[1]), input_size, kind), input_size)


def unfit_boxes(boxes_xyxy: NDArray[np.float32], size: Size, input_size: Size, kind: Fit) -> NDArray[np.float32]:
    """Boxes in the network input, ``[n, 4]``, back to pixels of the original picture, clipped to it."""
    boxes = map_boxes(boxes_xyxy, inverse(fit_matrix(size, input_size, kind)))
    limits = (size[1], size[0], size[1], size[0])
    return np.clip(boxes, 0.0, limits).astype(np.float32)


def plain(picture: Picture, frame: Frame) -> Picture:
    """The picture in the network input without any augmentation, every box kept.

    Args:
        picture: of any size.
        frame: the network input.

    Returns:
        An image of exactly ``frame.input_size`` with its boxes in those pixels, clipped.
    """
    height, width = picture.image.shape[:2]
    boxes = map_boxes(picture.boxes_xyxy, fit_matrix((height, width), frame.input_size, frame.fit))
    rows, columns = frame.input_size
    clipped = np.clip(boxes, 0.0, (columns, rows, columns, rows)).astype(np.float32)
    return Picture(
        fit_picture(picture.image, frame.input_size, frame.fit),
        clipped,
        picture.classes.copy(),
    )
