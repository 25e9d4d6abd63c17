"""Who is heard at the start: shares of the loss and of its gradient while the network says nothing yet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from edgehone.analysis.ceiling import Taught
from edgehone.projection.loss import contributions
from edgehone.space import Settings
from edgehone.strategy import Strategy
from edgehone.types import Lattice, Predictions, Targets

SMALL_PX, LARGE_PX = 32, 96
"""COCO's borders, applied to sqrt(area) at the network input."""

Key = TypeVar("Key", str, int)

SIZES = ("small", "medium", "large")
BACKGROUND = "background"


class Shares(Settings):
    """How a whole divides; each division adds up to 1 (or is empty where there is nothing to divide).

    Attributes:
        by_size: small (sqrt(area) below 32 px at the network input), medium, large (from 96 px), background (slots
            without an object).
        by_class: class name, and background.
        by_level: stride of the head.
    """

    by_size: dict[str, float]
    by_class: dict[str, float]
    by_level: dict[int, float]


class StartFacts(Settings):
    """The first step of an untrained network: zero logits, and the objectness prior where one is set.

    Attributes:
        images: pictures measured, without augmentation.
        loss: shares of the loss.
        loss_by_term: shares of the box, objectness and classification terms.
        gradient: shares of the sum of absolute gradients at the heads' outputs.
        positives: slots with an object, per picture.
        negatives_per_positive: slots that are to be silent, for each with an object; None without any.
    """

    images: int
    loss: Shares
    loss_by_term: dict[str, float]
    gradient: Shares
    positives: float
    negatives_per_positive: float | None


def size_of(targets: Targets) -> Tensor:
    """``[m]`` int64: 0, 1, 2 for small, medium, large objects at the network input."""
    sides = (targets.boxes_xyxy[:, 2:] - targets.boxes_xyxy[:, :2]).prod(1).sqrt()
    return torch.bucketize(sides, torch.tensor([SMALL_PX, LARGE_PX], dtype=sides.dtype), right=True)


def untrained_predictions(strategy: Strategy, lattice: Lattice, images: int, classes: int) -> Predictions:
    """What a network of zero logits says: every box its anchor. Shared by all images (no memory copied)."""
    logits = torch.zeros(lattice.slots, 4)
    boxes = strategy.projection.coding.decode(logits, lattice.cells_xy, lattice.strides, lattice.anchors_px)
    return Predictions(
        boxes.expand(images, -1, -1),
        torch.full((1, 1), start_objectness(strategy)).expand(images, lattice.slots),
        strategy.projection.classification.logits(torch.zeros(1, 1, classes)).expand(images, lattice.slots, classes),
    )


def start_objectness(strategy: Strategy) -> float:
    """The objectness logit that training starts from."""
    prior = strategy.projection.objectness.prior
    return math.log(prior / (1 - prior)) if prior > 0 else 0.0


def start_facts(taught: Taught, class_names: Sequence[str], class_counts: Sequence[int]) -> StartFacts:
    """Divide the loss and its gradient among those who cause them."""
    projection, lattice = taught.strategy.projection, taught.lattice
    batch = taught.targets.batch_size
    raw = torch.zeros(batch, lattice.slots, 5 + len(class_names))
    raw[..., 4] = start_objectness(taught.strategy)
    raw.requires_grad_()
    boxes = projection.coding.decode(raw[..., :4], lattice.cells_xy, lattice.strides, lattice.anchors_px)
    said = Predictions(boxes, raw[..., 4], projection.classification.logits(raw[..., 5:]))
    parts = projection.loss_parts(class_counts)
    loss = contributions(parts, said, taught.targets, taught.assignment, lattice)
    (slope,) = torch.autograd.grad(loss.terms().total, raw)
    place = taught.assignment.images * lattice.slots + taught.assignment.slots
    each = 1 / torch.bincount(place, minlength=batch * lattice.slots)[place]
    held = torch.zeros(batch * lattice.slots, dtype=torch.bool)
    held[place] = True
    quiet = int((~held & ~taught.assignment.ignored.view(-1)).sum())
    terms = loss.terms().values()
    of_positives = loss.box.detach() + loss.classification.detach()
    return StartFacts(
        images=batch,
        loss=_shares(taught, class_names, loss.objectness.detach(), (held, each, of_positives)),
        loss_by_term=_normed({name: terms[name] for name in ("box", "objectness", "classification")}),
        gradient=_shares(taught, class_names, slope.abs().sum(-1), (held, each, torch.zeros(len(place)))),
        positives=round(int(held.sum()) / max(batch, 1), 2),
        negatives_per_positive=round(quiet / int(held.sum()), 1) if held.any() else None,
    )


def _shares(
    taught: Taught, class_names: Sequence[str], slots: Tensor, positives: tuple[Tensor, Tensor, Tensor]
) -> Shares:
    """Divide amounts ``[b, n]`` of slots and amounts ``[p]`` of positives.

    Args:
        taught: whose slots and positives they are.
        class_names: of the data.
        slots: what each slot adds; a slot with several objects adds it in equal parts for them.
        positives: ``[b * n]`` bool, which slots have an object; ``[p]`` the part of its slot that each positive has;
            ``[p]`` what each adds besides.
    """
    assignment, lattice = taught.assignment, taught.lattice
    held, part, besides = positives
    place = assignment.images * lattice.slots + assignment.slots
    mine = slots.reshape(-1)[place] * part + besides
    background = float(slots.reshape(-1)[~held].sum())
    sizes = torch.zeros(3).index_add_(0, size_of(taught.targets)[assignment.truths], mine)
    classes = torch.zeros(len(class_names)).index_add_(0, taught.targets.classes[assignment.truths], mine)
    levels = torch.zeros(len(lattice.shapes)).index_add_(0, lattice.levels, slots.sum(0))
    levels.index_add_(0, lattice.levels[assignment.slots], besides)
    strides = [round(lattice.input_size[0] / shape[1]) for shape in lattice.shapes]
    return Shares(
        by_size=_normed({**_named(SIZES, sizes), BACKGROUND: background}),
        by_class=_normed({**_named(class_names, classes), BACKGROUND: background}),
        by_level=_normed(_named(strides, levels)),
    )


def _named(names: Sequence[Key], amounts: Tensor) -> dict[Key, float]:
    return {name: float(amount) for name, amount in zip(names, amounts, strict=True)}


def _normed(amounts: Mapping[Key, float]) -> dict[Key, float]:
    total = sum(amounts.values())
    return {key: round(amount / total, 4) for key, amount in amounts.items()} if total > 0 else {}
