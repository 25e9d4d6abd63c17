"""Random scale, translation, rotation, shear, and Darknet's crop jitter and resize."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from edgehone.augment.geometry import Matrix, Sides, about, compose, scaling, shifting, turning
from edgehone.space import Settings, Span
from edgehone.types import Size

MIN_CROP = 0.05
"""Least side of a crop, as a fraction of the picture's."""


@dataclass(frozen=True, slots=True)
class Motion:
    """One draw of an :class:`Affine`.

    Attributes:
        crop_xyxy: the part of the picture, in fractions of its sides, that takes the place of the
            whole; it may reach beyond 0..1, where there is only border.
        gain: scale about the centre of the input.
        degrees: rotation about that centre.
        shear_degrees: by how much upright lines lean to the left, and level lines to the bottom.
        shift_yx: translation in fractions of the input.
    """

    crop_xyxy: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    gain: float = 1.0
    degrees: float = 0.0
    shear_degrees: tuple[float, float] = (0.0, 0.0)
    shift_yx: tuple[float, float] = (0.0, 0.0)

    def crop_matrix(self, size: Size) -> Matrix:
        """Picture pixels to pixels of the crop (no scaling)."""
        return shifting(-self.crop_xyxy[0] * size[1], -self.crop_xyxy[1] * size[0])

    def crop_sides(self, size: Size) -> Sides:
        """``(height, width)`` of the crop in picture pixels."""
        left, top, right, bottom = self.crop_xyxy
        return (bottom - top) * size[0], (right - left) * size[1]

    def turn_matrix(self, sides: Sides) -> Matrix:
        """Shear, then rotation, about the centre of a picture of ``sides``."""
        centre = (sides[0] / 2, sides[1] / 2)
        across, down = (math.tan(math.radians(angle)) for angle in self.shear_degrees)
        leaning = about(centre, np.array([[1.0, across], [down, 1.0]]))
        return compose(leaning, turning(self.degrees, 1.0, centre))

    def input_matrix(self, input_size: Size) -> Matrix:
        """What happens to the fitted picture within the input: shear, rotation and gain, then the shift."""
        height, width = input_size
        return compose(
            self.turn_matrix(input_size),
            turning(0.0, self.gain, (height / 2, width / 2)),
            scaling(1.0, 1.0, self.shift_yx[1] * width, self.shift_yx[0] * height),
        )


class Affine(Settings):
    """Geometry jitter; all zero (and a resize of one) is no change.

    Attributes:
        scale: the gain is drawn uniformly from ``1 - scale .. 1 + scale``.
        translate: the shift is drawn uniformly from plus or minus this fraction of each side.
        crop_jitter: each edge of the picture moves on its own, in or out, by up to this fraction of
            the side, so that the aspect changes too (``jitter`` in Darknet's ``src/data.c``).
        resize: each edge moves further on its own, outwards by up to ``(resize - 1) / 2`` and inwards by up
            to ``(1 - 1 / resize) / 2`` of the side (``resize`` in Darknet's ``src/data.c``); 1 is off.
        degrees: the rotation is drawn uniformly from plus or minus this.
        shear: upright and level lines lean by an angle drawn uniformly from plus or minus this, degrees.
    """

    scale: Annotated[float, Span(0.0, 0.9), Field(ge=0.0, lt=1.0)] = 0.3
    translate: Annotated[float, Span(0.0, 0.5), Field(ge=0.0, le=1.0)] = 0.1
    crop_jitter: Annotated[float, Span(0.0, 0.3), Field(ge=0.0, lt=0.5)] = 0.0
    resize: Annotated[float, Span(1.0, 1.5), Field(ge=1.0, le=4.0)] = 1.0
    degrees: Annotated[float, Span(0.0, 30.0), Field(ge=0.0, le=180.0)] = 0.0
    shear: Annotated[float, Span(0.0, 5.0), Field(ge=0.0, le=30.0)] = 0.0

    @model_validator(mode="after")
    def _crop_stays(self) -> Affine:
        least = 1 - 2 * self.crop_jitter - (1 - 1 / self.resize)
        if least < MIN_CROP:
            raise ValueError(
                f"crop_jitter and resize together must leave at least {MIN_CROP} of a side, but "
                f"{self.crop_jitter} and {self.resize} may leave {least:.3f}: lower one of them"
            )
        return self

    def draw(self, rng: np.random.Generator) -> Motion | None:
        """One motion, or None if the settings leave every picture where it is."""
        if self.resize == 1 and not any((self.scale, self.translate, self.crop_jitter, self.degrees, self.shear)):
            return None
        gain, turn, down, along, *rest = rng.uniform(-1.0, 1.0, 14).tolist()
        inward = [
            self.crop_jitter * edge + self._zoomed((zoom + 1) / 2)
            for edge, zoom in zip(rest[:4], rest[4:8], strict=True)
        ]
        return Motion(
            crop_xyxy=(inward[0], inward[1], 1 - inward[2], 1 - inward[3]),
            gain=1 + gain * self.scale,
            degrees=turn * self.degrees,
            shear_degrees=(rest[8] * self.shear, rest[9] * self.shear),
            shift_yx=(down * self.translate, along * self.translate),
        )

    def _zoomed(self, unit: float) -> float:
        """How far an edge moves inwards, for a uniform number in 0..1."""
        out, into = (self.resize - 1) / 2, (1 - 1 / self.resize) / 2
        return unit * (out + into) - out
