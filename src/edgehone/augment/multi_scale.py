"""Another input size at every step."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edgehone.space import Settings, Span
from edgehone.types import Size

STEP_PX = 32
"""Input sizes are multiples of this, the coarsest stride of the detectors."""


class MultiScale(Settings):
    """Draw the input size of each batch, at the expected cost of the fixed size.

    Source: Redmon and Farhadi 2017, arXiv 1612.08242, section 2, "Multi-Scale Training".

    Attributes:
        spread: sizes lie between ``1 - spread`` and ``1 + spread`` of the fixed one.
    """

    spread: Annotated[float, Span(0.0, 0.3), Field(ge=0.0, le=0.5)] = 0.0

    def sizes(self, size: Size) -> tuple[list[Size], NDArray[np.float64]]:
        """The sizes that are drawn, ``size`` among them, and the probability of each.

        Larger sizes are drawn less often than smaller ones, such that the mean number of pixels, to which the
        cost of a step is proportional, is at most that of ``size``.
        """
        least = min(size)
        steps = int(self.spread * least / STEP_PX + 1e-9)
        sides = [least + STEP_PX * k for k in range(-steps, steps + 1) if least + STEP_PX * k >= STEP_PX]
        found = [
            (_multiple(size[0] * s / least), _multiple(size[1] * s / least)) if s != least else size for s in sides
        ]
        excess = np.array([height * width - size[0] * size[1] for height, width in found], dtype=np.float64)
        weights = np.ones(len(found))
        surplus, saved = excess[excess > 0].sum(), -excess[excess < 0].sum()
        if surplus > 0:
            weights[excess > 0] = min(1.0, saved / surplus)
        return found, weights / weights.sum()

    def draw(self, size: Size, rng: np.random.Generator) -> Size:
        """The ``(height, width)`` of one batch around the fixed ``size``."""
        sizes, probabilities = self.sizes(size)
        return sizes[int(rng.choice(len(sizes), p=probabilities))]

    def largest(self, size: Size) -> Size:
        """The largest size that may be drawn."""
        return self.sizes(size)[0][-1]


def _multiple(side: float) -> int:
    return max(STEP_PX, round(side / STEP_PX) * STEP_PX)
