"""The end of a run: everything fully trained is evaluated once on the test split and compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgehone.data import Dataset
from edgehone.errors import EdgehoneError
from edgehone.evaluation import Evaluation, Matches, evaluate_detections, match, paired_difference
from edgehone.inference import CHECKPOINT, Detector, PostProcess, TorchRuntime, open_network
from edgehone.results import Entry, Gain, judge
from edgehone.search.ladder import Ladder
from edgehone.search.proof import PresetRuns
from edgehone.search.trial import Outcome
from edgehone.types import Detections

DRAWS = 1000
"""Bootstrap draws behind an interval."""


@dataclass(frozen=True)
class Tested:
    """A fully trained strategy on the test split: its entry, its matches for paired comparison, its answers."""

    entry: Entry
    matches: Matches
    detections: list[Detections]


def on_test_split(outcome: Outcome, preset: str | None, dataset: Dataset, trials: Path) -> Tested:
    """Evaluate a finished full training on the test split, in fp32 as it is exported."""
    if outcome.validation is None:
        raise EdgehoneError(f"{outcome.task.name} has no trained detector: {outcome.message}")
    network, info = open_network(trials / outcome.task.name / CHECKPOINT)
    detector = Detector(info, TorchRuntime(network))
    detections = list(detector.detect((s.read().image for s in dataset.test), PostProcess()))
    truths = [s.truth() for s in dataset.test]
    evaluation = evaluate_detections(truths, detections, dataset.class_names, samples=DRAWS)
    entry = Entry(
        strategy=outcome.task.job.strategy,
        preset=preset,
        test=evaluation,
        validation=outcome.validation,
        interval95=intervals(evaluation),
        steps=outcome.task.job.steps,
        gflops=outcome.task.gflops,
    )
    return Tested(entry, match(truths, detections, len(dataset.class_names)), detections)


def intervals(evaluation: Evaluation) -> dict[str, tuple[float, float]]:
    """The evaluation's 95 % intervals; empty where none were drawn."""
    return dict(evaluation.interval95 or {})


def gain(found: Tested, other: Tested) -> Gain:
    """Difference of AP on the test split, over the same draws of images."""
    difference, interval = paired_difference(found.matches, other.matches, samples=DRAWS)
    return judge(difference, interval)


def all_on_test_split(
    ladder: Ladder, presets: PresetRuns, evolved: Outcome | None, dataset: Dataset, trials: Path
) -> dict[str, Tested]:
    """The winner as ``found``, presets and evolution under their names."""
    tested = {"found": on_test_split(ladder.finalists[0], None, dataset, trials)}
    for name, outcome in presets.finals.items():
        tested[name] = on_test_split(outcome, name, dataset, trials)
    if evolved is not None:
        tested["evolution"] = on_test_split(evolved, None, dataset, trials)
    return tested
