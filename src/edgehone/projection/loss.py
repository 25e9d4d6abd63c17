"""From an assignment to the loss: objectness, class and box terms, how they are summed and weighed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from edgehone.boxes import iou
from edgehone.projection.box_loss import BoxLoss
from edgehone.space import Choice, Settings, Span
from edgehone.types import Assignment, Lattice, Predictions, Targets


class Objectness(Settings):
    """What a slot should say about holding an object.

    ``target`` of a positive: 1, its present IoU with its object, or the quality that the assigner gave it.
    ``weight`` is the term's share; ``fine_weight`` multiplies it on the head of the finest stride (the
    authors' ``balance``); ``prior`` starts the head at the share of slots that hold an object (0 = off).
    """

    target: Annotated[Literal["one", "iou", "quality"], Choice("one", "iou", "quality")] = "iou"
    weight: Annotated[float, Span(0.2, 4.0, log=True)] = 1.0
    fine_weight: Annotated[float, Span(0.5, 4.0, log=True)] = 4.0
    prior: Annotated[float, Choice(0.0, 0.01)] = 0.01


COCO_CLASSES = 80
"""The authors quote the class weight for COCO and scale it by classes / 80 (PyTorch_YOLOv4 train.py)."""


class Classification(Settings):
    """Binary cross-entropy per class on positives. ``weight`` is the term's share, for 80 classes."""

    weight: Annotated[float, Span(0.1, 10.0, log=True)] = 0.5
    label_smoothing: Annotated[float, Span(0.0, 0.1)] = 0.0


@dataclass(frozen=True)
class LossTerms:
    """The loss of a batch.

    Attributes:
        total: scalar with gradient.
        box: weighed term, detached; likewise ``objectness`` and ``classification``.
        positives: number of positives.
    """

    total: Tensor
    box: Tensor
    objectness: Tensor
    classification: Tensor
    positives: int

    def values(self) -> dict[str, float]:
        """The terms as numbers, by name."""
        return {
            "total": float(self.total.detach()),
            "box": float(self.box),
            "objectness": float(self.objectness),
            "classification": float(self.classification),
        }


@dataclass(frozen=True)
class LossParts:
    """The settings that the loss is made of."""

    box_loss: BoxLoss
    objectness: Objectness
    classification: Classification
    normalisation: Literal["image", "mean"]
    vote: Literal["positive", "object"]


def detection_loss(
    parts: LossParts, predictions: Predictions, targets: Targets, assignment: Assignment, lattice: Lattice
) -> LossTerms:
    """The three weighed terms of a batch.

    ``normalisation="image"`` sums a term over all its slots and divides by the number of images (Darknet).
    ``"mean"`` averages a term over its slots (box and class terms: weighed by quality; classes summed and over
    80) and multiplies by the number of images (YOLOv5 and the authors' PyTorch code).
    """
    votes = _votes(parts, assignment)
    box, overlap = _box_term(parts, predictions, targets, assignment, votes)
    objectness = _objectness_term(parts, predictions, assignment, lattice, (overlap, votes))
    classes = _class_term(parts, predictions, targets, assignment, votes)
    scale = targets.batch_size if parts.normalisation == "mean" else 1 / max(targets.batch_size, 1)
    terms = (
        parts.box_loss.weight * box * scale,
        parts.objectness.weight * objectness * scale,
        parts.classification.weight * classes * scale,
    )
    total = terms[0] + terms[1] + terms[2]
    return LossTerms(total, terms[0].detach(), terms[1].detach(), terms[2].detach(), assignment.positives)


def _votes(parts: LossParts, assignment: Assignment) -> Tensor:
    """``[p]``: how loudly each positive speaks in the box and class terms."""
    if parts.vote == "positive":
        return assignment.quality
    quality = assignment.quality + 1e-6
    objects = int(assignment.truths.max()) + 1 if assignment.positives else 0
    total = torch.zeros(objects, device=quality.device).index_add_(0, assignment.truths, quality)
    return quality / total[assignment.truths]


def _box_term(
    parts: LossParts, predictions: Predictions, targets: Targets, assignment: Assignment, votes: Tensor
) -> tuple[Tensor, Tensor]:
    """The box term and the IoU of each positive with its object (``[p]``, no gradient)."""
    predicted = predictions.boxes_xyxy[assignment.images, assignment.slots]
    truth = targets.boxes_xyxy[assignment.truths]
    losses = parts.box_loss.loss(predicted, truth)
    return _joined(losses, parts, votes), iou(predicted.detach(), truth)


def _objectness_term(
    parts: LossParts,
    predictions: Predictions,
    assignment: Assignment,
    lattice: Lattice,
    positives: tuple[Tensor, Tensor],
) -> Tensor:
    settings = parts.objectness
    overlap, votes = positives
    wanted = {"one": torch.ones_like(overlap), "iou": overlap, "quality": assignment.quality}[settings.target]
    logits = predictions.objectness_logits
    flat = assignment.images * lattice.slots + assignment.slots
    target = torch.zeros_like(logits)
    target.view(-1).scatter_reduce_(0, flat, wanted.to(target.dtype), "amax")
    losses = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    losses = losses.masked_fill(assignment.ignored, 0.0)
    if parts.vote == "object" and assignment.positives:
        losses = losses * _loudness(votes, flat, losses)
    weights = lattice.strides.new_ones(lattice.slots)
    weights[lattice.strides == lattice.strides.min()] = settings.fine_weight
    if parts.normalisation == "image":
        return (losses * weights).sum()
    levels = torch.bincount(lattice.levels)
    return (losses * weights / levels[lattice.levels]).sum() / logits.shape[0]


def _loudness(votes: Tensor, flat: Tensor, losses: Tensor) -> Tensor:
    """Weights ``[b, n]`` of the slots: 1 for background, the object's vote for positives, 1 on average."""
    loud = torch.ones_like(losses)
    loud.view(-1).scatter_reduce_(0, flat, votes / votes.mean(), "amax", include_self=False)
    return loud


def _class_term(
    parts: LossParts, predictions: Predictions, targets: Targets, assignment: Assignment, votes: Tensor
) -> Tensor:
    logits = predictions.class_logits[assignment.images, assignment.slots]
    smoothing = parts.classification.label_smoothing
    truth = F.one_hot(targets.classes[assignment.truths], logits.shape[-1]).to(logits.dtype)
    truth = truth * (1 - smoothing) + smoothing / 2
    losses = F.binary_cross_entropy_with_logits(logits, truth, reduction="none").sum(-1)
    return _joined(losses if parts.normalisation == "image" else losses / COCO_CLASSES, parts, votes)


def _joined(losses: Tensor, parts: LossParts, votes: Tensor) -> Tensor:
    """``[p]`` to a scalar; zero, with gradient, where there is nothing."""
    if parts.normalisation == "image":
        # A sum counts every positive once; votes redistribute it between objects.
        return (losses * votes / votes.mean()).sum() if parts.vote == "object" and len(votes) else losses.sum()
    return (losses * votes).sum() / votes.sum().clamp(min=1e-3)
