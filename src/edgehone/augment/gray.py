"""Pictures without colour."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from edgehone.augment.hsv import colour_table
from edgehone.augment.recipe import Table
from edgehone.space import Settings, Span


class Gray(Settings):
    """Take the colour out: every pixel keeps its value (its largest channel) and loses its saturation.

    Attributes:
        probability: that a picture becomes gray.
    """

    probability: Annotated[float, Span(0.0, 0.1), Field(ge=0.0, le=1.0)] = 0.0

    def table(self, colours: Table | None, rng: np.random.Generator) -> Table | None:
        """The table to use instead of ``colours``: the same, or one that ends in gray."""
        if not self.probability or rng.random() >= self.probability:
            return colours
        gray = colour_table(1.0, 0.0, 1.0, 1.0) if colours is None else colours.copy()
        gray[:, 1] = 0
        return gray
