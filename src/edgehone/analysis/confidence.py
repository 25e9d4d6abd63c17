"""What a detector's scores are worth on given labels: when it is sure, what it usually finds, how tightly.

Labels may be wrong or missing here; each measure is made so that a few of them do not decide it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgehone.data import Sample
from edgehone.types import Detections

MEET_IOU = 0.5
"""From this overlap on a detection and a label of its class speak of the same object."""

PRECISION = 0.9
RELIABLE = 0.5
FEW = 10
"""Labels that a class needs among pictures that were not learned from, to be measured on these alone."""

PEERS = 50
"""Labels of one class, nearest in size, that a label is compared with."""

Boxes = NDArray[np.float32]


def areas(boxes_xyxy: Boxes) -> NDArray[np.float32]:
    """``[n, 4]`` to ``[n]``; zero for boxes turned inside out."""
    return (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).clip(min=0).prod(axis=1)


def intersections(a_xyxy: Boxes, b_xyxy: Boxes) -> NDArray[np.float32]:
    """Areas of overlap, ``[n, 4]`` and ``[m, 4]`` to ``[n, m]``."""
    low = np.maximum(a_xyxy[:, None, :2], b_xyxy[None, :, :2])
    high = np.minimum(a_xyxy[:, None, 2:], b_xyxy[None, :, 2:])
    return (high - low).clip(min=0).prod(axis=2)


def overlaps(a_xyxy: Boxes, b_xyxy: Boxes) -> NDArray[np.float32]:
    """IoU, ``[n, 4]`` and ``[m, 4]`` to ``[n, m]``."""
    inner = intersections(a_xyxy, b_xyxy)
    union = areas(a_xyxy)[:, None] + areas(b_xyxy)[None] - inner
    return (inner / np.maximum(union, np.float32(1e-9))).astype(np.float32)


@dataclass(frozen=True)
class Answers:
    """What one detector says of one picture, beside its labels; what lies in regions to ignore is left out.

    Attributes:
        boxes_xyxy: ``[p, 4]`` pixels of the picture, best score first; likewise ``scores`` and ``classes``.
        iou: ``[p, n]`` overlap with each label.
        same: ``[p, n]`` bool, of the label's class.
        met: ``[p]`` label of its own class that each meets, every label at most once; -1 where none is left.
        labels: ``[n]`` class of each label.
    """

    boxes_xyxy: Boxes
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]
    iou: NDArray[np.float32]
    same: NDArray[np.bool_]
    met: NDArray[np.int64]
    labels: NDArray[np.int64]


def answers(sample: Sample, detections: Detections) -> Answers:
    """A detector's answers to one picture, matched with its labels."""
    boxes = detections.boxes_xyxy
    inside = intersections(boxes, sample.ignored_xyxy) / np.maximum(areas(boxes)[:, None], np.float32(1e-9))
    kept = np.flatnonzero(~(inside >= MEET_IOU).any(axis=1) & (areas(boxes) > 0))
    order = kept[np.argsort(-detections.scores[kept], kind="stable")]
    boxes, classes = boxes[order], detections.classes[order]
    iou = overlaps(boxes, sample.boxes_xyxy)
    same = classes[:, None] == sample.classes[None]
    met = _greedy(np.where(same, iou, np.float32(0)))
    return Answers(boxes, detections.scores[order], classes, iou, same, met, sample.classes)


def _greedy(iou: NDArray[np.float32]) -> NDArray[np.int64]:
    """The best label that is left for each answer in turn, as COCO matches."""
    left = iou.copy()
    met = np.full(len(iou), -1, np.int64)
    for row in np.flatnonzero((iou >= MEET_IOU).any(axis=1)):
        best = int(left[row].argmax())
        if left[row, best] >= MEET_IOU:
            met[row] = best
            left[:, best] = 0
    return met


@dataclass(frozen=True)
class Standard:
    """What the scores of one detector are worth.

    Attributes:
        confident_at: ``[classes]`` least score that counts as confident; infinite where none does.
        precision: ``[classes]`` share of the confident answers that meet a label.
        found_scores: per class the scores of the answers that meet a label, ascending; from the score on at which
            F1 is best, so that chance hits at low scores make nobody look sure.
    """

    confident_at: NDArray[np.float64]
    precision: NDArray[np.float64]
    found_scores: tuple[NDArray[np.float32], ...]

    def sureness(self, score: float, label: int) -> float:
        """Share of the labels that are found which are found with a lower score, times :attr:`precision`.

        The share is that of one more label, so that few labels make nobody very sure.
        """
        found = self.found_scores[label]
        return float(self.precision[label] * np.searchsorted(found, score) / (len(found) + 1))


def standard(pictures: Sequence[Answers], learned: Sequence[bool], classes: int) -> Standard:
    """Measured on pictures that were not learned from, but for classes that have fewer than :data:`FEW` there."""
    unseen = [picture for picture, known in zip(pictures, learned, strict=True) if not known]
    measured: list[tuple[float, float, NDArray[np.float32]]] = []
    for label in range(classes):
        enough = sum(int((p.labels == label).sum()) for p in unseen) >= FEW
        measured.append(_measure(unseen if enough else pictures, label))
    levels, precisions, found = zip(*measured, strict=True)
    return Standard(np.array(levels), np.array(precisions), found)


def _measure(pictures: Sequence[Answers], label: int) -> tuple[float, float, NDArray[np.float32]]:
    """The least confident score of a class, the precision from there on, and the scores of what is found.

    Confident is the score from which on :data:`PRECISION` of the answers meet a label; but no less than where F1
    is best, and no more than the median of what is found from there on: labels that are missing lower the
    precision, and would hide themselves if it had to be reached. A detector whose answers then meet a label in
    less than :data:`RELIABLE` of the cases is not asked about the class.
    """
    scores = np.concatenate([np.zeros(0, np.float32), *(p.scores[p.classes == label] for p in pictures)])
    hits = np.concatenate([np.zeros(0, bool), *(p.met[p.classes == label] >= 0 for p in pictures)])
    if not hits.any():
        return float("inf"), 0.0, np.zeros(0, np.float32)
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], hits[order]
    true, count = np.cumsum(hits), np.arange(1, len(hits) + 1)
    labels = sum(int((p.labels == label).sum()) for p in pictures)
    working = int((true / (count + labels)).argmax())
    found = scores[: working + 1][hits[: working + 1]][::-1]
    precise = np.flatnonzero(true / count >= PRECISION)
    wanted = float(scores[precise[-1]]) if len(precise) else float("inf")
    level = min(max(wanted, float(scores[working])), float(np.median(found)))
    precision = float(hits[scores >= level].mean())
    return (level if precision >= RELIABLE else float("inf")), precision, found


@dataclass(frozen=True)
class Peers:
    """How labels fare with the detectors, by class and size.

    Attributes:
        sizes: per class ``[k]`` logarithm of each label's area.
        iou: per class ``[models, k]`` best overlap of an answer of its class, whatever its score.
        sure: per class ``[models, k]`` bool, whether a confident answer meets it.
    """

    sizes: tuple[NDArray[np.float64], ...]
    iou: tuple[NDArray[np.float32], ...]
    sure: tuple[NDArray[np.bool_], ...]

    def nearest(self, label: int, area: float) -> NDArray[np.int64]:
        """The labels of a class that are nearest in size, :data:`PEERS` at most."""
        distance = np.abs(self.sizes[label] - np.log(area))
        return np.argsort(distance, kind="stable")[:PEERS]


def peers(
    samples: Sequence[Sample], by_model: Sequence[Sequence[Answers]], standards: Sequence[Standard], classes: int
) -> Peers:
    """From all labels of ``samples``."""
    labels = np.concatenate([np.zeros(0, np.int64), *(s.classes for s in samples)])
    sizes = np.log(
        np.concatenate([np.zeros(0), *(areas(s.boxes_xyxy) for s in samples)]).astype(np.float64).clip(min=1e-9)
    )
    none = np.zeros(0, np.float32)
    met = np.stack([np.concatenate([none, *(_best_iou(picture) for picture in model)]) for model in by_model])
    sure = np.stack(
        [
            np.concatenate([none, *(_best_iou(picture, rule.confident_at) for picture in model)]) >= MEET_IOU
            for model, rule in zip(by_model, standards, strict=True)
        ]
    )
    each = [labels == k for k in range(classes)]
    return Peers(tuple(sizes[k] for k in each), tuple(met[:, k] for k in each), tuple(sure[:, k] for k in each))


def _best_iou(picture: Answers, least: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
    """``[n]``: best overlap of each label with an answer of its class, of at least this score."""
    loud = np.ones(len(picture.scores), bool) if least is None else picture.scores >= least[picture.classes]
    return np.where(picture.same & loud[:, None], picture.iou, np.float32(0)).max(axis=0, initial=0)
