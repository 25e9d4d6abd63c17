"""Four or nine pictures in one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from edgehone.augment.fit import Frame, content_size
from edgehone.augment.geometry import Matrix, compose, scaling, shifting
from edgehone.augment.perspective import seen_from_aside
from edgehone.augment.pose import Moves, Pose
from edgehone.augment.recipe import Layer
from edgehone.space import Choice, Settings, Span
from edgehone.types import Size


class Mosaic(Settings):
    """Pictures in a grid, each moved and flipped on its own, of which a random part is the input.

    With four tiles and ``zoom`` 1 this is the geometry of the authors' ``load_mosaic`` (four full-size
    pictures on a canvas of twice the input, of which one input is cut out); with ``zoom`` 0.5 about all of
    each picture is seen. Nine tiles are two thirds as large, so that the same holds for them. First in
    Bochkovskiy et al. 2020, arXiv 2004.10934.

    Attributes:
        probability: that a picture becomes a mosaic.
        tiles: number of pictures.
        zoom: scale of each of four tiles against the same picture on its own, before the affine gain.
    """

    probability: Annotated[float, Span(0.0, 1.0), Field(ge=0.0, le=1.0)] = 0.0
    tiles: Annotated[Literal[4, 9], Choice(4, 9)] = 4
    zoom: Annotated[float, Span(0.5, 1.0), Field(gt=0.0, le=2.0)] = 1.0

    def layers(
        self, sources: Sequence[tuple[int, Size]], moves: Moves, frame: Frame, rng: np.random.Generator
    ) -> list[Layer]:
        """Windows side by side that fill the input.

        Args:
            sources: index and ``(height, width)`` of as many pictures as there are tiles; which place each
                takes is drawn.
            moves: how each tile is moved; the affine translation moves the grid.
            frame: the network input.
            rng: source of every draw.
        """
        side = math.isqrt(self.tiles)
        spread = self.zoom * (rng.random(2) - 0.5) + moves.affine.translate * rng.uniform(-1.0, 1.0, 2)
        middle_y, middle_x = np.clip(0.5 + spread, 0.0, 1.0).tolist()
        height, width = frame.input_size
        rows = _lines(middle_y, 2 * self.zoom / side, side, height)
        columns = _lines(middle_x, 2 * self.zoom / side, side, width)
        layers: list[Layer] = []
        for place, (index, size) in zip(rng.permutation(self.tiles).tolist(), sources, strict=True):
            pose = moves.draw(rng)
            row, column = int(place) // side, int(place) % side
            window = (
                *(max(0, columns[column]), max(0, rows[row])),
                *(min(width, columns[column + 1]), min(height, rows[row + 1])),
            )
            if window[0] < window[2] and window[1] < window[3]:
                matrix = self._tile_matrix(size, pose, frame, (rows, columns), (row, column))
                layers.append(Layer(index, matrix, window))
        return layers

    def _tile_matrix(
        self, size: Size, pose: Pose, frame: Frame, lines: tuple[list[int], list[int]], place: tuple[int, int]
    ) -> Matrix:
        """Picture pixels to a tile at its place in the grid."""
        matrix, sides = pose.source_matrix(size)
        gain = pose.motion.gain * self.zoom * 2 / math.isqrt(self.tiles)
        height, width = (fitted * gain for fitted in content_size(sides, frame.input_size, frame.fit))
        fitted = compose(matrix, scaling(width / sides[1], height / sides[0]), pose.motion.turn_matrix((height, width)))
        return compose(
            seen_from_aside(fitted, size, (height, width), pose.corners),
            shifting(_start(lines[1], place[1], width), _start(lines[0], place[0], height)),
        )


def _lines(middle: float, step: float, side: int, length: int) -> list[int]:
    """Where the tiles of an axis begin and end, pixels; the outer ones reach beyond the input.

    Args:
        middle: of the grid, in fractions of the input.
        step: from line to line, likewise.
        side: tiles along the axis.
        length: of the input in pixels.
    """
    inner = [round((middle + (k - side / 2) * step) * length) for k in range(1, side)]
    return [min(0, inner[0]), *inner, max(length, inner[-1])]


def _start(lines: list[int], place: int, length: float) -> float:
    """Where a tile of ``length`` pixels begins: outer tiles touch their inner line, others are centred."""
    if place == 0:
        return lines[1] - length
    if place == len(lines) - 2:
        return float(lines[-2])
    return (lines[place] + lines[place + 1] - length) / 2
