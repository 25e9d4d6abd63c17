"""Objects of other pictures, copied in."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edgehone.augment.fit import Frame, fit_matrix
from edgehone.augment.flip import Flip, flip_matrix
from edgehone.augment.geometry import compose, map_boxes, scaling, shifting
from edgehone.augment.recipe import Layer, PixelWindow
from edgehone.space import Settings, Span
from edgehone.types import IGNORED, Picture, Size

ATTEMPTS = 10
"""Places tried for an object before it is left out."""

MIN_WINDOW_PX = 2
"""Least side of a pasted rectangle."""


class Paste(Settings):
    """Copy rectangles of objects into a picture, where they hide little of what is there.

    Source: Ghiasi et al. 2021, arXiv 2012.07177, for boxes instead of masks.

    Attributes:
        probability: that objects are pasted into a picture.
        objects: the number of objects is drawn uniformly from one to this.
        scale: an object is as large as it would be in its own picture times a factor drawn uniformly from
            ``1 - scale .. 1 + scale``.
        overlap: the largest part of an object already there that a pasted one may hide.
    """

    probability: Annotated[float, Span(0.0, 0.5), Field(ge=0.0, le=1.0)] = 0.0
    objects: Annotated[int, Field(ge=1, le=100)] = 3
    scale: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.3
    overlap: Annotated[float, Field(ge=0.0, le=1.0)] = 0.1

    def count(self, rng: np.random.Generator) -> int:
        """How many objects to paste into the next picture."""
        if not self.probability or rng.random() >= self.probability:
            return 0
        return int(rng.integers(1, self.objects + 1))

    def layer(
        self,
        source: tuple[int, Picture],
        flip: Flip,
        frame: Frame,
        there_xyxy: NDArray[np.float32],
        rng: np.random.Generator,
    ) -> Layer | None:
        """One object of a picture at a free place, or None where there is none.

        Args:
            source: the picture and its index.
            flip: how objects are mirrored.
            frame: the network input.
            there_xyxy: ``[n, 4]``, objects that lie there already, in pixels of the input.
            rng: source of every draw.
        """
        index, picture = source
        objects = np.flatnonzero(picture.classes != IGNORED)
        if len(objects) == 0:
            return None
        size: Size = (picture.image.shape[0], picture.image.shape[1])
        gain = 1 + self.scale * float(rng.uniform(-1.0, 1.0))
        matrix = compose(
            flip_matrix(size, *flip.draw(rng)), fit_matrix(size, frame.input_size, frame.fit), scaling(gain, gain)
        )
        chosen = int(rng.choice(objects))
        left, top, right, bottom = map_boxes(picture.boxes_xyxy[chosen : chosen + 1], matrix)[0].tolist()
        left, top = math.floor(left), math.floor(top)
        height, width = math.ceil(bottom) - top, math.ceil(right) - left
        rows, columns = frame.input_size
        if not (MIN_WINDOW_PX <= height <= rows and MIN_WINDOW_PX <= width <= columns):
            return None
        for _ in range(ATTEMPTS):
            y, x = rng.integers((rows - height + 1, columns - width + 1)).tolist()
            window = (x, y, x + width, y + height)
            if hidden(there_xyxy, window).max(initial=0.0) <= self.overlap:
                return Layer(index, compose(matrix, shifting(x - left, y - top)), window)
        return None


def hidden(boxes_xyxy: NDArray[np.float32], window: PixelWindow) -> NDArray[np.float64]:
    """``[n]``, the part of each box that a window would hide, 0..1."""
    boxes = boxes_xyxy.astype(np.float64)
    inside = np.maximum(np.minimum(boxes[:, 2:], window[2:]) - np.maximum(boxes[:, :2], window[:2]), 0.0)
    return inside.prod(axis=1) / np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 1e-9)
