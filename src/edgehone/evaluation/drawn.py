"""Metrics of matches with the images counted as often as a draw says: what a bootstrap calculates again and again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgehone.evaluation.matching import Matches, precision_at_recalls, recall_at_end

IOU50, IOU75 = 0, 5
"""Rows of IoU 0.5 and 0.75 in the matches."""

Curve = Sequence[float] | NDArray[np.float64]


@dataclass(frozen=True)
class Drawn:
    """The metrics of an :class:`~edgehone.evaluation.Evaluation`, each calculated when it is asked for.

    Attributes:
        matches: of a detector on a split.
        class_names: of its classes.
        weights: ``[images]``, how often each image counts; None counts each once.
    """

    matches: Matches
    class_names: tuple[str, ...]
    weights: NDArray[np.float64] | None = None

    @property
    def ap(self) -> float:
        """The mean over the classes that have objects in the draw, as all metrics are."""
        return _mean(self._by_class) or 0.0

    @property
    def ap50(self) -> float:
        """At one IoU."""
        return _mean(self._by_class, IOU50) or 0.0

    @property
    def ap75(self) -> float:
        """At one IoU."""
        return _mean(self._by_class, IOU75) or 0.0

    @property
    def ap_small(self) -> float | None:
        """None where the draw has no such object; so for the other sizes."""
        return self._of_size("small")

    @property
    def ap_medium(self) -> float | None:
        """See ``ap_small``."""
        return self._of_size("medium")

    @property
    def ap_large(self) -> float | None:
        """See ``ap_small``."""
        return self._of_size("large")

    @property
    def ar100(self) -> float | None:
        """Recall with the 100 best detections."""
        found = [recall_at_end(one, self.weights) for one in self.matches.classes]
        return _mean([recall for recall in found if recall is not None])

    @property
    def per_class(self) -> dict[str, float | None]:
        """AP by class name; None where the draw has no object of a class."""
        return {name: None if c is None else float(c.mean()) for name, c in self._curves.items()}

    @property
    def per_class_ap50(self) -> dict[str, float | None]:
        """Likewise at IoU 0.5."""
        return {name: None if c is None else float(c[IOU50].mean()) for name, c in self._curves.items()}

    @property
    def precision_recall(self) -> dict[str, Curve]:
        """In four digits, as an evaluation keeps it."""
        return {name: np.round(c[IOU50], 4) for name, c in self._curves.items() if c is not None}

    @cached_property
    def _curves(self) -> dict[str, NDArray[np.float64] | None]:
        pairs = zip(self.class_names, self.matches.classes, strict=True)
        return {name: precision_at_recalls(one, self.weights) for name, one in pairs}

    @property
    def _by_class(self) -> list[NDArray[np.float64]]:
        """``[10]`` AP per IoU, of the classes that have objects."""
        return _present(list(self._curves.values()))

    def _of_size(self, name: str) -> float | None:
        return _mean(_present([precision_at_recalls(one, self.weights) for one in self.matches.sizes[name]]))


def _present(curves: Sequence[NDArray[np.float64] | None]) -> list[NDArray[np.float64]]:
    return [curve.mean(axis=1) for curve in curves if curve is not None]


def _mean(found: Sequence[NDArray[np.float64]], row: int | None = None) -> float | None:
    """Over classes, and over IoU thresholds unless one is named."""
    if not found:
        return None
    return float(np.mean([each.mean() if row is None else each[row] for each in found]))
