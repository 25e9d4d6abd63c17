"""Parts of the picture hidden under gray rectangles."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edgehone.augment.geometry import BORDER, Image
from edgehone.augment.recipe import no_rectangles
from edgehone.space import Settings, Span
from edgehone.types import Size

Rectangles = NDArray[np.int32]
"""``[k, 4]``: left, top, right, bottom in whole pixels."""


class Cutout(Settings):
    """A few rectangles anywhere. Source: DeVries and Taylor 2017, arXiv 1708.04552.

    Attributes:
        probability: that rectangles are erased.
        holes: their number is drawn uniformly from one to this.
        side: each of their sides is drawn uniformly up to this fraction of the input's.
    """

    kind: Literal["cutout"] = "cutout"
    probability: Annotated[float, Span(0.0, 0.3), Field(ge=0.0, le=1.0)] = 0.0
    holes: Annotated[int, Field(ge=1, le=100)] = 4
    side: Annotated[float, Field(gt=0.0, le=1.0)] = 0.2

    def draw(self, size: Size, rng: np.random.Generator) -> Rectangles:
        """Rectangles whose centres lie in an input of ``size``, clipped to it."""
        if not self.probability or rng.random() >= self.probability:
            return no_rectangles()
        count = int(rng.integers(1, self.holes + 1))
        limits = np.array(size[::-1])
        half = rng.random((count, 2)) * self.side * limits / 2
        centres = rng.random((count, 2)) * limits
        return _clipped(np.concatenate([centres - half, centres + half], axis=1), size)


class GridMask(Settings):
    """Squares in a regular grid. Source: Chen et al. 2020, arXiv 2001.04086.

    Attributes:
        probability: that a grid is erased.
        unit: the distance of squares is drawn uniformly from half of this to all of it, as a fraction of the
            longer side of the input.
        side: of a square, as a fraction of their distance.
    """

    kind: Literal["grid_mask"] = "grid_mask"
    probability: Annotated[float, Span(0.0, 0.3), Field(ge=0.0, le=1.0)] = 0.0
    unit: Annotated[float, Field(ge=0.05, le=1.0)] = 0.4
    side: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.4

    def draw(self, size: Size, rng: np.random.Generator) -> Rectangles:
        """The squares of a grid over an input of ``size``, clipped to it."""
        if not self.probability or rng.random() >= self.probability:
            return no_rectangles()
        step = self.unit * float(rng.uniform(0.5, 1.0)) * max(size)
        start = (rng.random(2) - 1) * step
        rows, columns = (np.arange(first, length, step) for first, length in zip(start, size, strict=True))
        corners = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
        return _clipped(np.concatenate([corners, corners + self.side * step], axis=1), size)


Erasing = Annotated[Cutout | GridMask, Field(discriminator="kind")]
"""Every way to hide parts of a picture."""


def erase(image: Image, rectangles_xyxy: Rectangles) -> None:
    """Paint rectangles gray, in place."""
    for left, top, right, bottom in rectangles_xyxy:
        image[top:bottom, left:right] = BORDER


def _clipped(rectangles_xyxy: NDArray[np.float64], size: Size) -> Rectangles:
    """In whole pixels of the input, without empty ones."""
    height, width = size
    whole = np.clip(np.rint(rectangles_xyxy), 0, (width, height, width, height)).astype(np.int32)
    return whole[(whole[:, 2:] > whole[:, :2]).all(axis=1)]
