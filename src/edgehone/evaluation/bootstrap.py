"""Intervals by drawing images with replacement: how much a metric owes to which pictures were in the split."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgehone.evaluation.matching import Matches, average_precision

Interval = tuple[float, float]


def mean_ap(matches: Matches, weights: NDArray[np.float64] | None = None) -> tuple[float, float]:
    """``(AP, AP50)``: the mean over the classes that have objects."""
    found = [ap for ap in (average_precision(each, weights) for each in matches.classes) if ap is not None]
    if not found:
        return 0.0, 0.0
    return float(np.mean([ap.mean() for ap in found])), float(np.mean([ap[0] for ap in found]))


def intervals95(matches: Matches, samples: int, seed: int) -> dict[str, Interval]:
    """95 % percentile intervals of AP and AP50 over draws of images."""
    values = np.array([mean_ap(matches, weights) for weights in _draws(matches, samples, seed)])
    return {"ap": _percentiles(values[:, 0]), "ap50": _percentiles(values[:, 1])}


def paired_difference(
    first: Matches, second: Matches, *, samples: int = 1000, seed: int = 0
) -> tuple[float, Interval]:
    """AP of ``first`` minus AP of ``second`` and its 95 % interval, both on the same draws of images."""
    difference = mean_ap(first)[0] - mean_ap(second)[0]
    values = [mean_ap(first, w)[0] - mean_ap(second, w)[0] for w in _draws(first, samples, seed)]
    return difference, _percentiles(np.array(values))


def _draws(matches: Matches, samples: int, seed: int) -> list[NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    count = matches.image_count
    return [
        np.bincount(rng.integers(count, size=count), minlength=count).astype(float) for _ in range(samples)
    ]


def _percentiles(values: NDArray[np.float64]) -> Interval:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
