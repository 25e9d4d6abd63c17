"""A rectangle of another picture."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
from pydantic import Field

from edgehone.augment.recipe import PixelWindow
from edgehone.space import Settings, Span
from edgehone.types import Size


class Cutmix(Settings):
    """Replace a rectangle by what another picture shows there.

    Source: Yun et al. 2019, arXiv 1905.04899; here the objects seen count, not shares of labels.

    Attributes:
        probability: that a picture gets a rectangle of another one.
        area: the rectangle's share of the input is drawn uniformly up to this.
    """

    probability: Annotated[float, Span(0.0, 0.3), Field(ge=0.0, le=1.0)] = 0.0
    area: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5

    def window(self, size: Size, rng: np.random.Generator) -> PixelWindow:
        """A rectangle of the input's aspect, anywhere inside it, at least one pixel."""
        share = math.sqrt(rng.random() * self.area)
        height, width = (max(1, round(side * share)) for side in size)
        top, left = int(rng.integers(size[0] - height + 1)), int(rng.integers(size[1] - width + 1))
        return left, top, left + width, top + height
