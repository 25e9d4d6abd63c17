"""Random view from aside."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edgehone.augment.geometry import Matrix, Sides, compose
from edgehone.space import Settings, Span
from edgehone.types import Size

Corners = tuple[tuple[float, float], ...]
"""Shifts (x, y) of the top left, top right, bottom right and bottom left corner, in fractions of the sides."""

LEAST_DEPTH = 0.1
"""How near the nearest point of a picture may come to the viewer, as a share of the distance of the farthest."""

UNIT: NDArray[np.float64] = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])


class Perspective(Settings):
    """Each corner of the fitted picture moves on its own, and everything between with it.

    Attributes:
        tilt: a corner moves by up to this fraction of each side, in or out.
    """

    tilt: Annotated[float, Span(0.0, 0.05), Field(ge=0.0, le=0.15)] = 0.0

    def draw(self, rng: np.random.Generator) -> Corners:
        """The shifts of the corners; empty if the settings leave them where they are."""
        if not self.tilt:
            return ()
        shifts = rng.uniform(-self.tilt, self.tilt, (4, 2)).tolist()
        return tuple((x, y) for x, y in shifts)


def seen_from_aside(matrix: Matrix, size: Size, sides: Sides, corners: Corners) -> Matrix:
    """A picture of ``size``, moved by an affine ``matrix`` into a frame of ``sides``, seen as drawn.

    A picture that reaches so far beyond its frame that a part of it would come close to the viewer's plane, or
    behind it, is seen from the front: what is behind the viewer would be painted as a ghost without a box.
    """
    tilted = compose(matrix, perspective_matrix(sides, corners))
    height, width = size
    depths = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]]) @ tilted[2]
    return tilted if depths.min() > LEAST_DEPTH * depths.max() else matrix


def perspective_matrix(sides: Sides, corners: Corners) -> Matrix:
    """The map of a frame of ``sides`` that moves its corners as drawn; the identity for none."""
    if not corners:
        return np.eye(3)
    frame = np.array(sides[::-1])
    # a x + b y + c - u (g x + h y) = u and the same for v: two linear equations for each corner.
    rows: list[list[float]] = []
    right: list[float] = []
    for (x, y), (u, v) in zip((UNIT * frame).tolist(), ((UNIT + corners) * frame).tolist(), strict=True):
        rows += [[x, y, 1.0, 0.0, 0.0, 0.0, -u * x, -u * y], [0.0, 0.0, 0.0, x, y, 1.0, -v * x, -v * y]]
        right += [u, v]
    solved = np.linalg.solve(np.array(rows, dtype=np.float64), np.array(right))
    return np.append(solved, 1.0).reshape(3, 3)
