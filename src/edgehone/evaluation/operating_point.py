"""Score thresholds for an application that asks for a precision: chosen on one split, held against another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgehone.evaluation.matching import ClassMatches, Matches
from edgehone.space import Settings

IOU50 = 0
"""Row of IoU 0.5 in the matches."""


class OperatingPoint(Settings):
    """What a detector does at fixed score thresholds, at IoU 0.5.

    Attributes:
        precision: of each class, by name; None where nothing is detected.
        recall: likewise; None without objects.
        mean_recall: over the classes that have objects.
    """

    precision: dict[str, float | None]
    recall: dict[str, float | None]
    mean_recall: float


def mean_recall(curves: Sequence[Sequence[float] | NDArray[np.float64]], precision: float) -> float:
    """Mean over classes of the highest recall, in steps of 0.01, at which the class keeps the precision.

    From interpolated curves of 101 points: they fall, so the points that keep it are counted.
    """
    reached = [max(int(np.count_nonzero(np.asarray(curve) >= precision)) - 1, 0) for curve in curves]
    return sum(reached) / (100 * max(len(reached), 1))


def score_thresholds(matches: Matches, precision: float) -> list[float | None]:
    """For each class the lowest score that keeps the wanted precision at IoU 0.5; None where no score does."""
    return [_lowest_score(one, precision) for one in matches.classes]


def _lowest_score(matches: ClassMatches, precision: float) -> float | None:
    true, false = (np.cumsum(each[IOU50]) for each in (matches.hits, matches.alarms))
    # Detections of one score are taken or left together.
    last = np.append(matches.scores[1:] < matches.scores[:-1], True)[: len(matches.scores)]
    good = np.flatnonzero((true >= precision * (true + false)) & (true > 0) & last)
    return float(matches.scores[good[-1]]) if len(good) else None


def operating_point(matches: Matches, thresholds: Sequence[float | None], class_names: Sequence[str]) -> OperatingPoint:
    """Precision and recall when detections below their class's threshold are dropped."""
    precision: dict[str, float | None] = {}
    recall: dict[str, float | None] = {}
    for name, one, threshold in zip(class_names, matches.classes, thresholds, strict=True):
        kept = one.scores >= threshold if threshold is not None else np.zeros(len(one.scores), bool)
        true, false = (int(each[IOU50][kept].sum()) for each in (one.hits, one.alarms))
        objects = int(one.truths.sum())
        precision[name] = round(true / (true + false), 5) if true + false else None
        recall[name] = round(true / objects, 5) if objects else None
    found = [value for value in recall.values() if value is not None]
    return OperatingPoint(precision=precision, recall=recall, mean_recall=round(float(np.mean(found or [0.0])), 5))
