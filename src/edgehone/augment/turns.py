"""Random right-angle turns, for pictures taken from above."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from edgehone.augment.geometry import Matrix, Sides
from edgehone.space import Choice, Settings


class Turns(Settings):
    """Turn a picture by 90, 180 or 270 degrees; no pixel is interpolated.

    Attributes:
        probability: that a picture is turned; each of the three turns is as likely as the others.
    """

    probability: Annotated[float, Choice(0.0, 0.75), Field(ge=0.0, le=1.0)] = 0.0

    def draw(self, rng: np.random.Generator) -> int:
        """Quarter turns clockwise on screen, 0..3."""
        if not self.probability or rng.random() >= self.probability:
            return 0
        return int(rng.integers(1, 4))


def turned_sides(sides: Sides, quarters: int) -> Sides:
    """``(height, width)`` after that many quarter turns."""
    return (sides[1], sides[0]) if quarters % 2 else sides


def quarter_matrix(sides: Sides, quarters: int) -> Matrix:
    """A picture of ``sides`` turned clockwise, its top left corner at the origin again."""
    height, width = sides
    rows = {
        0: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]],
        1: [[0.0, -1.0, height], [1.0, 0.0, 0.0]],
        2: [[-1.0, 0.0, width], [0.0, -1.0, height]],
        3: [[0.0, 1.0, 0.0], [-1.0, 0.0, width]],
    }[quarters % 4]
    return np.array([*rows, [0.0, 0.0, 1.0]])
