"""What an augmented picture is made of, decided before any pixel is touched.

Every applier paints a recipe in the same order: layers from the bottom up, the colour table, gray, blur,
noise, JPEG artefacts, erased rectangles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgehone.augment.geometry import Matrix
from edgehone.augment.visibility import visible_boxes
from edgehone.types import Detections, Picture, Size, no_boxes

Read = Callable[[int], Picture]
"""Gives the picture of an index."""

Table = NDArray[np.uint8]
"""``[256, 3]``: old to new hue (0..179), saturation and value."""

PixelWindow = tuple[int, int, int, int]
"""Left, top, right, bottom in whole pixels of the canvas."""


def no_rectangles() -> NDArray[np.int32]:
    """``[0, 4]``."""
    return np.zeros((0, 4), np.int32)


@dataclass(frozen=True, slots=True)
class Layer:
    """One source in a window of the canvas; inside it, gray where the source is not.

    Attributes:
        source: index of the picture.
        matrix: source pixels to canvas pixels.
        window: the only part of the canvas that the layer changes, inside the canvas and not empty.
        opacity: 1 hides what lies below, 0.5 shows as much of it.
    """

    source: int
    matrix: Matrix
    window: PixelWindow
    opacity: float = 1.0


@dataclass(frozen=True, slots=True)
class Effects:
    """What happens to the pixels of the finished picture; nothing by default.

    Attributes:
        gray: whether the colours are taken out.
        blur_px: standard deviation of a Gaussian blur.
        noise_levels: standard deviation of the noise at middle gray, of 255.
        noise_seed: of its pattern.
        jpeg_quality: 1..100; 0 for no compression.
    """

    gray: bool = False
    blur_px: float = 0.0
    noise_levels: float = 0.0
    noise_seed: int = 0
    jpeg_quality: int = 0


@dataclass(frozen=True, slots=True)
class Recipe:
    """One picture for training, as plain data.

    Attributes:
        size: ``(height, width)`` of the canvas.
        layers: from the bottom up; together they cover the canvas.
        table: colours; None leaves them as they are.
        effects: of the lens, the sensor and the file.
        erased: ``[k, 4]`` int32, rectangles (left, top, right, bottom) that are gray in the end.
    """

    size: Size
    layers: tuple[Layer, ...]
    table: Table | None = None
    effects: Effects = Effects()
    erased: NDArray[np.int32] = field(default_factory=no_rectangles)

    def truth(self, read: Read, min_visible: float) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Boxes ``[n, 4]`` in canvas pixels around what is seen of each object, and classes ``[n]``."""

        def labels(source: int) -> Detections:
            picture = read(source)
            return Detections(picture.boxes_xyxy, np.ones(len(picture.classes), np.float32), picture.classes)

        found = self.carried(labels, min_visible)
        return found.boxes_xyxy, found.classes

    def carried(self, said: Callable[[int], Detections], min_visible: float) -> Detections:
        """What was said of the sources, where it is seen on the canvas: in the order of the layers, in canvas pixels.

        A box that is cut by its window or covered by later layers or erased rectangles counts by
        :func:`edgehone.augment.visibility.visible_boxes`; a pixel of a layer is seen where the layer
        contributes at least ``min_visible`` of it.

        Args:
            said: boxes in the source's pixels, by the source's index.
            min_visible: fraction of the area, 0..1.
        """
        boxes, scores, classes = [no_boxes()], [np.zeros(0, np.float32)], [np.zeros(0, np.int64)]
        for k, layer in enumerate(self.layers):
            source = said(layer.source)
            if len(source) == 0:
                continue
            seen = self._seen(k, min_visible)
            kept, keep = visible_boxes(source.boxes_xyxy, source.classes, layer.matrix, layer.window, min_visible, seen)
            boxes.append(kept)
            scores.append(source.scores[keep])
            classes.append(source.classes[keep])
        return Detections(np.concatenate(boxes), np.concatenate(scores), np.concatenate(classes))

    def _seen(self, index: int, min_visible: float) -> NDArray[np.bool_] | None:
        """``[height, width]``, where a layer is seen if it has a pixel there; None for everywhere."""
        layer = self.layers[index]
        above = [other for other in self.layers[index + 1 :] if _meet(other.window, layer.window)]
        if not above and not len(self.erased) and layer.opacity == 1:
            return None
        share = np.full(self.size, layer.opacity, np.float32)
        for other in above:
            left, top, right, bottom = other.window
            share[top:bottom, left:right] *= 1 - other.opacity
        for left, top, right, bottom in self.erased:
            share[top:bottom, left:right] = 0
        return (share > 0) & (share >= min_visible)


def _meet(a: PixelWindow, b: PixelWindow) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
