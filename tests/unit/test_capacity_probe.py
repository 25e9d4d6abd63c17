"""The capacity probe: planned within a budget, deterministic, interruptible, and right in what it counts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgehone.analysis import capacity_probe
from edgehone.analysis.capacity_ladder import ladder_augmentation
from edgehone.analysis.capacity_probe import (
    MIN_STEPS,
    ProbePlan,
    Rung,
    fits_up_to,
    plan_probe,
    probe,
    probe_input,
    probe_pictures,
    run_probe,
)
from edgehone.analysis.capacity_recall import Objects, Recall, best_balance, found_at, size_names
from edgehone.analysis.confidence import answers
from edgehone.augment import NONE
from edgehone.data import read_dataset
from edgehone.errors import UsageError
from edgehone.types import Detections

DATA = read_dataset("builtin:digits?train=6&val=2&test=2&classes=2&min_px=60&max_px=120&seed=3")
PLAN = ProbePlan(
    model="yolov4-tiny",
    strengths=(0.0, 1.0),
    steps=3,
    batch_size=2,
    pictures=6,
    input_size=160,
    precision="fp32",
    seed=1,
    seconds=1.0,
)


def rung(strength: float, share: float) -> Rung:
    recall = Recall(overall=share, by_size={}, by_class={})
    return Rung(strength=strength, loss=1.0, f1=share, fitted=recall, ceiling=recall)


def test_a_probe_is_a_function_of_its_plan_and_the_data(tmp_path: Path) -> None:
    first = run_probe(PLAN, DATA.class_names, DATA.train)
    again = run_probe(PLAN, DATA.class_names, DATA.train, folder=tmp_path)
    assert first.rungs == again.rungs
    assert [r.strength for r in first.rungs] == [0.0, 1.0]
    assert sum(first.objects.values()) == sum(len(s.classes) for s in DATA.train)
    assert all(r.fitted.overall <= r.ceiling.overall <= 1 for r in first.rungs)
    assert PLAN.passes == 1.0


def test_finished_rungs_are_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run_probe(PLAN, DATA.class_names, DATA.train, folder=tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json"}

    def refuse(*arguments: Any, **more: Any) -> Any:
        raise AssertionError("trained again")

    monkeypatch.setattr(capacity_probe, "train", refuse)
    assert run_probe(PLAN, DATA.class_names, DATA.train, folder=tmp_path).rungs == first.rungs
    with pytest.raises(AssertionError, match="trained again"):
        run_probe(PLAN.model_copy(update={"seed": 2}), DATA.class_names, DATA.train, folder=tmp_path)


def test_the_deadline_ends_a_probe_and_keeps_what_is_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    late = run_probe(PLAN, DATA.class_names, DATA.train, deadline=time.monotonic() - 1, say=said.append)
    assert late.rungs == ()
    assert late.fits_up_to is None
    assert "budget ended" in said[-1]
    ends = capacity_probe.Ends(None)
    monkeypatch.setattr(ends, "deadline", time.monotonic() - 1)
    with pytest.raises(capacity_probe.OutOfTime):
        ends(object())  # pyright: ignore


def test_a_budget_is_planned_from_timed_steps_and_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    def costs(seconds: float) -> None:
        monkeypatch.setattr(capacity_probe, "_seconds_per_step", lambda *a: seconds if a[-1] == "fp32" else 2 * seconds)

    costs(0.1)
    plan = plan_probe("yolov4-tiny", DATA.class_names, DATA.train, 120.0)
    assert (len(plan.strengths), plan.precision, plan.pictures, plan.batch_size) == (4, "fp32", 6, 6)
    assert plan.steps % 20 == 0
    assert 60 < plan.seconds <= 0.85 * 120
    costs(1.0)
    short = plan_probe("yolov4-tiny", DATA.class_names, DATA.train, 120.0)
    assert short.strengths == (0.0, 0.3)
    assert short.steps >= MIN_STEPS
    with pytest.raises(UsageError, match=r"at least 40 steps.*give at least \d+ s"):
        plan_probe("yolov4-tiny", DATA.class_names, DATA.train, 10.0)
    costs(1e-4)
    assert plan_probe("yolov4-tiny", DATA.class_names, DATA.train, 120.0).steps == capacity_probe.MAX_STEPS


def test_a_probe_within_a_tiny_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity_probe, "MIN_STEPS", 1)
    monkeypatch.setattr(capacity_probe, "MAX_STEPS", 2)
    monkeypatch.setattr(capacity_probe, "TIMED_STEPS", 2)
    said: list[str] = []
    found = probe("yolov4-tiny", DATA.class_names, DATA.train, 600.0, say=said.append)
    assert said[0].startswith("capacity probe: 4 trainings of")
    assert len(found.rungs) == 4
    assert found.plan.seconds > 0


def test_no_objects_no_probe() -> None:
    with pytest.raises(UsageError, match="no training picture has one"):
        probe_pictures([], 0)
    chosen = probe_pictures(DATA.train, 0)
    assert [s.id for s in chosen] == [s.id for s in DATA.train]


def test_the_input_gives_the_median_object_a_cell() -> None:
    small = read_dataset("builtin:digits?train=6&val=2&test=2&min_px=8&max_px=12&width=320&height=320")
    assert probe_input(DATA.train) == 160
    assert probe_input(small.train) > 320


def test_the_ladder_rises_from_nothing() -> None:
    assert ladder_augmentation(0.0) == NONE
    weak, strong = ladder_augmentation(0.5), ladder_augmentation(1.0)
    assert 0 < weak.mosaic.probability < strong.mosaic.probability == 1.0
    assert 0 < weak.affine.scale < strong.affine.scale == 0.9
    assert 0 < weak.mixup.probability < strong.mixup.probability
    assert strong.off_fraction == 0, "variation to the end"


def test_where_it_stops_fitting() -> None:
    assert fits_up_to([]) is None
    assert fits_up_to([rung(0.0, 0.0), rung(1.0, 0.0)]) is None
    assert fits_up_to([rung(0.0, 0.5), rung(0.5, 0.41), rung(1.0, 0.39)]) == 0.5
    assert fits_up_to([rung(0.0, 0.5), rung(0.5, 0.39), rung(1.0, 0.5)]) == 0.0
    assert fits_up_to([rung(0.0, 0.5), rung(1.0, 0.6)]) == 1.0


def test_recall_counts_each_object_once_with_its_class_and_size() -> None:
    sample = DATA.train[0]
    objects = Objects.of([sample], DATA.class_names, 160)
    wrong = (1 - sample.classes).astype(np.int64)
    boxes = np.concatenate([sample.boxes_xyxy, sample.boxes_xyxy[:1], sample.boxes_xyxy])
    classes = np.concatenate([sample.classes, sample.classes[:1], wrong])
    scores = np.linspace(0.9, 0.1, len(boxes)).astype(np.float32)
    met = answers(sample, Detections(boxes, scores, classes))
    found = found_at(met)
    assert (found > 0).all()
    assert objects.recall(found > 0).overall == 1.0
    # All labels come first and are right, what follows is not: the balance is best at the last of them.
    count = len(sample.classes)
    assert best_balance([met]) == (1.0, pytest.approx(scores[count - 1]))
    only = np.zeros(count, bool)
    only[0] = True
    recall = objects.recall(only)
    assert recall.overall == pytest.approx(1 / count, abs=1e-4)
    assert set(recall.by_size) == set(objects.counts()) <= set(size_names())
    silent = answers(sample, Detections(boxes[:0], scores[:0], classes[:0]))
    assert best_balance([silent]) == (0.0, float("inf"))
    twice = answers(sample, Detections(boxes[count:], scores[count:], np.concatenate([sample.classes[:1], wrong])))
    f1, score = best_balance([met, silent])
    assert (f1, score) == (pytest.approx(2 * count / (3 * count)), pytest.approx(scores[count - 1])), "half is missed"
    assert best_balance([twice]) == (pytest.approx(2 / (1 + count)), pytest.approx(scores[count]))
