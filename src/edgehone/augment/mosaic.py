"""Four pictures in one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from edgehone.augment.affine import Affine, Motion
from edgehone.augment.fit import Frame, content_size
from edgehone.augment.flip import Flip, flip_matrix
from edgehone.augment.geometry import (
    BORDER,
    Matrix,
    clip_boxes,
    compose,
    map_boxes,
    scaling,
    turning,
    warp,
)
from edgehone.space import Settings, Span
from edgehone.types import Picture, Size

TILES = 4


class Mosaic(Settings):
    """Four pictures that meet at a random point of the input, each moved and flipped on its own.

    With ``zoom`` 1 this is the geometry of the authors' ``load_mosaic`` (four full-size pictures on a
    canvas of twice the input, of which one input is cut out); with ``zoom`` 0.5 about all of each
    picture is seen.

    Attributes:
        probability: that a picture becomes a mosaic.
        zoom: scale of each tile against the same picture on its own, before the affine gain.
    """

    probability: Annotated[float, Span(0.0, 1.0), Field(ge=0.0, le=1.0)] = 0.0
    zoom: Annotated[float, Span(0.5, 1.0), Field(gt=0.0, le=2.0)] = 1.0

    def build(
        self,
        pictures: Sequence[Picture],
        moves: tuple[Affine, Flip],
        frame: Frame,
        min_visible: float,
        rng: np.random.Generator,
    ) -> Picture:
        """One mosaic of exactly ``frame.input_size``.

        Args:
            pictures: four of any size; which quadrant each takes is drawn.
            moves: how each tile is moved and flipped; the affine translation moves the meeting point.
            frame: the network input.
            min_visible: see :func:`edgehone.augment.geometry.clip_boxes`.
            rng: source of every draw.
        """
        height, width = frame.input_size
        affine, flip = moves
        spread = self.zoom * (rng.random(2) - 0.5) + affine.translate * rng.uniform(-1.0, 1.0, 2)
        at_y, at_x = np.clip(0.5 + spread, 0.0, 1.0).tolist()
        centre = (round(at_y * height), round(at_x * width))
        canvas = np.full((height, width, 3), BORDER, dtype=np.uint8)
        boxes, classes = [np.zeros((0, 4), np.float32)], [np.zeros(0, np.int64)]
        for quadrant, picture in zip(rng.permutation(TILES).tolist(), pictures, strict=True):
            motion, mirror = affine.draw(rng) or Motion(), flip.draw(rng)
            left, right = (centre[1], width) if quadrant % 2 else (0, centre[1])
            top, bottom = (centre[0], height) if quadrant >= 2 else (0, centre[0])
            if left == right or top == bottom:
                continue
            size = (picture.image.shape[0], picture.image.shape[1])
            matrix = self._tile_matrix(size, motion, mirror, frame, quadrant)
            placed = compose(matrix, scaling(1.0, 1.0, centre[1], centre[0]))
            window = compose(matrix, scaling(1.0, 1.0, centre[1] - left, centre[0] - top))
            canvas[top:bottom, left:right] = warp(picture.image, window, (bottom - top, right - left))
            moved = map_boxes(picture.boxes_xyxy, placed)
            kept, keep = clip_boxes(moved, (left, top, right, bottom), min_visible)
            boxes.append(kept)
            classes.append(picture.classes[keep])
        return Picture(canvas, np.concatenate(boxes), np.concatenate(classes))

    def _tile_matrix(
        self,
        size: Size,
        motion: Motion,
        mirror: tuple[bool, bool],
        frame: Frame,
        quadrant: int,
    ) -> Matrix:
        """Picture pixels to a tile in the given quadrant around the origin, touching it with a corner."""
        sides = motion.crop_sides(size)
        fitted = content_size(sides, frame.input_size, frame.fit)
        gain = motion.gain * self.zoom
        height, width = fitted[0] * gain, fitted[1] * gain
        return compose(
            motion.crop_matrix(size),
            flip_matrix(sides, *mirror),
            scaling(width / sides[1], height / sides[0]),
            turning(motion.degrees, 1.0, (height / 2, width / 2)),
            scaling(
                1.0,
                1.0,
                0.0 if quadrant % 2 else -width,
                0.0 if quadrant >= 2 else -height,
            ),
        )
