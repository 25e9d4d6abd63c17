"""Random scale, translation, rotation and Darknet's crop jitter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from edgehone.augment.geometry import Matrix, Sides, compose, scaling, turning
from edgehone.space import Settings, Span
from edgehone.types import Size


@dataclass(frozen=True, slots=True)
class Motion:
    """One draw of an :class:`Affine`.

    Attributes:
        crop_xyxy: the part of the picture, in fractions of its sides, that takes the place of the
            whole; it may reach beyond 0..1, where there is only border.
        gain: scale about the centre of the input.
        degrees: rotation about that centre.
        shift_yx: translation in fractions of the input.
    """

    crop_xyxy: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    gain: float = 1.0
    degrees: float = 0.0
    shift_yx: tuple[float, float] = (0.0, 0.0)

    def crop_matrix(self, size: Size) -> Matrix:
        """Picture pixels to pixels of the crop (no scaling)."""
        return scaling(1.0, 1.0, -self.crop_xyxy[0] * size[1], -self.crop_xyxy[1] * size[0])

    def crop_sides(self, size: Size) -> Sides:
        """``(height, width)`` of the crop in picture pixels."""
        left, top, right, bottom = self.crop_xyxy
        return (bottom - top) * size[0], (right - left) * size[1]

    def input_matrix(self, input_size: Size) -> Matrix:
        """What happens to the fitted picture within the input: gain and rotation, then the shift."""
        height, width = input_size
        about_centre = turning(self.degrees, self.gain, (height / 2, width / 2))
        return compose(
            about_centre,
            scaling(1.0, 1.0, self.shift_yx[1] * width, self.shift_yx[0] * height),
        )


class Affine(Settings):
    """Geometry jitter; all zero is no change.

    Attributes:
        scale: the gain is drawn uniformly from ``1 - scale .. 1 + scale``.
        translate: the shift is drawn uniformly from plus or minus this fraction of each side.
        crop_jitter: each edge of the picture moves on its own, in or out, by up to this fraction of
            the side, so that the aspect changes too (``jitter`` in Darknet's ``src/data.c``).
        degrees: the rotation is drawn uniformly from plus or minus this.
    """

    scale: Annotated[float, Span(0.0, 0.9), Field(ge=0.0, lt=1.0)] = 0.3
    translate: Annotated[float, Span(0.0, 0.5), Field(ge=0.0, le=1.0)] = 0.1
    crop_jitter: Annotated[float, Span(0.0, 0.3), Field(ge=0.0, lt=0.5)] = 0.0
    degrees: Annotated[float, Span(0.0, 30.0), Field(ge=0.0, le=180.0)] = 0.0

    def draw(self, rng: np.random.Generator) -> Motion | None:
        """One motion, or None if the settings leave every picture where it is."""
        if not (self.scale or self.translate or self.crop_jitter or self.degrees):
            return None
        left, top, right, bottom, gain, turn, down, along = rng.uniform(-1.0, 1.0, 8).tolist()
        jitter = self.crop_jitter
        return Motion(
            crop_xyxy=(
                left * jitter,
                top * jitter,
                1 - right * jitter,
                1 - bottom * jitter,
            ),
            gain=1 + gain * self.scale,
            degrees=turn * self.degrees,
            shift_yx=(down * self.translate, along * self.translate),
        )
