"""COCO metrics with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgehone.evaluation.bootstrap import Score, coco_ap, intervals95, mean_ap, paired_difference, score_interval
from edgehone.evaluation.drawn import Drawn
from edgehone.evaluation.matching import (
    Matches,
    average_precision,
    matches_of,
    precision_at_recalls,
    run_coco,
)
from edgehone.space import Settings
from edgehone.types import Detections, Truth


class Evaluation(Settings):
    """COCO metrics of a detector on a split: 0 to 1, the best 100 detections of a class in an image.

    ``None`` stands for a size or a class without truth; such classes are left out of the mean.

    Attributes:
        ap: mean over classes and IoU 0.50 to 0.95; ``ap50`` and ``ap75`` at one IoU.
        ap_small: of objects below 32 x 32 px of the original picture; medium to 96 x 96; large above.
        ar100: recall with these 100 detections, mean over classes and IoU 0.50 to 0.95; None in
            results that were written without it.
        images: evaluated.
        per_class: AP by class name; ``per_class_ap50`` likewise at IoU 0.5.
        precision_recall: by class name, precision at recall 0.00, 0.01, .. 1.00 and IoU 0.5.
        interval95: 95 % bootstrap intervals over images, where drawn.
    """

    ap: float
    ap50: float
    ap75: float
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    ar100: float | None = None
    images: int
    per_class: dict[str, float | None]
    per_class_ap50: dict[str, float | None]
    precision_recall: dict[str, list[float]]
    interval95: dict[str, tuple[float, float]] | None = None


Metrics = Evaluation | Drawn
"""What an objective reads."""


def evaluate_detections(
    truths: Sequence[Truth],
    detections: Sequence[Detections],
    class_names: Sequence[str],
    *,
    samples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """COCO metrics of detections; ``samples`` bootstrap draws (0: no interval).

    Raises:
        EdgehoneError: no labelled object at all, a class number without a name, or not one answer an image.
    """
    evaluator = run_coco(truths, detections, len(class_names))
    matches = matches_of(evaluator)
    stats = [None if value < 0 else float(value) for value in evaluator.stats]
    each = [average_precision(one) for one in matches.classes]
    curves = [precision_at_recalls(one) for one in matches.classes]
    return Evaluation(
        ap=stats[0] or 0.0,
        ap50=stats[1] or 0.0,
        ap75=stats[2] or 0.0,
        ap_small=stats[3],
        ap_medium=stats[4],
        ap_large=stats[5],
        ar100=stats[8],
        images=len(truths),
        per_class={n: None if ap is None else float(ap.mean()) for n, ap in zip(class_names, each, strict=True)},
        per_class_ap50={n: None if ap is None else float(ap[0]) for n, ap in zip(class_names, each, strict=True)},
        precision_recall={n: _rounded(c[0]) for n, c in zip(class_names, curves, strict=True) if c is not None},
        interval95=intervals95(matches, samples, seed) if samples else None,
    )


def match(truths: Sequence[Truth], detections: Sequence[Detections], classes: int) -> Matches:
    """The matches alone, for paired comparison."""
    return matches_of(run_coco(truths, detections, classes))


def _rounded(values: Any) -> list[float]:
    return [round(float(v), 4) for v in np.asarray(values)]


__all__ = [
    "Drawn",
    "Evaluation",
    "Matches",
    "Metrics",
    "Score",
    "coco_ap",
    "evaluate_detections",
    "match",
    "mean_ap",
    "paired_difference",
    "score_interval",
]
