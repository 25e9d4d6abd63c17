"""Detections against truth under the COCO protocol, by pycocotools; and AP from the matches.

pycocotools decides what matches what. Its matches are kept per image, so that AP over any weighting of the
images (a bootstrap draw) needs no new matching.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO  # pyright: ignore[reportMissingTypeStubs]
from pycocotools.cocoeval import COCOeval  # pyright: ignore[reportMissingTypeStubs]

from edgehone.errors import EdgehoneError
from edgehone.types import Detections, Truth

RECALLS = np.linspace(0.0, 1.0, 101)
MAX_DETECTIONS = 100
SIZES = ("small", "medium", "large")
"""As pycocotools orders its areas, after that of all objects."""


@dataclass(frozen=True)
class ClassMatches:
    """Detections of one class over all images, best score first.

    Attributes:
        images: ``[k]`` index of the image of each detection.
        hits: ``[10, k]`` bool, per IoU threshold 0.50 to 0.95: true positive.
        alarms: ``[10, k]`` bool, likewise: false positive. A detection that COCO ignores is neither.
        truths: ``[images]`` number of objects of the class in each image.
        scores: ``[k]``, falling.
    """

    images: NDArray[np.int64]
    hits: NDArray[np.bool_]
    alarms: NDArray[np.bool_]
    truths: NDArray[np.int64]
    scores: NDArray[np.float64]


@dataclass(frozen=True)
class Matches:
    """Every class of a split.

    Attributes:
        classes: one a class; all objects, whatever their size.
        image_count: of the split.
        sizes: the same with the objects of one size alone, by :data:`SIZES`.
    """

    classes: tuple[ClassMatches, ...]
    image_count: int
    sizes: Mapping[str, tuple[ClassMatches, ...]] = field(default_factory=dict[str, tuple[ClassMatches, ...]])


def run_coco(truths: Sequence[Truth], detections: Sequence[Detections], classes: int) -> Any:
    """A pycocotools ``COCOeval`` that has matched and accumulated.

    A region to ignore is a crowd of every class: a detection that finds no object, and of whose area the IoU
    threshold's share or more lies in the region, is no error; the region itself is neither found nor missed.

    Raises:
        EdgehoneError: different numbers of truths and detections, a class number without a class, or no
            object at all.
    """
    if len(truths) != len(detections):
        raise EdgehoneError(f"each image needs its detections, got {len(truths)} images and {len(detections)}")
    if not any(len(truth.classes) for truth in truths):
        raise EdgehoneError("evaluation needs at least one labelled object, and this split has none")
    _check_classes("labels", [truth.classes for truth in truths], classes)
    _check_classes("detections", [detected.classes for detected in detections], classes)
    with contextlib.redirect_stdout(io.StringIO()):
        gt: Any = COCO()
        gt.dataset = _ground_truth(truths, classes)
        gt.createIndex()
        dt: Any = COCO()
        dt.dataset = {**gt.dataset, "annotations": _annotations(detections)}
        dt.createIndex()
        evaluator: Any = COCOeval(gt, dt, "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator


def _check_classes(what: str, labels: Sequence[NDArray[np.int64]], classes: int) -> None:
    """Refuse class numbers without a class: pycocotools drops them without a word, and the AP is wrong."""
    used = np.unique(np.concatenate(labels))
    unknown = used[(used < 0) | (used >= classes)]
    if len(unknown):
        raise EdgehoneError(
            f"class numbers must be 0 to {classes - 1}, as there are {classes} class names, but the {what} hold "
            f"{', '.join(str(int(k)) for k in unknown[:5])}; use a detector and a data set with the same classes"
        )


def _ground_truth(truths: Sequence[Truth], classes: int) -> dict[str, Any]:
    annotations: list[dict[str, Any]] = []
    for image, truth in enumerate(truths):
        for box, label in zip(truth.boxes_xyxy.astype(float), truth.classes, strict=True):
            annotations.append(_annotation(len(annotations) + 1, image, int(label), box))
        # A crowd of each class: pycocotools measures a detection's overlap with it by the detection's own area.
        for box in truth.ignored_xyxy.astype(float):
            for label in range(classes):
                annotations.append({**_annotation(len(annotations) + 1, image, label, box), "iscrowd": 1})
    return {
        "info": {},
        "images": [{"id": i, "height": t.size[0], "width": t.size[1]} for i, t in enumerate(truths)],
        "categories": [{"id": k} for k in range(classes)],
        "annotations": annotations,
    }


def _annotations(detections: Sequence[Detections]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for image, detected in enumerate(detections):
        rows = zip(detected.boxes_xyxy.astype(float), detected.scores, detected.classes, strict=True)
        for box, score, label in rows:
            found.append({**_annotation(len(found) + 1, image, int(label), box), "score": float(score)})
    return found


def _annotation(key: int, image: int, label: int, box: NDArray[np.float64]) -> dict[str, Any]:
    x, y, width, height = float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])
    return {
        "id": key,
        "image_id": image,
        "category_id": label,
        "bbox": [x, y, width, height],
        "area": width * height,
        "iscrowd": 0,
    }


def matches_of(evaluator: Any) -> Matches:
    """The matches (100 detections an image) that an evaluator holds."""
    params = evaluator.params
    images, areas = len(params.imgIds), len(params.areaRng)

    def of_area(area: int) -> tuple[ClassMatches, ...]:
        begins = [(k * areas + area) * images for k in range(len(params.catIds))]
        return tuple(_class_matches(evaluator.evalImgs[begin : begin + images], images) for begin in begins)

    return Matches(of_area(0), images, {name: of_area(1 + place) for place, name in enumerate(SIZES)})


def _class_matches(per_image: Sequence[dict[str, Any] | None], images: int) -> ClassMatches:
    none = np.zeros((10, 0), bool)
    scores, rows, hits, alarms = [np.zeros(0)], [np.zeros(0, np.int64)], [none], [none]
    truths = np.zeros(images, np.int64)
    for image, record in enumerate(per_image):
        if record is None:
            continue
        scores.append(np.asarray(record["dtScores"])[:MAX_DETECTIONS])
        rows.append(np.full(len(scores[-1]), image, np.int64))
        matched, ignored = (
            np.asarray(record[key])[:, :MAX_DETECTIONS].reshape(10, -1) > 0 for key in ("dtMatches", "dtIgnore")
        )
        hits.append(matched & ~ignored)
        alarms.append(~matched & ~ignored)
        truths[image] = np.count_nonzero(np.asarray(record["gtIgnore"]) == 0)
    every = np.concatenate(scores)
    order = np.argsort(-every, kind="mergesort")
    true, false = (np.concatenate(each, axis=1)[:, order] for each in (hits, alarms))
    return ClassMatches(np.concatenate(rows)[order], true, false, truths, every[order])


def average_precision(matches: ClassMatches, weights: NDArray[np.float64] | None = None) -> NDArray[np.float64] | None:
    """AP per IoU threshold ``[10]`` with each image counted ``weights`` times; None without objects."""
    precision = precision_at_recalls(matches, weights)
    return None if precision is None else precision.mean(axis=1)


def precision_at_recalls(
    matches: ClassMatches, weights: NDArray[np.float64] | None = None
) -> NDArray[np.float64] | None:
    """``[10, 101]`` interpolated precision at :data:`RECALLS`, as pycocotools accumulates it."""
    weights = np.ones(len(matches.truths)) if weights is None else weights
    total = float(matches.truths @ weights)
    if total == 0:
        return None
    each = weights[matches.images]
    true = np.cumsum(matches.hits * each, axis=1)
    false = np.cumsum(matches.alarms * each, axis=1)
    precision = true / np.maximum(true + false, np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    result = np.zeros((len(precision), len(RECALLS)))
    for row in range(len(precision)):
        places = np.searchsorted(true[row] / total, RECALLS, side="left")
        inside = places < precision.shape[1]
        result[row, inside] = precision[row, places[inside]]
    return result


def recall_at_end(matches: ClassMatches, weights: NDArray[np.float64] | None = None) -> NDArray[np.float64] | None:
    """``[10]`` share of the objects that all detections together find, per IoU threshold; None without objects."""
    weights = np.ones(len(matches.truths)) if weights is None else weights
    total = float(matches.truths @ weights)
    return None if total == 0 else matches.hits @ weights[matches.images] / total
