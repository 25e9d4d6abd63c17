"""Parts of pictures with boxes on them, for looking closely: what is marked large, its surroundings beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehone.report.drawing import Colour, Image, corners_of, draw_dashed, jpeg, scaled

WIDTH_PX, HEIGHT_PX = 360, 270
LEAST_PX = 120
"""A part of a picture is at least this wide: a few pixels alone show nothing."""

SURROUNDINGS = 1.9
"""How much larger the part is than what is marked in it."""

GAP_PX = 8
GRAY = 128


@dataclass(frozen=True)
class Mark:
    """A box to draw."""

    box_xyxy: Sequence[float]
    colour: Colour


def draw_crop(image: Image, labels_xyxy: NDArray[np.float32], marks: Sequence[Mark]) -> bytes:
    """The part of a picture around its marks, or all of it where there are none, as JPEG.

    Args:
        image: RGB.
        labels_xyxy: ``[n, 4]`` in its pixels, drawn thin and dashed.
        marks: drawn boldly, the last on top.
    """
    return jpeg(_drawn(image, labels_xyxy, marks))


def draw_row(pictures: Sequence[tuple[Image, NDArray[np.float32]]]) -> bytes:
    """Whole pictures side by side, equally high, each with its labels drawn thin and dashed, as JPEG."""
    height = HEIGHT_PX
    while sum(_width_at(image, height) for image, _ in pictures) > 2 * WIDTH_PX and height > HEIGHT_PX // 3:
        height -= 10
    gap = np.full((height, GAP_PX, 3), GRAY, np.uint8)
    parts: list[Image] = []
    for image, labels_xyxy in pictures:
        size = (_width_at(image, height), height)
        canvas = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        for box in labels_xyxy:
            draw_dashed(canvas, *corners_of(box, height / image.shape[0]))
        parts += [canvas, gap]
    return jpeg(np.concatenate(parts[:-1], axis=1))


def _width_at(image: Image, height: int) -> int:
    return max(1, round(image.shape[1] * height / image.shape[0]))


def _drawn(image: Image, labels_xyxy: NDArray[np.float32], marks: Sequence[Mark]) -> Image:
    height, width = image.shape[:2]
    left, top, right, bottom = _part(marks, width, height) if marks else (0, 0, width, height)
    part = image[top:bottom, left:right]
    scale = min(WIDTH_PX / part.shape[1], HEIGHT_PX / part.shape[0])
    if not marks:
        scale = min(scale, 1.0)
    canvas = scaled(part, scale)
    origin = np.array([left, top, left, top], np.float32)
    for box in labels_xyxy:
        draw_dashed(canvas, *corners_of(box - origin, scale))
    for mark in marks:
        box = np.asarray(mark.box_xyxy, np.float32) - origin
        cv2.rectangle(canvas, *corners_of(box, scale), mark.colour, 2, cv2.LINE_AA)
    return canvas


def _part(marks: Sequence[Mark], width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what is shown: three quarters as high as wide, as far as the picture allows."""
    boxes = np.array([mark.box_xyxy for mark in marks], np.float64).reshape(-1, 4)
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    sides = (high - low) * SURROUNDINGS
    wide = max(sides[0], sides[1] * WIDTH_PX / HEIGHT_PX, LEAST_PX)
    shown = np.minimum([wide, wide * HEIGHT_PX / WIDTH_PX], [width, height])
    corner = np.clip((low + high - shown) / 2, 0, np.array([width, height]) - shown)
    left, top = (int(v) for v in np.floor(corner))
    return left, top, min(width, left + int(np.ceil(shown[0]))), min(height, top + int(np.ceil(shown[1])))
