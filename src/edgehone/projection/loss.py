"""From an assignment to the loss: objectness, class and box terms, how they are summed and weighed.

A term is a sum of contributions, one for each positive or slot, so that the analysis can say who receives it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from edgehone.boxes import iou
from edgehone.projection.box_loss import BoxLoss
from edgehone.projection.classification import Classification
from edgehone.projection.objectness import Objectness
from edgehone.types import Assignment, Lattice, Predictions, Targets

COCO_CLASSES = 80
"""The authors quote the class weight for COCO and scale it by classes / 80 (PyTorch_YOLOv4 train.py)."""

Normalisation = Literal["image", "mean", "batch"]
Vote = Literal["positive", "object"]


@dataclass(frozen=True)
class LossTerms:
    """The loss of a batch.

    Attributes:
        total: scalar with gradient.
        box: weighed term, detached; likewise ``objectness`` and ``classification``.
        positives: number of positives.
        distillation: what a teacher adds, detached; None where nothing is distilled.
        unlabelled: objects without a label that were not punished.
        auxiliary: what heads for training only add, weighed, detached; None without any.
        features: what features add that should be a teacher's, likewise.
    """

    total: Tensor
    box: Tensor
    objectness: Tensor
    classification: Tensor
    positives: int
    distillation: Tensor | None = None
    unlabelled: int = 0
    auxiliary: Tensor | None = None
    features: Tensor | None = None

    def with_features(self, term: Tensor | None) -> LossTerms:
        """With the term of features that should be alike (a scalar with gradient), if there is one."""
        return self if term is None else dataclasses.replace(self, total=self.total + term, features=term.detach())

    def with_auxiliary(self, term: Tensor) -> LossTerms:
        """With the loss of heads for training only (a scalar with gradient) added."""
        return dataclasses.replace(self, total=self.total + term, auxiliary=term.detach())

    def with_knowledge(self, term: Tensor | None, unlabelled: int) -> LossTerms:
        """With one more term (a scalar with gradient), if there is one, and what had no label."""
        if term is None:
            return dataclasses.replace(self, unlabelled=unlabelled)
        total = self.total + term
        return dataclasses.replace(self, total=total, distillation=term.detach(), unlabelled=unlabelled)

    def values(self) -> dict[str, float]:
        """The terms as numbers, by name."""
        return {
            "total": float(self.total.detach()),
            "box": float(self.box),
            "objectness": float(self.objectness),
            "classification": float(self.classification),
            **({} if self.distillation is None else {"distillation": float(self.distillation)}),
            **({} if self.features is None else {"features": float(self.features)}),
            **({} if self.auxiliary is None else {"auxiliary": float(self.auxiliary)}),
        }


@dataclass(frozen=True)
class Contributions:
    """What each positive and each slot adds to the loss: weighed, normalised, with gradient.

    Attributes:
        box: ``[p]``; likewise ``classification``.
        objectness: ``[b, n]``.
    """

    box: Tensor
    objectness: Tensor
    classification: Tensor

    def terms(self) -> LossTerms:
        """The sums."""
        box, objectness, classes = self.box.sum(), self.objectness.sum(), self.classification.sum()
        total = box + objectness + classes
        return LossTerms(total, box.detach(), objectness.detach(), classes.detach(), len(self.box))


@dataclass(frozen=True)
class LossParts:
    """The settings that the loss is made of, and the objects of each class in training where they are known."""

    box_loss: BoxLoss
    objectness: Objectness
    classification: Classification
    normalisation: Normalisation
    vote: Vote
    class_counts: Tensor | None = None


def detection_loss(
    parts: LossParts, predictions: Predictions, targets: Targets, assignment: Assignment, lattice: Lattice
) -> LossTerms:
    """The three weighed terms of a batch: the sums of :func:`contributions`."""
    return contributions(parts, predictions, targets, assignment, lattice).terms()


def contributions(
    parts: LossParts, predictions: Predictions, targets: Targets, assignment: Assignment, lattice: Lattice
) -> Contributions:
    """Who adds how much to the loss.

    ``normalisation="image"`` sums a term over all its slots and divides by the number of images (Darknet).
    ``"mean"`` averages a term over its slots (box and class terms: weighed by quality; classes summed and over
    80) and multiplies by the number of images (YOLOv5 and the authors' PyTorch code). ``"batch"`` sums and
    divides by the number of positives in the batch, objectness too (RetinaNet, YOLOX).
    """
    predicted = predictions.boxes_xyxy[assignment.images, assignment.slots]
    truth = targets.boxes_xyxy[assignment.truths]
    overlap = iou(predicted.detach(), truth)
    votes = _votes(parts, assignment)
    classes = _class_losses(parts, predictions, targets, assignment, overlap)
    images = targets.batch_size
    return Contributions(
        parts.box_loss.weight * _shared(parts.box_loss.loss(predicted, truth), parts, votes, images),
        parts.objectness.weight * _objectness(parts, predictions, assignment, lattice, (overlap, votes)),
        parts.classification.weight * _shared(classes, parts, votes, images),
    )


def _votes(parts: LossParts, assignment: Assignment) -> Tensor:
    """``[p]``: how loudly each positive speaks in the box and class terms."""
    if parts.vote == "positive":
        return assignment.quality
    quality = assignment.quality + 1e-6
    objects = int(assignment.truths.max()) + 1 if assignment.positives else 0
    total = torch.zeros(objects, device=quality.device).index_add_(0, assignment.truths, quality)
    return quality / total[assignment.truths]


def divisor(parts: LossParts, images: int, positives: int) -> int:
    """What sums are divided by."""
    return max(images if parts.normalisation == "image" else positives, 1)


def _shared(losses: Tensor, parts: LossParts, votes: Tensor, images: int) -> Tensor:
    """``[p]`` losses of positives to what they add to their term."""
    if parts.normalisation == "mean":
        return losses * votes / votes.sum().clamp(min=1e-3) * images
    # A sum counts every positive once; votes redistribute it between objects.
    heard = losses * votes / votes.mean() if parts.vote == "object" and len(votes) else losses
    return heard / divisor(parts, images, len(losses))


def _objectness(
    parts: LossParts,
    predictions: Predictions,
    assignment: Assignment,
    lattice: Lattice,
    positives: tuple[Tensor, Tensor],
) -> Tensor:
    """``[b, n]``: what slots add, before the term's weight."""
    settings = parts.objectness
    overlap, votes = positives
    logits = predictions.objectness_logits
    flat = assignment.images * lattice.slots + assignment.slots
    target = torch.zeros_like(logits)
    wanted = settings.wanted(overlap, assignment.quality).to(target.dtype)
    target.view(-1).scatter_reduce_(0, flat, wanted, "amax")
    losses = settings.loss.each(logits, target).masked_fill(assignment.ignored, 0.0)
    if parts.vote == "object" and assignment.positives:
        losses = losses * _loudness(votes, flat, losses)
    return per_slot(parts, losses, lattice, assignment.positives)


def per_slot(parts: LossParts, losses: Tensor, lattice: Lattice, positives: int) -> Tensor:
    """``[b, n]`` losses of slots to what they add to their term, before its weight."""
    losses = losses * parts.objectness.level_weights(lattice)
    if parts.normalisation == "mean":
        return losses / torch.bincount(lattice.levels)[lattice.levels]
    return losses / divisor(parts, len(losses), positives)


def _loudness(votes: Tensor, flat: Tensor, losses: Tensor) -> Tensor:
    """Weights ``[b, n]`` of the slots: 1 for background, the object's vote for positives, 1 on average."""
    loud = torch.ones_like(losses)
    loud.view(-1).scatter_reduce_(0, flat, votes / votes.mean(), "amax", include_self=False)
    return loud


def _class_losses(
    parts: LossParts, predictions: Predictions, targets: Targets, assignment: Assignment, overlap: Tensor
) -> Tensor:
    """``[p]``: what positives lose by their class, balanced between the classes where that is asked for."""
    settings = parts.classification
    classes = targets.classes[assignment.truths]
    losses = settings.each(predictions.class_logits[assignment.images, assignment.slots], classes, overlap)
    if settings.balance > 0:
        if parts.class_counts is None:
            raise ValueError(f"a class balance needs the objects of each class in training, got {settings.balance=}")
        losses = losses * settings.class_weights(parts.class_counts).to(losses.device)[classes]
    return losses / COCO_CLASSES if parts.normalisation == "mean" else losses
