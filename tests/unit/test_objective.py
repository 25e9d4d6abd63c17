"""Objectives: what is accepted, what it is worth, and what is refused with which words."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehone.data import read_dataset
from edgehone.errors import UsageError
from edgehone.evaluation import Evaluation, evaluate_detections, match
from edgehone.evaluation.operating_point import operating_point, score_thresholds
from edgehone.search.expression import Expression
from edgehone.search.objective import (
    AP,
    NOTHING,
    Cost,
    InEightBits,
    Objectives,
    RecallAtPrecision,
    check_on,
    parse_objective,
    parse_objectives,
    precision_of,
    score_of,
    shown,
)
from edgehone.search.trial import Outcome, Task
from edgehone.strategy import AUTHORS
from edgehone.training import Job
from edgehone.types import Detections, Truth

CLASSES = ("RBC", "red cell")
FOUND = NOTHING.model_copy(
    update={
        "ap": 0.4,
        "ap50": 0.7,
        "ap75": 0.3,
        "ap_small": None,
        "ap_large": 0.6,
        "per_class": {"RBC": 0.5, "red cell": 0.3},
        "per_class_ap50": {"RBC": 0.8, "red cell": None},
        "precision_recall": {"RBC": [1.0] * 51 + [0.0] * 50, "red cell": [0.5] * 101},
    }
)


def value(text: str, evaluation: Evaluation = FOUND) -> float:
    objective = parse_objective(text, CLASSES, ("cpu",))
    assert not isinstance(objective, Cost)
    return objective.value(evaluation)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ap", 0.4),
        ("ap50", 0.7),
        ("0.7*ap + 0.3*ap[RBC]", 0.43),
        ('ap["red cell"]', 0.3),
        ("min(ap[RBC], ap['red cell'])", 0.3),
        ("mean(ap, ap50, ap_large)", 1.7 / 3),
        ("-(ap - 1) / 2", 0.3),
        ("max(ap50[RBC], 0.1)", 0.8),
        ("recall@precision=0.9", 0.25),
        ("recall @ precision = 0.5", 0.75),
    ],
)
def test_an_objective_is_worth_what_it_says(text: str, expected: float) -> None:
    assert value(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "an expression of at most"),
        ("ap +", "an expression of at most"),
        ("ap" + "+ap" * 400, "an expression of at most"),
        ("mAP", "the metrics are ap, ap50"),
        ("latncy", "got 'latncy'; what a picture costs is latency, memory, energy"),
        ("ap[WBC]", "the classes are RBC, red cell"),
        ("ap / ap50", "divides by numbers other than 0"),
        ("ap / 0", "divides by numbers other than 0"),
        ("ap ** 2", "is made of"),
        ("__import__('os').system('true')", "is made of"),
        ("ap.real", "is made of"),
        ("ap if ap50 else 0", "is made of"),
        ("True", "is made of"),
        ("'ap'", "is made of"),
        ("min()", "is made of"),
        ("min(*[ap])", "is made of"),
        ("ap_small[RBC]", "is made of"),
        ("recall@precision=1.5", "between 0 and 1"),
        ("recall@precision=0.9.5", "between 0 and 1"),
        ("recall@precision=", "between 0 and 1"),
        ("recall@precision", "between 0 and 1"),
        ("latency[nowhere]", "one of the boards cpu"),
    ],
)
def test_anything_else_is_refused_with_a_reason(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words.replace("[", r"\[")):
        parse_objective(text, CLASSES, ("cpu",))


@given(st.text(alphabet="ap50[]()+-*/. '\"min,RBC_x:=@lambda", max_size=40))
def test_no_text_does_anything_but_parse_or_be_refused(text: str) -> None:
    try:
        found = parse_objective(text, CLASSES, ("cpu",))
    except UsageError:
        return
    if isinstance(found, Expression):
        with contextlib.suppress(UsageError):  # a metric that validation does not have
            assert isinstance(found.value(FOUND), float)


def test_a_metric_that_validation_does_not_have_is_refused() -> None:
    with pytest.raises(UsageError, match="validation has none for ap_small"):
        value("ap_small")
    with pytest.raises(UsageError, match=r"validation has none for ap50\['red cell'\]"):
        value("ap50['red cell']")
    dataset = read_dataset("builtin:digits?train=4&val=4&test=4&width=96&height=96&min_px=40&max_px=60&max_objects=2")
    check_on(dataset, parse_objectives(["ap", "latency"], dataset.class_names, ["cpu"]))
    with pytest.raises(UsageError, match="validation has none for ap_large"):
        check_on(dataset, parse_objectives(["ap_large"], dataset.class_names, ["cpu"]))


def outcome(validation: Evaluation | None) -> Outcome:
    job = Job(model="yolov4-tiny", strategy=AUTHORS, steps=1, batch_size=1)
    task = Task(name="short-00", rung="short", job=job, gflops=1.0, origin="test")
    status = "diverged" if validation is None else "done"
    return Outcome(task=task, status=status, ap=0.4, validation=validation, curve=[], seconds=1.0)


def test_several_objectives_and_their_signs() -> None:
    each = parse_objectives(["ap[RBC]", "latency"], CLASSES, ["cpu", "jetson-xavier-nx"])
    objectives = Objectives(each, {"latency[cpu]": {416: 12.5}})
    assert objectives.values(outcome(FOUND)) == (0.5, -12.5)
    assert shown(objectives.names, (0.5, -12.5)) == {"ap[RBC]": 0.5, "latency[cpu]": 12.5}
    assert objectives.values(outcome(None)) == (0.0, -12.5), "a training that diverged is as fast as any"
    assert AP.values(outcome(FOUND)) == (0.4,)
    for texts, words in ((["latency"], "first objective is an accuracy"), (["ap", "ap"], "given once")):
        with pytest.raises(UsageError, match=words):
            parse_objectives(texts, CLASSES, ["cpu"])


def test_eight_bits_are_a_suffix_of_any_accuracy() -> None:
    boards = ("cpu", "kneron-kl720")
    for text in ("ap@kneron-kl720", "0.5*ap + 0.5*ap[RBC] @ cpu", "recall@precision=0.9@cpu"):
        objective = parse_objective(text, CLASSES, boards)
        assert isinstance(objective, InEightBits)
        inner, _, board = text.rpartition("@")
        assert objective.board == board.strip()
        assert objective.value(FOUND) == value(inner)
        assert parse_objective(objective.text, CLASSES, boards).text == objective.text, "what is shown can be asked for"
    assert precision_of(RecallAtPrecision(0.9)) == 0.9
    objectives = Objectives(parse_objectives(["ap", "ap@cpu", "ap50@cpu"], CLASSES, boards), {})
    assert objectives.integer_boards == ("cpu",)
    assert AP.integer_boards == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ap@kneron-kl720", "after one of the boards cpu; got"),
        ("ap@toaster", "given like ap@cpu"),
        ("latency@cpu", r"a cost names its board in brackets: latency\[cpu\]"),
        ("ap@cpu@cpu", "is made of"),
        ("@cpu", "an expression of at most"),
    ],
)
def test_eight_bits_of_nothing_are_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_objective(text, CLASSES, ("cpu",))


def test_where_integers_were_simulated_they_count_else_what_stands_for_them() -> None:
    objectives = Objectives(parse_objectives(["ap@cpu", "ap"], CLASSES, ["cpu"]), {})
    rounded = FOUND.model_copy(update={"ap": 0.35})
    assert objectives.values(outcome(FOUND).model_copy(update={"integer": {"cpu": rounded}})) == (0.35, 0.4)
    assert objectives.values(outcome(FOUND)) == (0.4, 0.4), "on the lowest rung"
    assert objectives.values(outcome(None)) == (0.0, 0.0)


def test_a_draw_without_an_object_of_the_class_does_not_count() -> None:
    truths, detections = scene(3)
    matches = match(truths, detections, 2)
    only = np.array([float((truth.classes == 0).any() and not (truth.classes == 1).any()) for truth in truths])
    score = score_of(Expression.parse("ap['red cell']", CLASSES), CLASSES)
    assert np.isnan(score(matches, only if only.any() else np.zeros(len(truths))))
    assert not np.isnan(score(matches, None))


def scene(seed: int) -> tuple[list[Truth], list[Detections]]:
    """Boxes found with noise, and false alarms."""
    rng = np.random.default_rng(seed)
    truths: list[Truth] = []
    detections: list[Detections] = []
    for _ in range(20):
        corners = rng.uniform(0, 400, (4, 2)).astype(np.float32)
        boxes = np.concatenate([corners, corners + 60], 1)
        labels = rng.integers(0, 2, 4)
        truths.append(Truth(boxes, labels, (500, 500)))
        extra = np.concatenate([boxes, boxes[::-1] + 200])
        scores = np.concatenate([rng.uniform(0.3, 1, 4), rng.uniform(0, 0.8, 4)]).round(1).astype(np.float32)
        order = np.argsort(-scores, kind="stable")
        both = np.concatenate([labels, labels])
        detections.append(Detections(extra[order].astype(np.float32), scores[order], both[order]))
    return truths, detections


@pytest.mark.parametrize("precision", [0.5, 0.8, 0.95])
def test_thresholds_keep_the_precision_and_reach_the_recall_of_the_objective(precision: float) -> None:
    truths, detections = scene(3)
    matches = match(truths, detections, 2)
    thresholds = score_thresholds(matches, precision)
    found = operating_point(matches, thresholds, CLASSES)
    evaluation = evaluate_detections(truths, detections, CLASSES, samples=0)
    for reached in found.precision.values():
        assert reached is None or reached >= precision
    assert found.mean_recall <= RecallAtPrecision(precision).value(evaluation) + 1e-6 + 0.01
    objective = RecallAtPrecision(precision).value(evaluation)
    assert score_of(RecallAtPrecision(precision), CLASSES)(matches, None) == objective
    # By hand: no lower threshold keeps the precision.
    for one, threshold in zip(matches.classes, thresholds, strict=True):
        for score in np.unique(one.scores):
            kept = one.scores >= score
            true, false = one.hits[0][kept].sum(), one.alarms[0][kept].sum()
            if threshold is not None and score < threshold:
                assert true / max(true + false, 1) < precision


def test_where_no_threshold_is_precise_enough_nothing_is_detected() -> None:
    truths, detections = scene(3)
    matches = match(truths, detections, 2)
    found = operating_point(matches, [None, None], CLASSES)
    assert found.mean_recall == 0.0
    assert set(found.precision.values()) == {None}
