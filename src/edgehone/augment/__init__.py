"""Augmentation: what a picture is made of is decided first (a recipe), then painted.

Geometry is one matrix for each source, photometry one table. Nothing here knows the network; everything is
numpy and OpenCV.
"""

from __future__ import annotations

from edgehone.augment.affine import Affine
from edgehone.augment.augmentation import NONE, Augmentation
from edgehone.augment.blur import Blur
from edgehone.augment.contact_sheet import contact_sheet, transform_sheet
from edgehone.augment.cutmix import Cutmix
from edgehone.augment.erasing import Cutout, Erasing, GridMask
from edgehone.augment.fit import Fit, Frame, fit_matrix, fit_picture, plain, unfit_boxes
from edgehone.augment.flip import Flip
from edgehone.augment.gray import Gray
from edgehone.augment.hsv import DarknetHsv, Hsv, UniformHsv
from edgehone.augment.jpeg import Jpeg
from edgehone.augment.mixup import Mixup
from edgehone.augment.mosaic import Mosaic
from edgehone.augment.multi_scale import MultiScale
from edgehone.augment.noise import Noise
from edgehone.augment.painting import make, paint
from edgehone.augment.paste import Paste
from edgehone.augment.perspective import Perspective
from edgehone.augment.recipe import Effects, Layer, Recipe
from edgehone.augment.sampling import ClassBalanced, RepeatFactor, Sampling, UniformSampling
from edgehone.augment.turns import Turns

__all__ = [
    "NONE",
    "Affine",
    "Augmentation",
    "Blur",
    "ClassBalanced",
    "Cutmix",
    "Cutout",
    "DarknetHsv",
    "Effects",
    "Erasing",
    "Fit",
    "Flip",
    "Frame",
    "Gray",
    "GridMask",
    "Hsv",
    "Jpeg",
    "Layer",
    "Mixup",
    "Mosaic",
    "MultiScale",
    "Noise",
    "Paste",
    "Perspective",
    "Recipe",
    "RepeatFactor",
    "Sampling",
    "Turns",
    "UniformHsv",
    "UniformSampling",
    "contact_sheet",
    "fit_matrix",
    "fit_picture",
    "make",
    "paint",
    "plain",
    "transform_sheet",
    "unfit_boxes",
]
