"""All transforms together: from an index of the data set to one picture for the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import cv2
import numpy as np
from pydantic import Field

from edgehone.augment.affine import Affine
from edgehone.augment.fit import Frame, fit_matrix, fit_picture
from edgehone.augment.flip import Flip, flip_matrix
from edgehone.augment.geometry import Image, clip_boxes, compose, map_boxes, warp
from edgehone.augment.hsv import Hsv, UniformHsv, recolour
from edgehone.augment.mixup import Mixup
from edgehone.augment.mosaic import TILES, Mosaic
from edgehone.space import Settings, Span
from edgehone.types import Picture

STILL = Affine(scale=0.0, translate=0.0, crop_jitter=0.0, degrees=0.0)
"""No motion."""


class Augmentation(Settings):
    """How training pictures are varied.

    Each original picture passes through one geometric matrix (crop, flip, fit, affine) and each
    resulting picture through one colour table.

    Attributes:
        mosaic: four pictures in one.
        mixup: two pictures (each single or mosaic) on top of each other.
        affine: scale, translation, rotation, crop jitter.
        hsv: colours.
        flip: mirroring.
        off_fraction: last fraction of the run in which mosaic, mixup and affine rest, so that the
            network ends on pictures like those it will see.
        min_visible: least visible fraction of the area of an object that was cut, else it is dropped.
    """

    mosaic: Mosaic = Mosaic()
    mixup: Mixup = Mixup()
    affine: Affine = Affine()
    hsv: Hsv = UniformHsv()
    flip: Flip = Flip()
    off_fraction: Annotated[float, Span(0.0, 0.4), Field(ge=0.0, le=1.0)] = 0.1
    min_visible: Annotated[float, Field(ge=0.0, le=1.0)] = 0.2

    def draw(
        self,
        read: Callable[[int], Picture],
        count: int,
        index: int,
        rng: np.random.Generator,
        frame: Frame,
        progress: float,
    ) -> Picture:
        """One picture for training.

        Args:
            read: gives the picture of an index; what it gives is not changed.
            count: number of indices, from which the partners of mosaic and mixup are drawn.
            index: the picture to vary, alone or among its partners.
            rng: source of every draw: equal generators give equal pictures.
            frame: the network input.
            progress: how much of the run is done, 0..1.

        Returns:
            An image of exactly ``frame.input_size`` with the visible boxes in its pixels, clipped.
        """
        resting = self.off_fraction > 0 and progress >= 1 - self.off_fraction
        result = self._compose(read, count, index, rng, frame, resting)
        if not resting and count > 1 and rng.random() < self.mixup.probability:
            # Never the picture itself: that would only say its truth twice.
            partner = (index + int(rng.integers(1, count))) % count
            other = self._compose(read, count, partner, rng, frame, resting)
            result = self.mixup.blend(result, other, rng)
        return Picture(
            recolour(result.image, self.hsv.table(rng)),
            result.boxes_xyxy,
            result.classes,
        )

    def _compose(
        self,
        read: Callable[[int], Picture],
        count: int,
        index: int,
        rng: np.random.Generator,
        frame: Frame,
        resting: bool,
    ) -> Picture:
        """A mosaic or a single picture, colours untouched."""
        if resting or rng.random() >= self.mosaic.probability:
            return self._single(read(index), STILL if resting else self.affine, rng, frame)
        indices = [index, *rng.integers(count, size=TILES - 1).tolist()]
        pictures = [read(i) for i in indices]
        return self.mosaic.build(pictures, (self.affine, self.flip), frame, self.min_visible, rng)

    def _single(self, picture: Picture, affine: Affine, rng: np.random.Generator, frame: Frame) -> Picture:
        """One picture moved and flipped."""
        size = (picture.image.shape[0], picture.image.shape[1])
        motion, mirror = affine.draw(rng), self.flip.draw(rng)
        if motion is None:
            # Nothing moves: resize as inference does, so that both see the same pixels.
            matrix = compose(
                flip_matrix(size, *mirror),
                fit_matrix(size, frame.input_size, frame.fit),
            )
            image = fit_picture(_mirrored(picture.image, *mirror), frame.input_size, frame.fit)
        else:
            sides = motion.crop_sides(size)
            matrix = compose(
                motion.crop_matrix(size),
                flip_matrix(sides, *mirror),
                fit_matrix(sides, frame.input_size, frame.fit),
                motion.input_matrix(frame.input_size),
            )
            image = warp(picture.image, matrix, frame.input_size)
        window = (0.0, 0.0, frame.input_size[1], frame.input_size[0])
        boxes, keep = clip_boxes(map_boxes(picture.boxes_xyxy, matrix), window, self.min_visible)
        return Picture(image, boxes, picture.classes[keep])


def _mirrored(image: Image, horizontal: bool, vertical: bool) -> Image:
    if not (horizontal or vertical):
        return image
    code = -1 if horizontal and vertical else int(horizontal)
    return np.asarray(cv2.flip(image, code), dtype=np.uint8)


NONE = Augmentation(
    mosaic=Mosaic(probability=0.0),
    mixup=Mixup(probability=0.0),
    affine=STILL,
    hsv=UniformHsv(hue=0.0, saturation=0.0, value=0.0),
    flip=Flip(horizontal=0.0, vertical=0.0),
    off_fraction=0.0,
)
"""Every transform off."""
