"""The end of a run: everything fully trained is evaluated once on the test split and compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgehone.data import Dataset
from edgehone.deploy.integer.accuracy import as_trained
from edgehone.evaluation import (
    Matches,
    Score,
    coco_ap,
    evaluate_detections,
    match,
    paired_difference,
    score_interval,
)
from edgehone.evaluation.operating_point import operating_point, score_thresholds
from edgehone.inference import CHECKPOINT, Detector, PostProcess, Runtime, TorchRuntime, open_network
from edgehone.results import Application, Difference, Entry, Gain, Kept, Reached, judge
from edgehone.search.ladder import Ladder
from edgehone.search.objective import AP, NOTHING, Accuracy, Objectives, arithmetic_of, precision_of, score_of
from edgehone.search.proof import PresetRuns
from edgehone.search.trial import Outcome
from edgehone.types import Detections, no_boxes

DRAWS = 1000
"""Bootstrap draws behind an interval."""


@dataclass(frozen=True)
class Split:
    """Where trained detectors and pictures are, and what they are judged by.

    Attributes:
        dataset: the data.
        trials: folder of the trials.
        aim: the first objective decides.
    """

    dataset: Dataset
    trials: Path
    aim: Objectives = AP

    @property
    def score(self) -> Score | None:
        """The first objective as a number of matches; None where it is AP, which is always there."""
        return None if self.aim.is_ap else score_of(self.aim.first, self.dataset.class_names)


@dataclass(frozen=True)
class Answers:
    """What a trained detector says of a split.

    Attributes:
        detections: in fp32, as it is exported.
        matches: of them.
        asked: matches in the arithmetic that the first objective asks for; mostly the same.
    """

    detections: list[Detections]
    matches: Matches
    asked: Matches


@dataclass(frozen=True)
class Tested:
    """A fully trained strategy on the test split: its entry and its answers."""

    entry: Entry
    answers: Answers


def answers_on(name: str, outcome: Outcome, split: Split) -> Answers:
    """Of a training that kept its detector, on the split of this name; one that diverged finds nothing."""
    dataset, samples = split.dataset, split.dataset.splits[name]
    truths = [sample.truth() for sample in samples]

    def matched(detections: list[Detections]) -> Matches:
        return match(truths, detections, len(dataset.class_names))

    if outcome.status != "done":
        silence = [Detections(no_boxes(), np.zeros(0, np.float32), np.zeros(0, np.int64))] * len(samples)
        return Answers(silence, matched(silence), matched(silence))
    network, info = open_network(split.trials / outcome.task.name / CHECKPOINT)

    def said(runtime: Runtime) -> list[Detections]:
        return list(Detector(info, runtime).detect((s.read().image for s in samples), PostProcess()))

    detections, board = said(TorchRuntime(network)), arithmetic_of(split.aim.first)
    matches = matched(detections)
    rounded = matches if board is None else matched(said(as_trained(network, info, dataset, board)))
    return Answers(detections, matches, rounded)


def on_test_split(outcome: Outcome, preset: str | None, split: Split) -> Tested:
    """Evaluate a finished full training on the test split, in fp32 as it is exported and as the objective asks.

    One that diverged finds nothing there and nothing on validation.
    """
    dataset, answers = split.dataset, answers_on("test", outcome, split)
    truths = [s.truth() for s in dataset.test]
    evaluation = evaluate_detections(truths, answers.detections, dataset.class_names, samples=DRAWS)
    entry = Entry(
        strategy=outcome.task.job.strategy,
        preset=preset,
        test=evaluation,
        validation=outcome.validation or NOTHING,
        interval95=dict(evaluation.interval95 or {}),
        reached=reached(outcome, answers, split),
        steps=outcome.task.job.steps,
        gflops=outcome.task.gflops,
    )
    return Tested(entry, answers)


def reached(outcome: Outcome, answers: Answers, split: Split) -> Reached | None:
    """The first objective on validation and on the test split, unless it is AP."""
    if split.score is None:
        return None
    found = Reached(objective=split.aim.first.text, validation=round(split.aim.score(outcome), 5))
    value = split.score(answers.asked, None)
    if math.isnan(value):
        return found
    low, high = score_interval(answers.asked, split.score, DRAWS)
    return found.model_copy(update={"test": round(value, 5), "interval95": (round(low, 5), round(high, 5))})


def gain(found: Answers, other: Answers, split: Split) -> Gain:
    """Difference of AP and of the first objective on a split, each over the same draws of its images."""
    difference, interval = paired_difference(found.matches, other.matches, samples=DRAWS)
    score, sides = split.score, (found.asked, other.asked)
    if score is None or math.isnan(score(sides[0], None)):
        return judge(difference, interval)
    return judge(difference, interval, asked(split.aim.first, *paired_difference(*sides, samples=DRAWS, score=score)))


def asked(objective: Accuracy, value: float, interval: tuple[float, float]) -> Difference:
    """A difference in terms of an objective."""
    ends = (round(interval[0], 5), round(interval[1], 5))
    return Difference(objective=objective.text, value=round(value, 5), interval95=ends)


def margin_on_validation(found: Outcome, default: Outcome, ladder: Ladder, split: Split) -> Gain:
    """The found strategy against the default on validation, by the first objective, with the noise of both.

    The half-width of an interval joins what the pictures leave open (a paired bootstrap) and what the seeds do (over
    the found strategy's seeds, one of the default). Beside the objective, AP of the first seeds.
    """
    first, second = (answers_on("val", outcome, split) for outcome in (found, default))
    standing = ladder.standings[0]
    seeds = ladder.seed_noise * math.sqrt(1 / standing.seeds + 1)

    def around(value: float, sides: tuple[Matches, Matches], score: Score) -> tuple[float, tuple[float, float]]:
        low, high = paired_difference(*sides, samples=DRAWS, score=score)[1]
        half = 1.96 * math.hypot((high - low) / (2 * 1.96), seeds)
        return value, (value - half, value + half)

    objective, score, plain = (
        standing.values[0] - split.aim.score(default),
        split.score,
        (first.matches, second.matches),
    )
    if score is None:
        return judge(*around(objective, plain, coco_ap))
    wanted = asked(split.aim.first, *around(objective, (first.asked, second.asked), score))
    return judge(*around(found.ap - default.ap, plain, coco_ap), wanted)


def application(kept: Tested, outcome: Outcome, precision: float, split: Split) -> Application:
    """Score thresholds of the detector that is kept, chosen on validation; their worth there and on the test split."""
    names = split.dataset.class_names
    validation = answers_on("val", outcome, split).asked
    thresholds = score_thresholds(validation, precision)
    return Application(
        thresholds=dict(zip(names, thresholds, strict=True)),
        validation=operating_point(validation, thresholds, names),
        test=operating_point(kept.answers.asked, thresholds, names),
    )


@dataclass(frozen=True)
class Decision:
    """What is deployed, the comparison that decided it, and what it does at the precision that was asked for."""

    kept: Kept
    outcome: Outcome
    margin: Gain | None
    application: Application | None


def decide(ladder: Ladder, presets: PresetRuns, tested: Mapping[str, Tested], split: Split) -> Decision:
    """Keep what was found, unless validation cannot tell it from the default; then keep the default.

    Args:
        ladder: what was found.
        presets: the default among them.
        tested: the winner as ``found``, presets under their names.
        split: by what they are judged.
    """
    kept, outcome, on_test = "found", ladder.finalists[0], tested["found"]
    name, margin = presets.default, None
    if name is not None and presets.finals[name].status == "done":
        margin = margin_on_validation(outcome, presets.finals[name], ladder, split)
        if margin.verdict != "better":
            kept, outcome, on_test = "default", presets.finals[name], tested[name]
    precision = precision_of(split.aim.first)
    does = None if precision is None else application(on_test, outcome, precision, split)
    return Decision(kept, outcome, margin, does)


def all_on_test_split(ladder: Ladder, presets: PresetRuns, evolved: Outcome | None, split: Split) -> dict[str, Tested]:
    """The winner as ``found``, presets and evolution under their names."""
    tested = {"found": on_test_split(ladder.finalists[0], None, split)}
    for name, outcome in presets.finals.items():
        tested[name] = on_test_split(outcome, name, split)
    if evolved is not None:
        tested["evolution"] = on_test_split(evolved, None, split)
    return tested
