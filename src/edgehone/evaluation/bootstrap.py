"""Intervals by drawing images with replacement: how much a metric owes to which pictures were in the split."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from edgehone.errors import EdgehoneError
from edgehone.evaluation.matching import Matches, average_precision

Interval = tuple[float, float]

Score = Callable[[Matches, NDArray[np.float64] | None], float]
"""A number of matches with each image counted so many times; None counts each once.

A draw that holds nothing to measure it on is nan, and does not count.
"""


def mean_ap(matches: Matches, weights: NDArray[np.float64] | None = None) -> tuple[float, float]:
    """``(AP, AP50)``: the mean over the classes that have objects."""
    found = [ap for ap in (average_precision(each, weights) for each in matches.classes) if ap is not None]
    if not found:
        return 0.0, 0.0
    return float(np.mean([ap.mean() for ap in found])), float(np.mean([ap[0] for ap in found]))


def intervals95(matches: Matches, samples: int, seed: int) -> dict[str, Interval]:
    """95 % intervals of AP and AP50 over draws of images."""
    values = np.array([mean_ap(matches, weights) for weights in _draws(matches, samples, seed)])
    ap, ap50 = mean_ap(matches)
    return {"ap": _interval(values[:, 0], ap), "ap50": _interval(values[:, 1], ap50)}


def score_interval(matches: Matches, score: Score, samples: int = 1000, seed: int = 0) -> Interval:
    """The 95 % interval of one score over draws of images."""
    values = score_draws(matches, samples, seed, score)
    return _interval(values[~np.isnan(values)], score(matches, None))


def coco_ap(matches: Matches, weights: NDArray[np.float64] | None = None) -> float:
    """COCO's AP with each image counted ``weights`` times."""
    return mean_ap(matches, weights)[0]


def score_draws(matches: Matches, samples: int, seed: int = 0, score: Score = coco_ap) -> NDArray[np.float64]:
    """``[samples]``: a score over draws of images, which are the same for all matches of as many images."""
    return np.array([score(matches, weights) for weights in _draws(matches, samples, seed)])


def paired_difference(
    first: Matches, second: Matches, *, samples: int = 1000, seed: int = 0, score: Score = coco_ap
) -> tuple[float, Interval]:
    """Score of ``first`` minus that of ``second`` and its 95 % interval, both on the same draws of images.

    Raises:
        EdgehoneError: the two were not matched on the same split, or it holds nothing to measure the score on.
    """
    truths = [[each.truths.tolist() for each in matches.classes] for matches in (first, second)]
    if first.image_count != second.image_count or truths[0] != truths[1]:
        raise EdgehoneError(
            "a paired comparison needs the same images and labels on both sides, got "
            f"{first.image_count} images with {sum(map(sum, truths[0]))} objects and "
            f"{second.image_count} images with {sum(map(sum, truths[1]))}; evaluate both on the same split"
        )
    if math.isnan(score(first, None)):
        raise EdgehoneError("a comparison needs objects to measure on, but the split has none for this score")
    values = score_draws(first, samples, seed, score) - score_draws(second, samples, seed, score)
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return score(first, None) - score(second, None), (float(low), float(high))


def _draws(matches: Matches, samples: int, seed: int) -> list[NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    count = matches.image_count
    return [np.bincount(rng.integers(count, size=count), minlength=count).astype(float) for _ in range(samples)]


def _interval(values: NDArray[np.float64], estimate: float) -> Interval:
    """Bias-corrected percentiles (Efron, 1981): a picture drawn twice helps AP a little, which is taken out."""
    below = np.clip((values < estimate).mean() + (values == estimate).mean() / 2, 1 / len(values), 1 - 1 / len(values))
    shift = 2 * norm.ppf(below)
    low, high = np.quantile(values, norm.cdf(shift + norm.ppf((0.025, 0.975))))
    return float(low), float(high)
