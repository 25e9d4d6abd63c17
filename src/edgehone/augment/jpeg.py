"""Artefacts of strong compression."""

from __future__ import annotations

from typing import Annotated

import cv2
import numpy as np
from pydantic import Field

from edgehone.augment.geometry import Image
from edgehone.space import Settings, Span


class Jpeg(Settings):
    """Write and read a picture as a JPEG file.

    Attributes:
        probability: that a picture is compressed.
        quality: drawn uniformly from this to 95, as the codec counts.
    """

    probability: Annotated[float, Span(0.0, 0.1), Field(ge=0.0, le=1.0)] = 0.0
    quality: Annotated[int, Field(ge=1, le=95)] = 30

    def draw(self, rng: np.random.Generator) -> int:
        """A quality, 1..95; 0 for no compression."""
        if not self.probability or rng.random() >= self.probability:
            return 0
        return int(rng.integers(self.quality, 96))


def compressed(image: Image, quality: int) -> Image:
    """``[h, w, 3]`` as a decoder gives it back, a new array."""
    _, file = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])  # the order of colours is kept
    return np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR), dtype=np.uint8)
