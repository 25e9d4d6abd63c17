"""Two pictures on top of each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np
from pydantic import Field

from edgehone.augment.recipe import Layer
from edgehone.space import Settings, Span


class Mixup(Settings):
    """Blend two pictures; the truth of both counts in full, as in the authors' recipes.

    Source: Zhang et al. 2018, arXiv 1710.09412, without the mixing of labels.

    Attributes:
        probability: that a picture is blended with another one.
        alpha: the share of the first is drawn from Beta(alpha, alpha); 8 keeps it near a half.
    """

    probability: Annotated[float, Span(0.0, 1.0), Field(ge=0.0, le=1.0)] = 0.0
    alpha: Annotated[float, Field(gt=0.0)] = 8.0

    def layers(self, other: Sequence[Layer], rng: np.random.Generator) -> list[Layer]:
        """The layers of the second picture, opaque and side by side, as they lie on the first."""
        share = float(rng.beta(self.alpha, self.alpha))
        return [replace(layer, opacity=1 - share) for layer in other]
