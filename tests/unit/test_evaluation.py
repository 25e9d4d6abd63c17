"""Evaluation at its edges: no answers, no truth, wrong class numbers, intervals and paired comparison."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgehone.errors import EdgehoneError
from edgehone.evaluation import Evaluation, evaluate_detections, match, mean_ap, paired_difference
from edgehone.types import Detections, Truth

NAMES = ("cell", "plate")
NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


def truths_of(images: int, seed: int = 0) -> list[Truth]:
    rng = np.random.default_rng(seed)
    found: list[Truth] = []
    for _ in range(images):
        corner = rng.uniform(0, 300, (6, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(40, 90, (6, 2))], 1).astype(np.float32)
        found.append(Truth(boxes, rng.integers(0, 2, 6), (400, 400)))
    return found


def answers(truths: list[Truth], noise: float, seed: int = 1) -> list[Detections]:
    """Truth blurred by ``noise`` pixels, half of the scores close to those of false alarms."""
    rng = np.random.default_rng(seed)
    return [
        Detections(
            (t.boxes_xyxy + rng.normal(0, noise, t.boxes_xyxy.shape)).astype(np.float32),
            rng.uniform(0.2, 1, len(t.classes)).astype(np.float32),
            t.classes,
        )
        for t in truths
    ]


def perfect(truths: list[Truth]) -> list[Detections]:
    return [Detections(t.boxes_xyxy, np.ones(len(t.classes), np.float32), t.classes) for t in truths]


def test_perfect_answers_reach_one_and_no_answers_zero() -> None:
    truths = truths_of(5)
    best = evaluate_detections(truths, perfect(truths), NAMES, samples=50)
    assert (best.ap, best.ap50, best.ap75, best.ar100, best.images) == (1, 1, 1, 1, 5)
    assert best.ap_small is None
    assert best.interval95 == {"ap": (1, 1), "ap50": (1, 1)}
    none = evaluate_detections(truths, [NOTHING] * 5, NAMES, samples=50)
    assert (none.ap, none.ap50, none.ar100) == (0, 0, 0)
    assert none.per_class == {"cell": 0, "plate": 0}
    assert none.interval95 == {"ap": (0, 0), "ap50": (0, 0)}


def test_nothing_is_printed_and_json_keeps_its_shape(capsys: pytest.CaptureFixture[str]) -> None:
    truths = truths_of(4)
    evaluation = evaluate_detections(truths, answers(truths, 3), NAMES, samples=0)
    assert capsys.readouterr().out == ""
    assert evaluation.interval95 is None
    content = json.loads(evaluation.model_dump_json())
    promised = {"ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "images", "per_class"}
    assert promised <= set(content)
    assert Evaluation.model_validate(content) == evaluation
    assert {len(points) for points in evaluation.precision_recall.values()} == {101}


def test_an_image_without_objects_counts_its_false_alarms() -> None:
    truths = truths_of(3)
    empty = Truth(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), (400, 400))
    alarm = Detections(np.array([[1, 1, 60, 60]], np.float32), np.full(1, 2, np.float32), np.zeros(1, np.int64))
    quiet = evaluate_detections([*truths, empty], [*perfect(truths), NOTHING], NAMES, samples=0)
    loud = evaluate_detections([*truths, empty], [*perfect(truths), alarm], NAMES, samples=0)
    assert quiet.ap == 1
    assert loud.ap < 1
    assert loud.per_class["plate"] == 1


def test_what_cannot_be_evaluated_is_refused_with_its_values() -> None:
    truths = truths_of(3)
    empty = [Truth(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), (400, 400))] * 3
    with pytest.raises(EdgehoneError, match="at least one labelled object"):
        evaluate_detections(empty, perfect(truths), NAMES)
    with pytest.raises(EdgehoneError, match="got 3 images and 2"):
        evaluate_detections(truths, perfect(truths)[:2], NAMES)
    beyond = [Truth(t.boxes_xyxy, t.classes + 5, t.size) for t in truths]
    with pytest.raises(EdgehoneError, match=r"0 to 1.*the labels hold 5, 6"):
        evaluate_detections(beyond, perfect(truths), NAMES)
    with pytest.raises(EdgehoneError, match=r"the detections hold 5, 6"):
        evaluate_detections(truths, perfect(beyond), NAMES)


def test_intervals_hold_the_value_repeat_and_shrink_with_more_images() -> None:
    truths = truths_of(80)
    found = answers(truths, 7)
    few = evaluate_detections(truths[:20], found[:20], NAMES, samples=200, seed=3)
    many = evaluate_detections(truths, found, NAMES, samples=200, seed=3)
    assert few == evaluate_detections(truths[:20], found[:20], NAMES, samples=200, seed=3)
    assert few.interval95 != evaluate_detections(truths[:20], found[:20], NAMES, samples=200, seed=4).interval95
    assert few.interval95 is not None
    assert many.interval95 is not None
    for evaluation, intervals in ((few, few.interval95), (many, many.interval95)):
        assert intervals["ap"][0] < evaluation.ap < intervals["ap"][1]
        assert intervals["ap50"][0] < evaluation.ap50 < intervals["ap50"][1]
    width = [high - low for low, high in (few.interval95["ap"], many.interval95["ap"])]
    assert width[1] < 0.75 * width[0]


def test_paired_difference_is_sharper_than_two_intervals_and_changes_sign() -> None:
    truths = truths_of(60)
    better, worse = (match(truths, answers(truths, noise), 2) for noise in (4.0, 5.0))
    difference, (low, high) = paired_difference(better, worse, samples=200)
    assert difference == pytest.approx(mean_ap(better)[0] - mean_ap(worse)[0])
    assert 0 < low < difference < high
    back, (back_low, back_high) = paired_difference(worse, better, samples=200)
    assert (back, back_low, back_high) == pytest.approx((-difference, -high, -low))
    assert paired_difference(better, better, samples=50) == (0, (0, 0))


def test_paired_difference_refuses_different_splits() -> None:
    truths, others = truths_of(6), truths_of(7, seed=5)
    first, second = match(truths, perfect(truths), 2), match(others, perfect(others), 2)
    with pytest.raises(EdgehoneError, match="evaluate both on the same split"):
        paired_difference(first, second)
    same_count = match(others[:6], perfect(others[:6]), 2)
    with pytest.raises(EdgehoneError, match="same images and labels"):
        paired_difference(first, same_count)
