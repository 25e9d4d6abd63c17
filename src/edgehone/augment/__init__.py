"""Augmentation: geometry is one matrix for each picture, photometry one table.

Nothing here knows the network; everything is numpy and OpenCV.
"""

from __future__ import annotations

from edgehone.augment.affine import Affine
from edgehone.augment.augmentation import NONE, Augmentation
from edgehone.augment.fit import Fit, Frame, fit_matrix, fit_picture, plain, unfit_boxes
from edgehone.augment.flip import Flip
from edgehone.augment.hsv import DarknetHsv, Hsv, UniformHsv
from edgehone.augment.mixup import Mixup
from edgehone.augment.mosaic import Mosaic

__all__ = [
    "NONE",
    "Affine",
    "Augmentation",
    "DarknetHsv",
    "Fit",
    "Flip",
    "Frame",
    "Hsv",
    "Mixup",
    "Mosaic",
    "UniformHsv",
    "fit_matrix",
    "fit_picture",
    "plain",
    "unfit_boxes",
]
