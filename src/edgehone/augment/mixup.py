"""Two pictures on top of each other."""

from __future__ import annotations

from typing import Annotated

import cv2
import numpy as np
from pydantic import Field

from edgehone.space import Settings, Span
from edgehone.types import Picture


class Mixup(Settings):
    """Blend two pictures; the truth of both counts in full, as in the authors' recipes.

    Source: Zhang et al. 2018, arXiv 1710.09412, without the mixing of labels.

    Attributes:
        probability: that a picture is blended with another one.
        alpha: the share of the first is drawn from Beta(alpha, alpha); 8 keeps it near a half.
    """

    probability: Annotated[float, Span(0.0, 1.0), Field(ge=0.0, le=1.0)] = 0.0
    alpha: Annotated[float, Field(gt=0.0)] = 8.0

    def blend(self, first: Picture, second: Picture, rng: np.random.Generator) -> Picture:
        """One picture of two of equal size."""
        share = float(rng.beta(self.alpha, self.alpha))
        image = cv2.addWeighted(first.image, share, second.image, 1 - share, 0.0)
        return Picture(
            np.asarray(image, dtype=np.uint8),
            np.concatenate([first.boxes_xyxy, second.boxes_xyxy]),
            np.concatenate([first.classes, second.classes]),
        )
