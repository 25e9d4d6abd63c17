"""AP, its breakdown and its weighting against pycocotools run on its own from a detections file."""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from edgehone.evaluation import Drawn, Evaluation, evaluate_detections, match, mean_ap
from edgehone.search.objective import RecallAtPrecision
from edgehone.types import Detections, Truth, no_boxes

NAMES = ("a", "b", "c", "absent")
Scene = tuple[list[Truth], list[Detections]]


def boxes_at(rng: np.random.Generator, count: int) -> np.ndarray:
    corner = rng.uniform(0, 500, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(6, 160, (count, 2))], 1)


def image(rng: np.random.Generator, ties: bool, extra: int) -> tuple[Truth, Detections]:
    """One image: objects of the first three classes, two blurred answers each, false alarms in any class."""
    count = int(rng.integers(0, 9))
    boxes, labels = boxes_at(rng, count), rng.integers(0, 3, count)
    owner = np.repeat(np.arange(count), 2)
    near = boxes[owner] + rng.normal(0, 5, (len(owner), 4))  # some are turned inside out, as COCO allows
    answers = np.concatenate([near, boxes_at(rng, extra)])
    classes = np.concatenate([labels[owner], rng.integers(0, len(NAMES), extra)])
    scores = rng.uniform(0, 1, len(answers))
    scores = np.round(scores, 1) if ties else scores
    detected = Detections(answers.astype(np.float32), scores.astype(np.float32), classes)
    return Truth(boxes.astype(np.float32), labels, (700, 800)), detected


def scene(seed: int, *, images: int = 12, ties: bool = False, extra: int = 8, regions: int = 0) -> Scene:
    rng = np.random.default_rng(seed)
    pairs = [image(rng, ties, extra) for _ in range(images)]
    truths = [replace(truth, ignored_xyxy=large_boxes(rng, regions)) for truth, _ in pairs]
    return truths, [detected for _, detected in pairs]


def large_boxes(rng: np.random.Generator, most: int) -> np.ndarray:
    """Up to ``most`` regions that hold some answers whole, cut some and leave some alone."""
    count = int(rng.integers(0, most + 1))
    corner = rng.uniform(0, 400, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(40, 350, (count, 2))], 1).astype(np.float32)


def xywh(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).astype(float)


def reference(truths: Sequence[Truth], detections: Sequence[Detections]) -> Any:
    """pycocotools as its own examples use it: ids from 1, detections through ``loadRes``."""
    annotations: list[dict[str, Any]] = []
    for i, truth in enumerate(truths, 1):
        for box, label in zip(xywh(truth.boxes_xyxy), truth.classes, strict=True):
            row = {"id": len(annotations) + 1, "image_id": i, "category_id": int(label) + 1, "bbox": box.tolist()}
            annotations.append({**row, "area": float(box[2] * box[3]), "iscrowd": 0})
        for box, k in itertools.product(xywh(truth.ignored_xyxy), range(1, len(NAMES) + 1)):
            row = {"id": len(annotations) + 1, "image_id": i, "category_id": k, "bbox": box.tolist()}
            annotations.append({**row, "area": float(box[2] * box[3]), "iscrowd": 1})
    answers = [
        {"image_id": i, "category_id": int(label) + 1, "bbox": box.tolist(), "score": float(score)}
        for i, d in enumerate(detections, 1)
        for box, label, score in zip(xywh(d.boxes_xyxy), d.classes, d.scores, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": i + 1} for i in range(len(truths))],
            "categories": [{"id": k + 1} for k in range(len(NAMES))],
            "annotations": annotations,
        }
        coco.createIndex()
        evaluator = COCOeval(coco, coco.loadRes(answers), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator


@pytest.mark.parametrize(
    "content",
    [
        scene(0),
        scene(1, ties=True),
        scene(2, images=5, extra=600),  # more than 100 answers of a class in an image: the last are not counted
        scene(3, images=1),
        scene(4, images=60, extra=30, ties=True),
        scene(5, images=30, extra=20, regions=3),
        scene(6, images=4, extra=500, regions=2, ties=True),
    ],
    ids=["plain", "ties", "crowded", "one image", "large", "regions to ignore", "crowded regions"],
)
def test_every_metric_is_that_of_pycocotools(content: Scene) -> None:
    truths, detections = content
    ours = evaluate_detections(truths, detections, NAMES, samples=0)
    evaluator = reference(truths, detections)
    stats = [None if value < 0 else value for value in evaluator.stats]
    values = [ours.ap, ours.ap50, ours.ap75, ours.ap_small, ours.ap_medium, ours.ap_large]
    assert values == pytest.approx(stats[:6], abs=1e-9)
    assert ours.ar100 == pytest.approx(stats[8], abs=1e-9)
    matches = match(truths, detections, len(NAMES))
    assert mean_ap(matches) == pytest.approx((stats[0], stats[1]), abs=1e-9)
    assert metrics(Drawn(matches, NAMES)) == pytest.approx(metrics(ours), abs=1e-9)
    precision = evaluator.eval["precision"][:, :, :, 0, 2]  # thresholds, recalls, classes; all areas, 100 answers
    for k, name in enumerate(NAMES):
        each = precision[:, :, k]
        if (each < 0).all():
            assert ours.per_class[name] is None
            assert ours.per_class_ap50[name] is None
            assert name not in ours.precision_recall
            continue
        assert ours.per_class[name] == pytest.approx(each.mean(), abs=1e-9)
        assert ours.per_class_ap50[name] == pytest.approx(each[0].mean(), abs=1e-9)
        assert ours.precision_recall[name] == pytest.approx(each[0].tolist(), abs=5.1e-5)


def test_the_scenes_hold_the_awkward_cases() -> None:
    """Else the parity above would prove less than it says."""
    truths, detections = scene(4, images=60, extra=30, ties=True)
    assert any(len(truth.classes) == 0 for truth in truths)
    assert not any((truth.classes == NAMES.index("absent")).any() for truth in truths)
    sides = np.concatenate([xywh(d.boxes_xyxy)[:, 2:] for d in detections])
    assert (sides.prod(1) < 0).any()
    assert len(np.unique(detections[0].scores)) < len(detections[0])
    truths, detections = scene(5, images=30, extra=20, regions=3)
    bare = [replace(truth, ignored_xyxy=no_boxes()) for truth in truths]
    assert match(truths, detections, 4).classes[3].alarms.sum() < match(bare, detections, 4).classes[3].alarms.sum()
    alarms = match(truths, detections, len(NAMES)).classes[0].alarms
    assert (alarms.any(axis=0) & ~alarms.all(axis=0)).any(), "an answer partly inside counts at high overlaps only"


OVERALL = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar100")


def metrics(found: Evaluation | Drawn) -> dict[str, float | None]:
    """All that an objective can ask for."""
    overall = {name: getattr(found, name) for name in OVERALL}
    classes = {f"ap[{name}]": value for name, value in found.per_class.items()}
    classes50 = {f"ap50[{name}]": value for name, value in found.per_class_ap50.items()}
    recalls = {f"recall at {p}": RecallAtPrecision(p).value(found) for p in (0.3, 0.6, 0.9)}
    return {**overall, **classes, **classes50, **recalls}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("regions", [0, 2])
def test_weighting_an_image_is_repeating_it(seed: int, regions: int) -> None:
    truths, detections = scene(seed + 10, images=15, regions=regions)
    draw = np.random.default_rng(seed).integers(15, size=15)
    weights = np.bincount(draw, minlength=15).astype(float)
    repeated = reference([truths[i] for i in draw], [detections[i] for i in draw])
    matches = match(truths, detections, len(NAMES))
    assert mean_ap(matches, weights) == pytest.approx((repeated.stats[0], repeated.stats[1]), abs=1e-9)
    drawn = metrics(Drawn(matches, NAMES, weights))
    stats = [None if value < 0 else value for value in repeated.stats]
    assert [drawn[name] for name in OVERALL] == pytest.approx([*stats[:6], stats[8]], abs=1e-9)
    again = [truths[i] for i in draw], [detections[i] for i in draw]
    assert drawn == pytest.approx(metrics(evaluate_detections(*again, NAMES, samples=0)), abs=1e-9)


def test_a_box_turned_inside_out_is_no_false_alarm() -> None:
    """COCO ignores what has no area; counting it would tell AP and its interval apart."""
    truths, detections = scene(20)
    wrong = np.array([[50, 50, 40, 90]], np.float32)
    spoilt = [
        Detections(
            np.concatenate([wrong, d.boxes_xyxy]), np.insert(d.scores, 0, np.float32(2)), np.insert(d.classes, 0, 0)
        )
        for d in detections
    ]
    clean = evaluate_detections(truths, detections, NAMES, samples=0)
    assert evaluate_detections(truths, spoilt, NAMES, samples=0).per_class == pytest.approx(clean.per_class)
