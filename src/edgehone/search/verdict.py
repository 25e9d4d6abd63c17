"""The end of a run: everything fully trained is evaluated once on the test split and compared."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from edgehone.data import Dataset
from edgehone.errors import EdgehoneError
from edgehone.evaluation import Evaluation, Matches, Score, coco_ap, evaluate_detections, match, paired_difference
from edgehone.evaluation.operating_point import operating_point, recall_at_precision, score_thresholds
from edgehone.inference import CHECKPOINT, Detector, PostProcess, TorchRuntime, open_network
from edgehone.results import Application, Entry, Gain, Kept, judge
from edgehone.search.ladder import Ladder
from edgehone.search.objective import Accuracy, Latency, Objectives, RecallAtPrecision
from edgehone.search.proof import PresetRuns
from edgehone.search.trial import Outcome
from edgehone.types import Detections

DRAWS = 1000
"""Bootstrap draws behind an interval."""


@dataclass(frozen=True)
class Split:
    """Where trained detectors and pictures are.

    Attributes:
        dataset: the data.
        trials: folder of the trials.
    """

    dataset: Dataset
    trials: Path


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


def margin_on_validation(found: Outcome, default: Outcome, ladder: Ladder, aim: Objectives, split: Split) -> Gain:
    """The found strategy against the default on validation, by the first objective, with the noise of both.

    The half-width of the interval joins what the pictures leave open (a paired bootstrap, of AP where the objective is
    an expression) and what the seeds do (over the found strategy's seeds, one of the default).
    """
    first, second = (_matches(outcome, split) for outcome in (found, default))
    low, high = paired_difference(first, second, samples=DRAWS, score=_score(aim.each[0]))[1]
    standing = ladder.standings[0]
    seeds = ladder.seed_noise * math.sqrt(1 / standing.seeds + 1)
    half = 1.96 * math.hypot((high - low) / (2 * 1.96), seeds)
    difference = standing.values[0] - aim.score(default)
    return judge(difference, (difference - half, difference + half))


def _score(wanted: Accuracy | Latency) -> Score:
    """What is drawn again and again over pictures."""
    if not isinstance(wanted, RecallAtPrecision):
        return coco_ap
    return lambda matches, weights: recall_at_precision(matches, wanted.precision, weights)


def application(found: Tested, outcome: Outcome, precision: float, split: Split) -> Application:
    """Score thresholds chosen on validation, and what they are worth there and on the test split."""
    names = split.dataset.class_names
    validation = _matches(outcome, split)
    thresholds = score_thresholds(validation, precision)
    return Application(
        thresholds=dict(zip(names, thresholds, strict=True)),
        validation=operating_point(validation, thresholds, names),
        test=operating_point(found.matches, thresholds, names),
    )


def _matches(outcome: Outcome, split: Split) -> Matches:
    """Of a full training, on validation."""
    network, info = open_network(split.trials / outcome.task.name / CHECKPOINT)
    detector = Detector(info, TorchRuntime(network))
    samples = split.dataset.val
    detections = list(detector.detect((s.read().image for s in samples), PostProcess()))
    return match([s.truth() for s in samples], detections, len(split.dataset.class_names))


@dataclass(frozen=True)
class Decision:
    """What is deployed, the comparison that decided it, and what it does at the precision that was asked for."""

    kept: Kept
    outcome: Outcome
    margin: Gain | None
    application: Application | None


def decide(ladder: Ladder, presets: PresetRuns, aim: Objectives, found: Tested, split: Split) -> Decision:
    """Keep what was found, unless validation cannot tell it from the default; then keep the default."""
    winner, wanted = ladder.finalists[0], aim.each[0]
    reached = application(found, winner, wanted.precision, split) if isinstance(wanted, RecallAtPrecision) else None
    name = presets.default
    if name is None or presets.finals[name].status != "done":
        return Decision("found", winner, None, reached)
    margin = margin_on_validation(winner, presets.finals[name], ladder, aim, split)
    if margin.verdict == "better":
        return Decision("found", winner, margin, reached)
    return Decision("default", presets.finals[name], margin, reached)


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
