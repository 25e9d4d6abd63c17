"""Everything that was drawn about where one picture goes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgehone.augment.affine import Affine, Motion
from edgehone.augment.fit import Frame, fit_matrix
from edgehone.augment.flip import Flip, flip_matrix
from edgehone.augment.geometry import Matrix, Sides, compose
from edgehone.augment.perspective import Corners, Perspective, seen_from_aside
from edgehone.augment.turns import Turns, quarter_matrix, turned_sides
from edgehone.types import Size


@dataclass(frozen=True, slots=True)
class Pose:
    """One draw of :class:`Moves`.

    The picture is cropped, mirrored and turned by right angles, fitted into its frame, then leans, rotates
    and is seen from aside within it.

    Attributes:
        motion: crop, gain, rotation, shear, shift.
        mirror: whether ``(horizontally, vertically)``.
        quarters: right-angle turns, clockwise.
        corners: of the perspective; empty for none.
    """

    motion: Motion
    mirror: tuple[bool, bool]
    quarters: int
    corners: Corners

    def source_matrix(self, size: Size) -> tuple[Matrix, Sides]:
        """Picture pixels to the cropped, mirrored and turned picture, and ``(height, width)`` of that."""
        sides = self.motion.crop_sides(size)
        matrix = compose(
            self.motion.crop_matrix(size), flip_matrix(sides, *self.mirror), quarter_matrix(sides, self.quarters)
        )
        return matrix, turned_sides(sides, self.quarters)

    def single_matrix(self, size: Size, frame: Frame) -> Matrix:
        """Pixels of a picture of ``size`` to the network input that it has for itself."""
        matrix, sides = self.source_matrix(size)
        fitted = compose(
            matrix, fit_matrix(sides, frame.input_size, frame.fit), self.motion.input_matrix(frame.input_size)
        )
        return seen_from_aside(fitted, size, frame.input_size, self.corners)


@dataclass(frozen=True, slots=True)
class Moves:
    """The settings of everything that moves a picture."""

    affine: Affine
    perspective: Perspective
    flip: Flip
    turns: Turns

    def draw(self, rng: np.random.Generator) -> Pose:
        """One pose."""
        return Pose(
            self.affine.draw(rng) or Motion(), self.flip.draw(rng), self.turns.draw(rng), self.perspective.draw(rng)
        )
