"""What a search is after: accuracy as the application defines it, and what it costs on boards beside it.

``ap``, ``recall@precision=0.9``, ``0.7*ap50 + 0.3*ap[Platelets]``, each also in a board's integer arithmetic as
``ap@kneron-kl720``; what a picture costs: ``latency``, ``latency[cpu]``, ``memory[jetson-xavier-nx]``,
``energy[jetson-xavier-nx:fp16@10W_2CORE]``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgehone.boards import BoardMode
from edgehone.data import Dataset
from edgehone.deploy.integer.scheme import SCHEMES
from edgehone.errors import UsageError
from edgehone.evaluation import Drawn, Evaluation, Matches, Metrics, Score, evaluate_detections
from edgehone.evaluation.operating_point import mean_recall
from edgehone.search.expression import Expression
from edgehone.search.trial import Outcome
from edgehone.types import Detections

UNITS: dict[str, str] = {"latency": "ms", "memory": "MB", "energy": "mJ"}
"""What a picture costs on a board, by name."""

COST = re.compile(rf"({'|'.join(UNITS)})(?:\[([^\[\]]+)\])?")
EIGHT_BITS = re.compile(r"(.+)@\s*([\w-]+)", re.DOTALL)
COST_AT = re.compile(rf"({'|'.join(UNITS)})\s*@\s*([\w-]+)")
RECALL = re.compile(r"recall\s*@\s*precision\s*(?:=([^@]*))?")

Costs = Mapping[str, Mapping[int, float]]
"""By the text of the objective, then by input size."""


class Accuracy(Protocol):
    """A number of validation metrics; larger is better."""

    @property
    def text(self) -> str:
        """As it was given."""
        ...

    def value(self, found: Metrics) -> float:
        """Of the metrics on a split."""
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

    def value(self, found: Metrics) -> float:
        """Of the metrics on a split."""
        return mean_recall(list(found.precision_recall.values()), self.precision)


@dataclass(frozen=True)
class InEightBits:
    """An accuracy in a board's integer arithmetic, of a detector as it was trained: ranges by the largest number seen.

    Repairs (:mod:`edgehone.deploy.integer.gate`) come later, when it is deployed.
    """

    accuracy: Expression | RecallAtPrecision
    board: str

    @property
    def text(self) -> str:
        """As on the command line."""
        return f"{self.accuracy.text}@{self.board}"

    def value(self, found: Metrics) -> float:
        """Of the metrics on a split, which must be those in this arithmetic."""
        return self.accuracy.value(found)


@dataclass(frozen=True)
class Cost:
    """What a picture costs on a board in a mode, which depends on the input size alone.

    Attributes:
        kind: latency; memory; or energy, which is latency times the power that the mode allows.
        mode: of the board.
    """

    kind: str
    mode: BoardMode

    @property
    def text(self) -> str:
        """As on the command line."""
        return f"{self.kind}[{self.mode.text}]"

    @property
    def unit(self) -> str:
        """Of its values."""
        return UNITS[self.kind]


@dataclass(frozen=True)
class Objectives:
    """The first is an accuracy and chooses the winner; all of them make the front.

    Attributes:
        each: accuracies and costs.
        costs: of those of them that are costs.
    """

    each: tuple[Accuracy | Cost, ...]
    costs: Costs

    @property
    def names(self) -> tuple[str, ...]:
        """For people."""
        return tuple(objective.text for objective in self.each)

    @property
    def several(self) -> bool:
        """Whether there is a front rather than one best."""
        return len(self.each) > 1

    @property
    def first(self) -> Accuracy:
        """What chooses the winner."""
        first = self.each[0]
        assert not isinstance(first, Cost)
        return first

    @property
    def is_ap(self) -> bool:
        """Whether the first is AP, which is told of every detector anyway."""
        return self.first.text == JUST_AP.text

    @property
    def integer_boards(self) -> tuple[str, ...]:
        """Boards in whose integer arithmetic detectors are evaluated."""
        boards = [arithmetic for each in self.each if (arithmetic := arithmetic_of(each)) is not None]
        return tuple(dict.fromkeys(boards))

    def values(self, outcome: Outcome) -> tuple[float, ...]:
        """One an objective, larger is better: costs are negative. A training that diverged found nothing."""
        size = outcome.task.job.strategy.input.size
        return tuple(
            -self.costs[each.text][size] if isinstance(each, Cost) else each.value(metrics_of(outcome, each))
            for each in self.each
        )

    def score(self, outcome: Outcome) -> float:
        """The accuracy that chooses."""
        return self.first.value(metrics_of(outcome, self.first))


def arithmetic_of(objective: Accuracy | Cost) -> str | None:
    """The board in whose integer arithmetic it is measured; None: as the detector was trained."""
    return objective.board if isinstance(objective, InEightBits) else None


def precision_of(objective: Accuracy) -> float | None:
    """The precision that it asks for."""
    inner = objective.accuracy if isinstance(objective, InEightBits) else objective
    return inner.precision if isinstance(inner, RecallAtPrecision) else None


def metrics_of(outcome: Outcome, objective: Accuracy) -> Evaluation:
    """What an objective reads of an outcome: on rungs where integers were not simulated, what stands for them."""
    validation = NOTHING if outcome.validation is None else outcome.validation
    board = arithmetic_of(objective)
    return validation if board is None else outcome.integer.get(board, validation)


def score_of(objective: Accuracy, class_names: Sequence[str]) -> Score:
    """An objective as a number of matches, to be drawn again and again over pictures."""
    names = tuple(class_names)

    def score(matches: Matches, weights: NDArray[np.float64] | None) -> float:
        try:
            return objective.value(Drawn(matches, names, weights))
        except UsageError:  # no object of that class or size in this draw
            return math.nan

    return score


def shown(names: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    """Values by the names of their objectives, with costs positive."""
    pairs = zip(names, values, strict=True)
    return {name: round(-value if COST.fullmatch(name) else value, 5) for name, value in pairs}


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


JUST_AP = Expression.parse("ap", ())

AP = Objectives((JUST_AP,), {})
"""COCO's AP, the objective of a search that is told no other."""


def measure(objective: str) -> str:
    """What an accuracy is called for people."""
    return "AP" if objective == JUST_AP.text else objective


def unit_of(name: str) -> str | None:
    """Of the objective of this name; None of an accuracy."""
    cost = COST.fullmatch(name)
    return None if cost is None else UNITS[cost[1]]


def parse_objective(text: str, class_names: Sequence[str], boards: Sequence[str]) -> Accuracy | Cost:
    """One objective from its text.

    Raises:
        UsageError: neither an accuracy nor a cost, or a board that was not asked for.
    """
    cost = parse_cost(text, boards)
    if cost is not None:
        return cost
    rounded = EIGHT_BITS.fullmatch(text.strip())
    if rounded is None or RECALL.fullmatch(text.strip()) is not None:
        return _plain_accuracy(text, class_names)
    known = [name for name in boards if name in SCHEMES]
    if rounded[2] not in known:
        raise UsageError(
            f"an accuracy in integer arithmetic is given like ap@{(known or list(SCHEMES))[0]}, after one of the "
            f"boards {', '.join(known) or '(none that was asked for has any)'}; got {text!r}"
            + (f": add --board {rounded[2]}" if rounded[2] in SCHEMES else "")
        )
    return InEightBits(_plain_accuracy(rounded[1], class_names), rounded[2])


def parse_cost(text: str, boards: Sequence[str]) -> Cost | None:
    """One objective, if it is a cost; which needs no data to be told.

    Raises:
        UsageError: of a board that was not asked for, or several in one text.
    """
    cost, otherwise = COST.fullmatch(text.strip()), COST_AT.fullmatch(text.strip())
    if otherwise is not None:
        raise UsageError(f"a cost names its board in brackets: {otherwise[1]}[{otherwise[2]}]; got {text!r}")
    first, *others = (part.strip() for part in text.split(","))
    if any(COST.fullmatch(part) or COST_AT.fullmatch(part) for part in others):
        each = " ".join(f"--objective {part}" for part in (first, *others))
        raise UsageError(f"objectives are given one by one: {each}; got {text!r}")
    if cost is None:
        return None
    name = cost[2] or boards[0]
    if re.split("[:@]", name)[0].strip() not in boards:
        raise UsageError(f"{cost[1]} is of one of the boards {', '.join(boards)}; got {text!r}")
    found = Cost(cost[1], BoardMode.parse(name))
    if found.kind == "energy":
        found.mode.watts()
    return found


def _plain_accuracy(text: str, class_names: Sequence[str]) -> Expression | RecallAtPrecision:
    recall = RECALL.fullmatch(text.strip())
    if recall is None:
        try:
            return Expression.parse(text, class_names)
        except UsageError as error:
            if not text.strip().isidentifier():
                raise
            raise UsageError(f"{error}; what a picture costs is {', '.join(UNITS)}") from None
    try:
        precision = float(recall[1] or "nan")
    except ValueError:
        precision = math.nan
    if not 0 < precision < 1:
        raise UsageError(f"a recall names a precision between 0 and 1, like recall@precision=0.9; got {text!r}")
    return RecallAtPrecision(precision)


def parse_objectives(
    texts: Sequence[str], class_names: Sequence[str], boards: Sequence[str]
) -> tuple[Accuracy | Cost, ...]:
    """Objectives in order.

    Raises:
        UsageError: the first is no accuracy, or two are the same.
    """
    found = tuple(parse_objective(text, class_names, boards) for text in texts)
    if not found or isinstance(found[0], Cost):
        raise UsageError("the first objective is an accuracy, since it chooses the winner; give what it costs after it")
    names = [objective.text for objective in found]
    if len(set(names)) < len(names):
        raise UsageError(f"each objective is given once, got {', '.join(names)}")
    return found


def check_on(dataset: Dataset, objectives: Sequence[Accuracy | Cost]) -> None:
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
        if not isinstance(objective, Cost):
            objective.value(evaluation)
