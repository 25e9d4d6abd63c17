"""Pictures without colour."""

from __future__ import annotations

from typing import Annotated

import cv2
import numpy as np
from pydantic import Field

from edgehone.augment.geometry import Image
from edgehone.space import Settings, Span

LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in the brightness of a pixel (ITU-R BT.601)."""


class Gray(Settings):
    """Take the colour out and keep the brightness.

    Attributes:
        probability: that a picture becomes gray.
    """

    probability: Annotated[float, Span(0.0, 0.1), Field(ge=0.0, le=1.0)] = 0.0

    def draw(self, rng: np.random.Generator) -> bool:
        """Whether the next picture becomes gray."""
        return bool(self.probability and rng.random() < self.probability)


def grayed(image: Image) -> Image:
    """``[h, w, 3]``, a new array of three equal channels."""
    return np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), dtype=np.uint8)
