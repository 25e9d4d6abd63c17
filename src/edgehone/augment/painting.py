"""The OpenCV applier: a recipe to pixels, one picture at a time."""

from __future__ import annotations

import cv2
import numpy as np

from edgehone.augment.blur import blurred
from edgehone.augment.erasing import erase
from edgehone.augment.geometry import BORDER, Image, compose, shifting
from edgehone.augment.gray import grayed
from edgehone.augment.hsv import recolour
from edgehone.augment.jpeg import compressed
from edgehone.augment.noise import noised
from edgehone.augment.recipe import Layer, Read, Recipe
from edgehone.augment.resampling import warp
from edgehone.types import Picture


def paint(recipe: Recipe, read: Read) -> Image:
    """``[*recipe.size, 3]`` uint8, a new array; ``read`` gives the sources by index."""
    image = _compose(recipe, read)
    image = recolour(image, recipe.table)
    effects = recipe.effects
    if effects.gray:
        image = grayed(image)
    if effects.blur_px > 0:
        image = blurred(image, effects.blur_px)
    if effects.noise_levels > 0:
        image = noised(image, effects.noise_levels, effects.noise_seed)
    if effects.jpeg_quality:
        image = compressed(image, effects.jpeg_quality)
    erase(image, recipe.erased)
    return image


def make(recipe: Recipe, read: Read, min_visible: float) -> Picture:
    """The painted picture with its truth."""
    boxes, classes = recipe.truth(read, min_visible)
    return Picture(paint(recipe, read), boxes, classes)


def _compose(recipe: Recipe, read: Read) -> Image:
    height, width = recipe.size
    first = recipe.layers[0]
    if first.window == (0, 0, width, height) and first.opacity == 1:
        canvas, rest = _seen_through(first, read), recipe.layers[1:]
    else:
        canvas, rest = np.full((height, width, 3), BORDER, dtype=np.uint8), recipe.layers
    for layer in rest:
        left, top, right, bottom = layer.window
        part = _seen_through(layer, read)
        if layer.opacity < 1:
            below = canvas[top:bottom, left:right]
            mixed = cv2.addWeighted(part, layer.opacity, below, 1 - layer.opacity, 0.0)
            part = np.asarray(mixed, dtype=np.uint8)
        canvas[top:bottom, left:right] = part
    return canvas


def _seen_through(layer: Layer, read: Read) -> Image:
    """What a layer shows in its window, ``[bottom - top, right - left, 3]``."""
    left, top, right, bottom = layer.window
    matrix = compose(layer.matrix, shifting(-left, -top))
    return warp(read(layer.source).image, matrix, (bottom - top, right - left))
