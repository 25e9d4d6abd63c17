"""Random mirroring."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from edgehone.augment.geometry import Matrix, Sides, scaling
from edgehone.space import Choice, Settings


class Flip(Settings):
    """Mirror a picture.

    Attributes:
        horizontal: probability of exchanging left and right.
        vertical: probability of exchanging top and bottom.
    """

    horizontal: Annotated[float, Choice(0.0, 0.5), Field(ge=0.0, le=1.0)] = 0.5
    vertical: Annotated[float, Choice(0.0, 0.5), Field(ge=0.0, le=1.0)] = 0.0

    def draw(self, rng: np.random.Generator) -> tuple[bool, bool]:
        """Whether to mirror ``(horizontally, vertically)``."""
        across, down = rng.random(2).tolist()
        return across < self.horizontal, down < self.vertical


def flip_matrix(sides: Sides, horizontal: bool, vertical: bool) -> Matrix:
    """The mirror within a picture of ``sides``: its own inverse."""
    height, width = sides
    return scaling(
        -1.0 if horizontal else 1.0,
        -1.0 if vertical else 1.0,
        width if horizontal else 0.0,
        height if vertical else 0.0,
    )
