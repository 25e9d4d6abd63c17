"""The knowledge projection space, measured: how much of the truth survives a projection.

The ceiling is the AP of a network that predicts its targets perfectly: truth is assigned and encoded as for
training, decoded and suppressed as for inference. It finds projections that lose objects; it does not rank
the good ones (they all come close to 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edgehone.augment import Frame, fit_matrix, unfit_boxes
from edgehone.boxes import iou
from edgehone.data import Sample
from edgehone.evaluation import evaluate_detections
from edgehone.inference import PostProcess, select
from edgehone.models import architecture
from edgehone.projection.anchors import shape_iou
from edgehone.space import Settings, diff
from edgehone.strategy import Strategy
from edgehone.training import truth_sides_px
from edgehone.types import Assignment, Detections, Json, Lattice, Predictions, Targets, Truth

SAMPLE_IMAGES = 120
"""Images that a ceiling is measured on, evenly spaced through the training split."""


class ProjectionFacts(Settings):
    """What one candidate projection does to the training labels.

    Attributes:
        label: for people.
        input_size: side of the network input in pixels.
        strategy_diff: path to value, where the candidate differs from the reference strategy.
        ceiling_ap: AP of a perfect network.
        ceiling_ap50: likewise at IoU 0.5.
        unclaimed_fraction: share of objects without any positive slot.
        unclaimed_by_class: likewise per class name.
        positives_per_object: mean number of slots that learn an object.
        anchor_fit: mean shape IoU of an object with its best anchor.
        unowned_fraction: share of objects whose best anchor belongs to no head.
        objects: number of objects measured.
    """

    label: str
    input_size: int
    strategy_diff: dict[str, Json]
    ceiling_ap: float
    ceiling_ap50: float
    unclaimed_fraction: float
    unclaimed_by_class: dict[str, float]
    positives_per_object: float
    anchor_fit: float
    unowned_fraction: float
    objects: int


@dataclass(frozen=True)
class Candidate:
    """A projection to measure."""

    label: str
    strategy: Strategy


def projection_facts(
    candidate: Candidate, reference: Strategy, model: str, class_names: Sequence[str], train: Sequence[Sample]
) -> ProjectionFacts:
    """Measure one candidate on (a sample of) the training labels; no network runs."""
    strategy = candidate.strategy
    samples = evenly(train, SAMPLE_IMAGES)
    sides = truth_sides_px(train, strategy)
    anchors = strategy.projection.anchors.anchors_px(sides, strategy.input.shape)
    strides = architecture(model).graph(len(class_names)).strides
    lattice = strategy.projection.lattice(anchors, strides, strategy.input.shape)
    targets = input_targets(samples, Frame(strategy.input.shape, strategy.input.fit))
    blank = untrained_predictions(strategy, lattice, len(samples), len(class_names))
    assignment = strategy.projection.assigner.assign(targets, lattice, blank)
    counts = torch.bincount(assignment.truths, minlength=len(targets.classes)).numpy()
    detections = perfect_detections(strategy, lattice, targets, assignment, samples)
    truths = [Truth(s.boxes_xyxy, s.classes, s.size) for s in samples]
    evaluation = evaluate_detections(truths, detections, class_names, samples=0)
    best = shape_iou(np.maximum(sides, 1e-3), anchors).argmax(1)
    owned = np.isin(best, np.unique(lattice.anchor_ids.numpy()))
    classes = targets.classes.numpy()
    return ProjectionFacts(
        label=candidate.label,
        input_size=strategy.input.size,
        strategy_diff={path: new for path, (_, new) in diff(reference, strategy).items()},
        ceiling_ap=round(evaluation.ap, 4),
        ceiling_ap50=round(evaluation.ap50, 4),
        unclaimed_fraction=_share(counts == 0),
        unclaimed_by_class={n: _share(counts[classes == k] == 0) for k, n in enumerate(class_names)},
        positives_per_object=round(float(counts.mean()) if len(counts) else 0.0, 3),
        anchor_fit=round(float(shape_iou(np.maximum(sides, 1e-3), anchors).max(1).mean()), 4) if len(sides) else 0.0,
        unowned_fraction=_share(~owned),
        objects=len(counts),
    )


def evenly(samples: Sequence[Sample], limit: int) -> list[Sample]:
    """At most ``limit`` samples, evenly spaced."""
    if len(samples) <= limit:
        return list(samples)
    return [samples[int(i)] for i in np.linspace(0, len(samples) - 1, limit).round()]


def input_targets(samples: Sequence[Sample], frame: Frame) -> Targets:
    """The labels of pictures as one batch, in pixels of the network input, without augmentation."""
    boxes, classes, images = [np.zeros((0, 4), np.float32)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for image, sample in enumerate(samples):
        matrix = fit_matrix(sample.size, frame.input_size, frame.fit)
        scale, shift = matrix[[0, 1, 0, 1], [0, 1, 0, 1]], matrix[[0, 1, 0, 1], 2]
        boxes.append((sample.boxes_xyxy * scale + shift).astype(np.float32))
        classes.append(sample.classes)
        images.append(np.full(len(sample.classes), image))
    return Targets(
        torch.from_numpy(np.concatenate(boxes)),
        torch.from_numpy(np.concatenate(classes)),
        torch.from_numpy(np.concatenate(images)),
        len(samples),
    )


def untrained_predictions(strategy: Strategy, lattice: Lattice, images: int, classes: int) -> Predictions:
    """What a network of zero logits says: every box its anchor. Shared by all images (no memory copied)."""
    logits = torch.zeros(lattice.slots, 4)
    boxes = strategy.projection.coding.decode(logits, lattice.cells_xy, lattice.strides, lattice.anchors_px)
    return Predictions(
        boxes.expand(images, -1, -1),
        torch.zeros(1, 1).expand(images, lattice.slots),
        torch.zeros(1, 1, 1).expand(images, lattice.slots, classes),
    )


def perfect_detections(
    strategy: Strategy, lattice: Lattice, targets: Targets, assignment: Assignment, samples: Sequence[Sample]
) -> list[Detections]:
    """The detections of a network whose positives say exactly what they were taught."""
    order = _rarest_last(assignment, len(targets.classes))
    images, slots, truths = assignment.images[order], assignment.slots[order], assignment.truths[order]
    where = (lattice.cells_xy[slots], lattice.strides[slots], lattice.anchors_px[slots])
    coding = strategy.projection.coding
    wanted = targets.boxes_xyxy[truths]
    boxes = coding.decode(coding.encode(wanted, *where), *where)
    # A slot with two objects says one of them: the later in this order. Better boxes score a little higher.
    said: dict[tuple[int, int], int] = {
        (int(i), int(s)): row for row, (i, s) in enumerate(zip(images, slots, strict=True))
    }
    rows_by_image: list[list[int]] = [[] for _ in samples]
    for (image, _), row in said.items():
        rows_by_image[image].append(row)
    quality = iou(boxes, wanted)
    post = PostProcess(candidates=5000)
    results: list[Detections] = []
    classes = int(targets.classes.max()) + 1 if len(targets.classes) else 1
    for image, sample in enumerate(samples):
        rows = torch.tensor(rows_by_image[image], dtype=torch.int64)
        scores = torch.zeros(len(rows), classes)
        scores[torch.arange(len(rows)), targets.classes[truths[rows]]] = 0.5 + 0.5 * quality[rows]
        found = select(boxes[rows], scores, post)
        original = unfit_boxes(found.boxes_xyxy, sample.size, lattice.input_size, strategy.input.fit)
        results.append(Detections(original, found.scores, found.classes))
    return results


def _rarest_last(assignment: Assignment, objects: int) -> Tensor:
    """Order of positives in which objects with the fewest slots come last."""
    counts = torch.bincount(assignment.truths, minlength=objects)
    return counts[assignment.truths].argsort(descending=True, stable=True)


def _share(flags: np.ndarray) -> float:
    return round(float(np.mean(flags)), 4) if len(flags) else 0.0
