"""What is kept: the found strategy only where validation tells it from the default, pictures and seeds counted."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from edgehone.data import read_dataset
from edgehone.evaluation import Matches, evaluate_detections, match
from edgehone.results import Entry
from edgehone.run_folder import RunFolder
from edgehone.search import ablation, verdict
from edgehone.search.changes import changes_between
from edgehone.search.finalists import Standing
from edgehone.search.ladder import Ladder
from edgehone.search.objective import AP, Objectives, RecallAtPrecision, parse_objectives
from edgehone.search.proof import PresetRuns
from edgehone.search.trial import Outcome, Task
from edgehone.search.verdict import Answers, Split, decide
from edgehone.space import replace
from edgehone.strategy import AUTHORS
from edgehone.training import Job
from edgehone.types import Detections, Truth


def answers(noise: float) -> tuple[list[Truth], list[Detections]]:
    """Boxes of forty pictures, found with so many pixels of noise."""
    rng = np.random.default_rng(0)
    truths: list[Truth] = []
    found: list[Detections] = []
    for _ in range(40):
        corner = rng.uniform(0, 200, (5, 2))
        boxes = np.concatenate([corner, corner + 50], 1).astype(np.float32)
        labels = np.zeros(5, np.int64)
        truths.append(Truth(boxes, labels, (300, 300)))
        moved = (boxes + noise * rng.standard_normal(boxes.shape)).astype(np.float32)
        found.append(Detections(moved, np.linspace(0.9, 0.5, 5).astype(np.float32), labels))
    return truths, found


def matches(noise: float) -> Matches:
    return match(*answers(noise), 1)


def outcome(name: str, noise: float) -> Outcome:
    job = Job(model="yolov4-tiny", strategy=AUTHORS, steps=1, batch_size=1)
    evaluation = evaluate_detections(*answers(noise), ("thing",), samples=0)
    task = Task(name=name, rung="final", job=job, gflops=1.0, origin="test")
    return Outcome(task=task, status="done", ap=evaluation.ap, validation=evaluation, curve=[], seconds=1.0)


def decided(monkeypatch: pytest.MonkeyPatch, noise: float, aim: Objectives = AP, seeds: int = 1) -> verdict.Decision:
    """A found strategy with this noise against a default with 3 px."""
    runs = {"final-00": noise, "final-authors": 3.0}

    def said(noise: float) -> Answers:
        found = matches(noise)
        return Answers([], found, found)

    monkeypatch.setattr(verdict, "answers_on", lambda name, o, split: said(runs[o.task.name]))
    monkeypatch.setattr(verdict, "DRAWS", 100)
    found, default = (outcome(name, each) for name, each in runs.items())
    score = aim.score(found)
    standing = Standing(name="final-00", trial=0, seeds=seeds, values=(score,), shown={}, low=score, high=score)
    ladder = Ladder([found], [found], [], (standing,))
    presets = PresetRuns([], {"authors": default}, aim)
    tested = cast(verdict.Tested, dataclasses.make_dataclass("T", ["answers"])(said(noise)))
    dataset = dataclasses.make_dataclass("D", ["class_names"])(("thing",))
    both = {"found": tested, "authors": tested}
    return decide(ladder, presets, both, Split(dataset, Path(), aim))


def test_what_is_clearly_better_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    found = decided(monkeypatch, 1.0)
    assert found.kept == "found"
    assert found.outcome.task.name == "final-00"
    assert found.margin is not None
    assert found.margin.interval95[0] > 0


@pytest.mark.parametrize("noise", [3.0, 2.9, 8.0])
def test_a_tie_and_a_loss_keep_the_default(monkeypatch: pytest.MonkeyPatch, noise: float) -> None:
    found = decided(monkeypatch, noise)
    assert (found.kept, found.outcome.task.name) == ("default", "final-authors")


def test_seeds_make_the_interval_narrower_than_one_training_does(monkeypatch: pytest.MonkeyPatch) -> None:
    widths: list[float] = []
    for seeds in (1, 9):
        margin = decided(monkeypatch, 2.9, seeds=seeds).margin
        assert margin is not None
        widths.append(margin.interval95[1] - margin.interval95[0])
    assert widths[1] < widths[0]
    assert widths[1] > 2 * 1.96 * 0.018, "one seed of the default remains"


def test_a_wanted_precision_gives_thresholds(monkeypatch: pytest.MonkeyPatch) -> None:
    aim = Objectives((RecallAtPrecision(0.5),), {})
    found = decided(monkeypatch, 1.0, aim)
    assert found.application is not None
    assert found.application.thresholds["thing"] == pytest.approx(0.5)
    assert found.application.test.mean_recall == 1.0


def test_thresholds_are_those_of_the_detector_that_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The found one would need lower scores for this precision, and reach less."""
    decision = decided(monkeypatch, 20.0, Objectives((RecallAtPrecision(0.5),), {}))
    assert decision.kept == "default"
    assert decision.application is not None
    assert decision.application.validation.mean_recall == 1.0


def test_a_preset_that_diverged_does_not_stop_the_run(tmp_path: Path) -> None:
    dataset = read_dataset("builtin:digits?train=8&val=4&test=4&width=96&height=96&max_px=60")
    gone = outcome("final-darknet", 1.0).model_copy(update={"status": "diverged", "ap": 0.0, "validation": None})
    tested = verdict.on_test_split(gone, "darknet", Split(dataset, tmp_path))
    assert (tested.entry.test.ap, tested.entry.validation.ap) == (0.0, 0.0)
    assert not any(len(each.scores) for each in tested.answers.detections)


def loose_or_loud(loose: bool) -> tuple[list[Truth], list[Detections]]:
    """Boxes that are loose; or exact ones, among alarms that score higher."""
    truths, found = answers(6.0 if loose else 0.0)
    if loose:
        return truths, found
    alarm = np.array([[250, 250, 290, 290]], np.float32)
    loud = [
        Detections(
            np.concatenate([alarm, each.boxes_xyxy]),
            np.insert(each.scores, 0, np.float32(0.95)),
            np.insert(each.classes, 0, 0),
        )
        for each in found
    ]
    return truths, loud


def on_test(loose: bool) -> verdict.Tested:
    found = match(*loose_or_loud(loose), 1)
    return verdict.Tested(entry_of(loose), Answers([], found, found))


def entry_of(loose: bool) -> Entry:
    evaluation = evaluate_detections(*loose_or_loud(loose), ("thing",), samples=0)
    return Entry(
        strategy=AUTHORS, preset=None, test=evaluation, validation=evaluation, interval95={}, steps=1, gflops=1.0
    )


@pytest.mark.parametrize("text", ["recall@precision=0.9", "1 - ap75", "ap"])
def test_the_verdict_is_about_what_was_asked_and_ap_stands_beside_it(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """The loose boxes are worse in AP and better in what an application asks for that hates alarms."""
    monkeypatch.setattr(verdict, "DRAWS", 100)
    aim = Objectives(parse_objectives([text], ("thing",), ["cpu"]), {})
    split = Split(dataclasses.make_dataclass("D", ["class_names"])(("thing",)), Path(), aim)
    found = verdict.gain(on_test(True).answers, on_test(False).answers, split)
    assert found.interval95[1] < 0, "worse in AP"
    if text == "ap":
        assert (found.verdict, found.asked) == ("worse", None)
        assert found.words().startswith(f"{100 * found.ap:+.1f} AP points [")
        return
    assert found.verdict == "better"
    assert found.asked is not None
    assert found.asked.objective == text
    score = aim.first.value
    sides = (evaluate_detections(*loose_or_loud(loose), ("thing",), samples=0) for loose in (True, False))
    assert found.asked.value == pytest.approx(score(next(sides)) - score(next(sides)), abs=1e-4)
    assert 0 < found.asked.interval95[0] <= found.asked.value <= found.asked.interval95[1]
    assert f"points of {text} [" in found.words()
    assert f"{100 * found.ap:+.1f} AP points" in found.words()


def test_what_the_test_split_cannot_measure_is_compared_by_ap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict, "DRAWS", 50)
    aim = Objectives(parse_objectives(["ap_large"], ("thing",), ["cpu"]), {})
    split = Split(dataclasses.make_dataclass("D", ["class_names"])(("thing",)), Path(), aim)
    found = verdict.gain(on_test(True).answers, on_test(False).answers, split)
    assert (found.asked, found.verdict) == (None, "worse"), "no object is larger than 96 px"


def test_a_default_that_is_worse_in_what_was_asked_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """By AP alone the default would be kept."""
    monkeypatch.setattr(verdict, "DRAWS", 100)
    said = {"final-00": match(*loose_or_loud(True), 1), "final-authors": match(*loose_or_loud(False), 1)}
    monkeypatch.setattr(verdict, "answers_on", lambda name, o, split: Answers([], said[o.task.name], said[o.task.name]))
    kept = {}
    for text in ("ap", "1 - ap75"):
        aim = Objectives(parse_objectives([text], ("thing",), ["cpu"]), {})
        found, default = (
            outcome(name, 1.0).model_copy(update={"validation": entry.validation, "ap": entry.validation.ap})
            for name, entry in (("final-00", entry_of(True)), ("final-authors", entry_of(False)))
        )
        score = aim.score(found)
        standing = Standing(name="final-00", trial=0, seeds=1, values=(score,), shown={}, low=score, high=score)
        ladder = Ladder([found], [found], [], (standing,))
        split = Split(dataclasses.make_dataclass("D", ["class_names"])(("thing",)), Path(), aim)
        both = {"found": on_test(True), "authors": on_test(False)}
        decision = decide(ladder, PresetRuns([], {"authors": default}, aim), both, split)
        kept[text] = decision.kept
        assert decision.margin is not None
        assert decision.margin.ap < 0
        assert (decision.margin.asked is None) == (text == "ap")
    assert kept == {"ap": "default", "1 - ap75": "found"}


def test_a_step_of_an_ablation_is_judged_by_what_was_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The default is loud, the winner loose."""
    monkeypatch.setattr(verdict, "DRAWS", 100)
    said = {"default": match(*loose_or_loud(False), 1), "winner": match(*loose_or_loud(True), 1)}
    monkeypatch.setattr(
        ablation, "answers_on", lambda name, o, split: Answers([], said[o.task.name], said[o.task.name])
    )
    steps = ((changes_between(AUTHORS, replace(AUTHORS, {"optimisation.optimizer.lr": 0.02}))[0],),)
    trained = [(outcome(name, 1.0), RunFolder(tmp_path)) for name in said]
    for text, effect in (("ap", "hurts"), ("1 - ap75", "helps")):
        aim = Objectives(parse_objectives([text], ("thing",), ["cpu"]), {})
        split = Split(dataclasses.make_dataclass("D", ["class_names"])(("thing",)), tmp_path, aim)
        path = ablation.judge_path("default", 1.0, steps, trained, split)
        step = path.steps[0]
        assert (step.effect, step.gain < 0) == (effect, True)
        value, difference, _ = step.told()
        assert difference == pytest.approx(value - path.base_told, abs=2e-5)
        assert (value == step.ap) == (text == "ap")
