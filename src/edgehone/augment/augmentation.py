"""All transforms together: from an index of the data set to one picture for the network."""

from __future__ import annotations

import functools
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edgehone.augment.affine import Affine
from edgehone.augment.blur import Blur
from edgehone.augment.cutmix import Cutmix
from edgehone.augment.erasing import Cutout, Erasing
from edgehone.augment.fit import Frame
from edgehone.augment.flip import Flip
from edgehone.augment.gray import Gray
from edgehone.augment.hsv import Hsv, UniformHsv
from edgehone.augment.jpeg import Jpeg
from edgehone.augment.mixup import Mixup
from edgehone.augment.mosaic import Mosaic
from edgehone.augment.multi_scale import MultiScale
from edgehone.augment.noise import Noise
from edgehone.augment.painting import make
from edgehone.augment.paste import Paste
from edgehone.augment.perspective import Perspective
from edgehone.augment.pose import Moves
from edgehone.augment.recipe import Effects, Layer, PixelWindow, Read, Recipe
from edgehone.augment.sampling import Sampling, UniformSampling
from edgehone.augment.turns import Turns
from edgehone.space import Settings, Span
from edgehone.types import Picture, Size

STILL = Affine(scale=0.0, translate=0.0)
"""No motion."""

Partners = int | NDArray[np.int64]
"""The indices from which further pictures are drawn: all below a number, or those of a list."""

ATTEMPTS = 8
"""Draws from a list before a picture stays without a partner."""


class Augmentation(Settings):
    """How training pictures are varied.

    Deciding and doing are apart: :meth:`recipe` draws what a picture is made of, an applier paints it. Each
    original picture passes through one matrix (crop, flip, turn, fit, affine, perspective) and each resulting
    picture through one colour table.

    Attributes:
        mosaic: four or nine pictures in one.
        mixup: two pictures (each single or mosaic) on top of each other.
        cutmix: a rectangle of another picture.
        paste: objects of other pictures.
        affine: scale, translation, rotation, shear, crop jitter, resize.
        perspective: the view from aside.
        flip: mirroring.
        turns: by right angles.
        hsv: colours.
        gray: no colours.
        blur: out of focus.
        noise: of a sensor.
        jpeg: artefacts of compression.
        erasing: parts hidden.
        multi_scale: another input size at every step.
        sampling: how often each picture is shown.
        off_fraction: last fraction of the run in which all but flip, turns, hsv and sampling rest, so that the
            network ends on pictures like those it will see.
        min_visible: least visible fraction of the area of an object that was cut or covered, else it is dropped.
    """

    mosaic: Mosaic = Mosaic()
    mixup: Mixup = Mixup()
    cutmix: Cutmix = Cutmix()
    paste: Paste = Paste()
    affine: Affine = Affine()
    perspective: Perspective = Perspective()
    flip: Flip = Flip()
    turns: Turns = Turns()
    hsv: Hsv = UniformHsv()
    gray: Gray = Gray()
    blur: Blur = Blur()
    noise: Noise = Noise()
    jpeg: Jpeg = Jpeg()
    erasing: Erasing = Cutout()
    multi_scale: MultiScale = MultiScale()
    sampling: Sampling = UniformSampling()
    off_fraction: Annotated[float, Span(0.0, 0.4), Field(ge=0.0, le=1.0)] = 0.1
    min_visible: Annotated[float, Field(ge=0.0, le=1.0)] = 0.2

    def draw(
        self, read: Read, partners: Partners, index: int, rng: np.random.Generator, frame: Frame, progress: float
    ) -> Picture:
        """One picture for training, painted with OpenCV: see :meth:`recipe`.

        Returns:
            An image of exactly ``frame.input_size`` with the visible boxes in its pixels, clipped.
        """
        read = functools.cache(read)
        return make(self.recipe(read, partners, index, rng, frame, progress), read, self.min_visible)

    def recipe(
        self, read: Read, partners: Partners, index: int, rng: np.random.Generator, frame: Frame, progress: float
    ) -> Recipe:
        """What one picture for training is made of.

        Args:
            read: gives the picture of an index; what it gives is not changed.
            partners: from which the further pictures of mosaic, mixup, cutmix and paste are drawn.
            index: the picture to vary, alone or among its partners.
            rng: source of every draw: equal generators give equal recipes.
            frame: the network input.
            progress: how much of the run is done, 0..1.
        """
        active = self.resting() if self.rests(progress) else self
        return _Drawing(active, functools.cache(read), partners, rng, frame).recipe(index)

    def rests(self, progress: float) -> bool:
        """Whether the tail of the run is reached."""
        return self.off_fraction > 0 and progress >= 1 - self.off_fraction

    def resting(self) -> Augmentation:
        """What is left of the augmentation in the tail of the run."""
        kept = {name: getattr(self, name) for name in ("flip", "turns", "hsv", "sampling", "min_visible")}
        return NONE.model_copy(update=kept)

    def input_size(self, size: Size, rng: np.random.Generator, progress: float) -> Size:
        """``(height, width)`` of the network input of one batch; ``size`` is that of the strategy."""
        return size if self.rests(progress) else self.multi_scale.draw(size, rng)

    @property
    def moves(self) -> Moves:
        """Everything that moves a picture."""
        return Moves(self.affine, self.perspective, self.flip, self.turns)


class _Drawing:
    """One recipe in the making."""

    def __init__(
        self, augmentation: Augmentation, read: Read, partners: Partners, rng: np.random.Generator, frame: Frame
    ) -> None:
        self.augmentation = augmentation
        self.moves = augmentation.moves
        self.read = read
        self.pool = partners
        self.count = partners if isinstance(partners, int) else len(partners)
        self.rng = rng
        self.frame = frame

    def recipe(self, index: int) -> Recipe:
        """See :meth:`Augmentation.recipe`."""
        parts, rng, size = self.augmentation, self.rng, self.frame.input_size
        layers = self.base(index)
        if self.happens(parts.mixup.probability) and (other := self.partner(index)) is not None:
            layers += parts.mixup.layers(self.base(other), rng)
        if self.happens(parts.cutmix.probability) and (other := self.partner(index)) is not None:
            layers.append(self.single(other, parts.cutmix.window(size, rng)))
        self.paste(layers)
        table, gray, blur_px = parts.hsv.table(rng), parts.gray.draw(rng), parts.blur.draw(rng)
        levels, seed = parts.noise.draw(rng)
        effects = Effects(gray, blur_px, levels, seed, parts.jpeg.draw(rng))
        return Recipe(size, tuple(layers), table, effects, parts.erasing.draw(size, rng))

    def happens(self, probability: float) -> bool:
        """A draw only where there is something to decide."""
        return probability > 0 and bool(self.rng.random() < probability)

    def any_index(self) -> int:
        """A picture of the pool."""
        place = int(self.rng.integers(self.count))
        return place if isinstance(self.pool, int) else int(self.pool[place])

    def partner(self, index: int) -> int | None:
        """Another picture than ``index``, which would only say its truth twice; None where there is none."""
        if isinstance(self.pool, int):
            return (index + int(self.rng.integers(1, self.count))) % self.count if self.count > 1 else None
        drawn = (self.any_index() for _ in range(ATTEMPTS))
        return next((other for other in drawn if other != index), None)

    def base(self, index: int) -> list[Layer]:
        """A mosaic or a single picture, opaque and side by side."""
        mosaic = self.augmentation.mosaic
        if not self.happens(mosaic.probability):
            height, width = self.frame.input_size
            return [self.single(index, (0, 0, width, height))]
        indices = [index, *(self.any_index() for _ in range(mosaic.tiles - 1))]
        return mosaic.layers([(i, self.size(i)) for i in indices], self.moves, self.frame, self.rng)

    def single(self, index: int, window: PixelWindow) -> Layer:
        """One picture moved as if it had the input for itself."""
        return Layer(index, self.moves.draw(self.rng).single_matrix(self.size(index), self.frame), window)

    def paste(self, layers: list[Layer]) -> None:
        """Add objects of other pictures on top."""
        paste = self.augmentation.paste
        for _ in range(paste.count(self.rng)):
            index = self.any_index()
            there = Recipe(self.frame.input_size, tuple(layers)).truth(self.read, self.augmentation.min_visible)[0]
            source = (index, self.read(index))
            layer = paste.layer(source, self.augmentation.flip, self.frame, there, self.rng)
            if layer is not None:
                layers.append(layer)

    def size(self, index: int) -> Size:
        """``(height, width)`` of a picture."""
        image = self.read(index).image
        return image.shape[0], image.shape[1]


NONE = Augmentation(
    affine=STILL,
    hsv=UniformHsv(hue=0.0, saturation=0.0, value=0.0),
    flip=Flip(horizontal=0.0, vertical=0.0),
    off_fraction=0.0,
)
"""Every transform off."""
