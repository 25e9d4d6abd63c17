"""What the pictures look like: brightness, contrast, sharpness, colour, and how many really differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgehone.data import Dataset, Sample
from edgehone.data.near_duplicates import near_duplicates
from edgehone.data.survey import Survey, survey
from edgehone.space import Settings

PICTURES_READ = 256
"""Decoded for the sample where reading the data has not decoded everything."""


class Estimate(Settings):
    """A mean over pictures.

    Attributes:
        mean: over the pictures that were read.
        spread: their standard deviation.
        error: standard error of the mean; 0 where all pictures were read.
    """

    mean: float
    spread: float
    error: float


class PixelFacts(Settings):
    """The training pictures.

    Attributes:
        read: pictures that were decoded for this.
        brightness: mean gray level, 0 to 255.
        contrast: standard deviation of the gray levels of a picture.
        sharpness: variance of the Laplacian at a fixed width; small is blurred.
        gray: share of pictures without colour, 0 to 1.
        different_images: training pictures that are no near duplicate of another (each set of near duplicates
            counts once); None where not all were decoded.
    """

    read: int
    brightness: Estimate
    contrast: Estimate
    sharpness: Estimate
    gray: Estimate
    different_images: int | None


def pixel_facts(dataset: Dataset) -> tuple[PixelFacts, float]:
    """Facts of the training pictures, and by how much validation is brighter, in standard deviations."""
    train, whole = _seen(dataset, "train")
    val, _ = _seen(dataset, "val")
    total = len(dataset.train)
    brightness = _estimate(train.brightness, total)
    facts = PixelFacts(
        read=len(train.brightness),
        brightness=brightness,
        contrast=_estimate(train.contrast, total),
        sharpness=_estimate(train.sharpness, total),
        gray=_estimate(train.gray.astype(np.float64), total),
        different_images=total - sum(len(group) - 1 for group in near_duplicates(train)) if whole else None,
    )
    lighter = _estimate(val.brightness, len(dataset.val)).mean - brightness.mean if len(val) else 0.0
    return facts, round(lighter / max(brightness.spread, 1.0), 3)


def _seen(dataset: Dataset, split: str) -> tuple[Survey, bool]:
    """What decoding showed: of all pictures where they were decoded on reading, else of evenly spaced ones."""
    if split in dataset.seen:
        return dataset.seen[split], True
    samples: Sequence[Sample] = dataset.splits[split]
    chosen = np.unique(np.linspace(0, len(samples) - 1, min(len(samples), PICTURES_READ)).round().astype(np.int64))
    found = survey([samples[int(k)].source for k in chosen])
    return found.take(np.flatnonzero([not problem for problem in found.problem])), len(chosen) == len(samples)


def _estimate(values: NDArray[np.floating], total: int) -> Estimate:
    spread = float(values.std()) if len(values) else 0.0
    error = 0.0 if len(values) >= total else spread / max(len(values), 1) ** 0.5
    mean = float(values.mean()) if len(values) else 0.0
    return Estimate(mean=round(mean, 2), spread=round(spread, 2), error=round(error, 3))
