"""How large a number a tensor's format must hold: what lies beyond is cut off, what lies within gets coarser.

A calibrator reads the :class:`~edgehone.deploy.integer.histogram.Histogram` of a tensor and answers with that number,
``amax``; the step of an 8-bit format is then ``amax / 127``.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edgehone.deploy.integer.histogram import BINS, Histogram
from edgehone.space import Settings

MAGNITUDES = 128
"""Different magnitudes in 8 bits."""
STRIDE = 8
"""Bins between neighbouring candidates."""
LEAST = 2.0**-40
"""A share that is no share at all: keeps logarithms finite."""


class Max(Settings):
    """The largest number seen: nothing is cut off."""

    kind: Literal["max"] = "max"

    def amax(self, seen: Histogram) -> float:
        """See the module."""
        return seen.peak


class Percentile(Settings):
    """The number below which ``percent`` of all magnitudes lie."""

    kind: Literal["percentile"] = "percentile"
    percent: float = Field(default=99.99, gt=0, le=100)

    def amax(self, seen: Histogram) -> float:
        """See the module."""
        total = int(seen.counts.sum())
        below = np.cumsum(seen.counts)
        place = int(np.searchsorted(below, total * self.percent / 100))
        return min((place + 1) * seen.width, seen.peak)


class Entropy(Settings):
    """The number that loses least information: minimal Kullback-Leibler divergence.

    Of the cut-off distribution from itself after rounding to 128 magnitudes; 2048 bins, as in S. Migacz, "8-bit
    inference with TensorRT" (GTC 2017). The first bin, in which every zero lies, counts as much as the second.
    """

    kind: Literal["entropy"] = "entropy"

    def amax(self, seen: Histogram) -> float:
        """See the module."""
        counts = seen.counts.astype(np.float64)
        counts[0] = counts[1]
        if counts.sum() == 0:
            return seen.peak
        candidates = range(MAGNITUDES, BINS + 1, STRIDE)
        losses = [_divergence(counts, size) for size in candidates]
        return min(candidates[int(np.argmin(losses))] * seen.width, seen.peak)


class MeanSquare(Settings):
    """The number with the least mean squared error of rounding and cutting off together."""

    kind: Literal["mse"] = "mse"

    def amax(self, seen: Histogram) -> float:
        """See the module."""
        filled = seen.counts.nonzero()[0]
        centres, counts = seen.centres[filled], seen.counts[filled].astype(np.float64)
        candidates = [*(size * seen.width for size in range(STRIDE, BINS, STRIDE)), seen.peak]
        candidates = [amax for amax in candidates if 0 < amax <= seen.peak] or [seen.peak]
        return min(candidates, key=lambda amax: _squared_error(centres, counts, amax))


Calibrator = Annotated[Max | Percentile | Entropy | MeanSquare, Field(discriminator="kind")]
"""How ranges are chosen."""

CALIBRATORS: tuple[Calibrator, ...] = (Max(), Percentile(), Entropy(), MeanSquare())
"""All, in the order in which they are tried; the vendors' advice for detectors is not to cut off."""


def _divergence(counts: NDArray[np.float64], size: int) -> float:
    """Of the first ``size`` bins, those beyond joined to the last, from the same after rounding to 128 magnitudes."""
    inside = counts[:size]
    cut = inside.copy()
    cut[-1] += counts[size:].sum()
    group = np.arange(size) * MAGNITUDES // size
    filled = inside > 0
    totals = np.bincount(group, weights=inside, minlength=MAGNITUDES)
    each = np.bincount(group, weights=filled, minlength=MAGNITUDES)
    rounded = np.where(filled, (totals / np.maximum(each, 1))[group], 0.0)
    if rounded.sum() == 0:
        return float("inf")
    share, model = cut / cut.sum(), np.maximum(rounded / rounded.sum(), LEAST)
    there = share > 0
    return float((share[there] * np.log(share[there] / model[there])).sum())


def _squared_error(centres: NDArray[np.float64], counts: NDArray[np.float64], amax: float) -> float:
    if amax == 0:
        return 0.0
    step = amax / (MAGNITUDES - 1)
    held = np.minimum(np.round(centres / step), MAGNITUDES - 1) * step
    return float((counts * (centres - held) ** 2).sum())
