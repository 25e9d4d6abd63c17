"""What a search is after: accuracy as the application defines it, and latency beside it.

``ap``, ``recall@precision=0.9``, ``0.7*ap50 + 0.3*ap[Platelets]``, ``latency`` or ``latency[cpu]``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from edgehone.data import Dataset
from edgehone.errors import UsageError
from edgehone.evaluation import Evaluation, evaluate_detections
from edgehone.evaluation.operating_point import mean_recall
from edgehone.search.expression import Expression
from edgehone.search.trial import Outcome
from edgehone.types import Detections

LATENCY = re.compile(r"latency(?:\[([\w-]+)\])?")
RECALL = re.compile(r"recall\s*@\s*precision\s*=\s*([0-9.]+)")

Milliseconds = Mapping[str, Mapping[int, float]]
"""By board, then by input size."""


class Accuracy(Protocol):
    """A number of validation metrics; larger is better."""

    @property
    def text(self) -> str:
        """As it was given."""
        ...

    def value(self, evaluation: Evaluation) -> float:
        """On validation."""
        ...


@dataclass(frozen=True)
class RecallAtPrecision:
    """The mean over classes of the highest recall at which the precision of the class, at IoU 0.5, is high enough.

    Each class has a score threshold of its own, as in an application; see
    :func:`~edgehone.evaluation.operating_point.score_thresholds`. In steps of 0.01, as COCO counts recall.
    """

    precision: float

    @property
    def text(self) -> str:
        """As on the command line."""
        return f"recall@precision={self.precision:g}"

    def value(self, evaluation: Evaluation) -> float:
        """On validation."""
        return mean_recall(list(evaluation.precision_recall.values()), self.precision)


@dataclass(frozen=True)
class Latency:
    """Milliseconds on a board, which depend on the input size alone."""

    board: str

    @property
    def text(self) -> str:
        """As on the command line."""
        return f"latency[{self.board}]"


@dataclass(frozen=True)
class Objectives:
    """The first is an accuracy and chooses the winner; all of them make the front.

    Attributes:
        each: accuracies and latencies.
        milliseconds: of the boards whose latency is one of them.
    """

    each: tuple[Accuracy | Latency, ...]
    milliseconds: Milliseconds

    @property
    def names(self) -> tuple[str, ...]:
        """For people."""
        return tuple(objective.text for objective in self.each)

    @property
    def several(self) -> bool:
        """Whether there is a front rather than one best."""
        return len(self.each) > 1

    def values(self, outcome: Outcome) -> tuple[float, ...]:
        """One an objective, larger is better: milliseconds are negative. A training that diverged found nothing."""
        evaluation = NOTHING if outcome.validation is None else outcome.validation
        size = outcome.task.job.strategy.input.size
        return tuple(
            -self.milliseconds[objective.board][size] if isinstance(objective, Latency) else objective.value(evaluation)
            for objective in self.each
        )

    def score(self, outcome: Outcome) -> float:
        """The accuracy that chooses."""
        return self.values(outcome)[0]


def shown(names: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    """Values by the names of their objectives, with milliseconds positive."""
    pairs = zip(names, values, strict=True)
    return {name: round(-value if LATENCY.fullmatch(name) else value, 5) for name, value in pairs}


NOTHING = Evaluation(
    ap=0.0,
    ap50=0.0,
    ap75=0.0,
    ap_small=0.0,
    ap_medium=0.0,
    ap_large=0.0,
    ar100=0.0,
    images=0,
    per_class={},
    per_class_ap50={},
    precision_recall={},
)
"""Metrics of a detector that finds nothing."""


AP = Objectives((Expression.parse("ap", ()),), {})
"""COCO's AP, the objective of a search that is told no other."""


def parse_objective(text: str, class_names: Sequence[str], boards: Sequence[str]) -> Accuracy | Latency:
    """One objective from its text.

    Raises:
        UsageError: neither an accuracy nor a latency, or a board that was not asked for.
    """
    latency = LATENCY.fullmatch(text.strip())
    if latency is not None:
        name = latency[1] or boards[0]
        if name not in boards:
            raise UsageError(f"a latency is of one of the boards {', '.join(boards)}; got {text!r}")
        return Latency(name)
    recall = RECALL.fullmatch(text.strip())
    if recall is not None:
        precision = float(recall[1])
        if not 0 < precision < 1:
            raise UsageError(f"a precision lies between 0 and 1, got {text!r}")
        return RecallAtPrecision(precision)
    return Expression.parse(text, class_names)


def parse_objectives(
    texts: Sequence[str], class_names: Sequence[str], boards: Sequence[str]
) -> tuple[Accuracy | Latency, ...]:
    """Objectives in order.

    Raises:
        UsageError: the first is no accuracy, or two are the same.
    """
    found = tuple(parse_objective(text, class_names, boards) for text in texts)
    if not found or isinstance(found[0], Latency):
        raise UsageError("the first objective is an accuracy, since it chooses the winner; give latency after it")
    names = [objective.text for objective in found]
    if len(set(names)) < len(names):
        raise UsageError(f"each objective is given once, got {', '.join(names)}")
    return found


def check_on(dataset: Dataset, objectives: Sequence[Accuracy | Latency]) -> None:
    """Refuse what validation cannot measure, by asking for the score of a detector that finds everything.

    Raises:
        UsageError: no object of a class or a size that an objective names.
    """
    truths = [sample.truth() for sample in dataset.val]
    perfect = [
        Detections(truth.boxes_xyxy, (truth.classes * 0 + 1).astype("float32"), truth.classes) for truth in truths
    ]
    evaluation = evaluate_detections(truths, perfect, dataset.class_names, samples=0)
    for objective in objectives:
        if not isinstance(objective, Latency):
            objective.value(evaluation)
