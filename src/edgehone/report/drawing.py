"""Strokes on pictures: boxes, dashes, labels, JPEG."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Point = tuple[int, int]
Colour = tuple[int, int, int]

JPEG_QUALITY = 80
DASH_PX = 5
FONT = cv2.FONT_HERSHEY_SIMPLEX
FONT_SCALE = 0.4
WHITE: Colour = (255, 255, 255)
BLACK: Colour = (0, 0, 0)


def jpeg(image: Image) -> bytes:
    """An RGB picture as a JPEG file."""
    bgr = np.ascontiguousarray(image[..., ::-1])
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


def scaled(image: Image, scale: float) -> Image:
    """A copy, ``scale`` times as large."""
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    method = cv2.INTER_AREA if scale <= 1 else cv2.INTER_CUBIC
    return np.ascontiguousarray(cv2.resize(image, (width, height), interpolation=method), dtype=np.uint8)


def corners_of(box_xyxy: NDArray[np.float32], scale: float) -> tuple[Point, Point]:
    """Corners of a box in a picture that was scaled."""
    left, top, right, bottom = (round(float(v) * scale) for v in box_xyxy)
    return (left, top), (right, bottom)


def draw_dashed(canvas: Image, low: Point, high: Point) -> None:
    """A dark line under a white one, so that it shows on any picture."""
    (left, top), (right, bottom) = low, high
    edges = [
        ((left, top), (right, top)),
        ((right, top), (right, bottom)),
        ((left, bottom), (right, bottom)),
        ((left, top), (left, bottom)),
    ]
    for start, end in edges:
        cv2.line(canvas, start, end, BLACK, 1)
        for a, b in _dashes(start, end):
            cv2.line(canvas, a, b, WHITE, 1)


def _dashes(start: Point, end: Point) -> Iterator[tuple[Point, Point]]:
    length = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
    for along in range(0, length, 2 * DASH_PX):
        yield (
            _between(start, end, along / length),
            _between(start, end, min(along + DASH_PX - 1, length) / length),
        )


def _between(start: Point, end: Point, share: float) -> Point:
    return (
        round(start[0] + share * (end[0] - start[0])),
        round(start[1] + share * (end[1] - start[1])),
    )


def draw_label(canvas: Image, text: str, corner: Point, colour: Colour) -> None:
    """On a filled strip above the corner, or below where there is no room; kept inside the picture."""
    (width, height), baseline = cv2.getTextSize(text, FONT, FONT_SCALE, 1)
    strip = height + baseline + 2
    left = min(max(corner[0] - 1, 0), max(canvas.shape[1] - width - 4, 0))
    top = corner[1] - strip if corner[1] >= strip else max(corner[1], 0)
    cv2.rectangle(canvas, (left, top), (left + width + 3, top + strip - 1), colour, cv2.FILLED)
    ink = BLACK if sum(colour) > 330 else WHITE
    cv2.putText(canvas, text, (left + 2, top + height + 1), FONT, FONT_SCALE, ink, 1, cv2.LINE_AA)


def printable(name: str) -> str:
    """OpenCV's fonts have ASCII only."""
    return "".join(c if 32 <= ord(c) < 127 else "?" for c in name)
