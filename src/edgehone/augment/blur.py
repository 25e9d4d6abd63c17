"""Pictures out of focus."""

from __future__ import annotations

import math
from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edgehone.augment.geometry import Image
from edgehone.space import Settings, Span

REACH = 3.0
"""Half of the kernel, in standard deviations."""


class Blur(Settings):
    """Gaussian blur.

    Attributes:
        probability: that a picture is blurred.
        sigma_px: the standard deviation is drawn uniformly from a quarter of this to all of it, pixels of the input.
    """

    probability: Annotated[float, Span(0.0, 0.1), Field(ge=0.0, le=1.0)] = 0.0
    sigma_px: Annotated[float, Field(gt=0.0, le=20.0)] = 2.0

    def draw(self, rng: np.random.Generator) -> float:
        """A standard deviation in pixels; 0 for no blur."""
        if not self.probability or rng.random() >= self.probability:
            return 0.0
        return self.sigma_px * float(rng.uniform(0.25, 1.0))


def gauss_kernel(sigma_px: float) -> NDArray[np.float64]:
    """``[2 r + 1]``, adds up to one."""
    radius = max(1, math.ceil(REACH * sigma_px))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma_px) ** 2)
    return kernel / kernel.sum()


def blurred(image: Image, sigma_px: float) -> Image:
    """``[h, w, 3]``, a new array; mirrored about the outermost pixels at the edges."""
    kernel = gauss_kernel(sigma_px)
    return np.asarray(cv2.sepFilter2D(image, -1, kernel, kernel, borderType=cv2.BORDER_REFLECT_101), dtype=np.uint8)
