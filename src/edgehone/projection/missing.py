"""Labels that are missing: an object that nobody labelled, but that a teacher or the average surely sees.

As the labels stand, whatever answers there is punished. It can be left alone instead, or taught.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from edgehone.boxes import area, intersection, iou_matrix
from edgehone.projection.ignored import INSIDE, excuse_regions, objects_only
from edgehone.space import Settings, Span
from edgehone.types import IGNORED, Answers, Assignment, Lattice, Predictions, Targets

KNOWN_IOU = 0.5
"""Overlap with a label, of whatever class, from which on an answer speaks of that label's object."""

Assign = Callable[[Targets], Assignment]
"""The strategy's assigner on the lattice and the predictions of a batch."""


class Punish(Settings):
    """What has no label is no object."""

    kind: Literal["punish"] = "punish"

    def asks_average(self, progress: float) -> bool:
        """Never."""
        del progress
        return False


class Excuse(Settings):
    """Slots that speak of an unlabelled object are not punished.

    These are the slots that would learn it, were it labelled, and those whose cell has its centre in it or whose
    predicted box lies in it by half. An answer counts from a score of ``threshold``; the average, which is asked where
    there is no teacher, from the share ``start`` of the run.
    """

    kind: Literal["excuse"] = "excuse"
    threshold: Annotated[float, Span(0.1, 0.8), Field(ge=0, lt=1)] = 0.3
    start: Annotated[float, Span(0.1, 0.8), Field(ge=0, le=1)] = 0.3

    def asks_average(self, progress: float) -> bool:
        """Whether the average must run at this share of the run, unless there is a teacher."""
        return progress >= self.start


class PseudoLabel(Settings):
    """An unlabelled object that is surely seen is taught like a label (Lee, Pseudo-Label, 2013), as good as its score.

    It never takes a slot from a label. ``threshold`` and ``start`` as for :class:`Excuse`.
    """

    kind: Literal["pseudo_label"] = "pseudo_label"
    threshold: Annotated[float, Span(0.2, 0.9), Field(ge=0, lt=1)] = 0.5
    start: Annotated[float, Span(0.1, 0.8), Field(ge=0, le=1)] = 0.3

    def asks_average(self, progress: float) -> bool:
        """Whether the average must run at this share of the run, unless there is a teacher."""
        return progress >= self.start


@dataclass(frozen=True)
class Mended:
    """A batch with its unlabelled objects taken into account.

    Attributes:
        objects: to be learned.
        assignment: of them.
        unlabelled: objects that were seen and had no label.
    """

    objects: Targets
    assignment: Assignment
    unlabelled: int


Missing = Annotated[Punish | Excuse | PseudoLabel, Field(discriminator="kind")]


@torch.no_grad()
def mend(
    missing: Missing,
    answers: Answers,
    targets: Targets,
    assignment: Assignment,
    lattice: Lattice,
    predictions: Predictions,
    assign: Assign,
) -> Mended:
    """The objects of a batch and their assignment, with unlabelled objects taken into account.

    Args:
        missing: what is to be done about them.
        answers: what was found in the pictures.
        targets: the labels, with the regions to ignore.
        assignment: of their objects.
        lattice: of the input.
        predictions: of the student.
        assign: the assigner.
    """
    objects = objects_only(targets)
    if isinstance(missing, Punish):
        return Mended(objects, assignment, 0)
    seen = unlabelled(answers.at_least(missing.threshold), targets)
    found = assign(seen.targets)
    if isinstance(missing, Excuse):
        return Mended(objects, _excused(assignment, seen, found, lattice, predictions), len(seen.scores))
    return _taught(objects, assignment, seen, found)


def unlabelled(answers: Answers, targets: Targets) -> Answers:
    """The answers that overlap no label of their picture by :data:`KNOWN_IOU` and lie in no region to ignore."""
    said = answers.targets
    keep = torch.ones_like(answers.scores, dtype=torch.bool)
    for image in range(said.batch_size):  # by image: a batch of crowds has too many pairs
        rows, labels = said.images == image, targets.images == image
        boxes, known = said.boxes_xyxy[rows], targets.boxes_xyxy[labels]
        regions = targets.classes[labels] == IGNORED
        near = (iou_matrix(boxes, known[~regions]) >= KNOWN_IOU).any(1)
        keep[rows] = ~(near | _inside(boxes, known[regions]))
    return answers.where(keep)


def _inside(boxes_xyxy: Tensor, regions_xyxy: Tensor) -> Tensor:
    """``[k]`` bool: the boxes that lie in a region by :data:`~edgehone.projection.ignored.INSIDE`."""
    inner = intersection(boxes_xyxy[:, None], regions_xyxy[None])
    return (inner >= INSIDE * area(boxes_xyxy)[:, None].clamp(min=1e-6)).any(1)


def _excused(
    assignment: Assignment, seen: Answers, found: Assignment, lattice: Lattice, predictions: Predictions
) -> Assignment:
    """The assignment with more slots ignored; its positives stay."""
    regions = dataclasses.replace(seen.targets, classes=torch.full_like(seen.targets.classes, IGNORED))
    ignored = excuse_regions(assignment, regions, lattice, predictions).ignored.clone()
    ignored[found.images, found.slots] = True
    ignored[assignment.images, assignment.slots] = False
    return dataclasses.replace(assignment, ignored=ignored)


def _taught(objects: Targets, assignment: Assignment, seen: Answers, found: Assignment) -> Mended:
    """Labels first, then what was seen: in the slots that no label has, as good positives as the score is high."""
    taken = torch.zeros_like(assignment.ignored)
    taken[assignment.images, assignment.slots] = True
    free = ~taken[found.images, found.slots]
    ignored = (assignment.ignored | found.ignored) & ~taken
    ignored[found.images[free], found.slots[free]] = False
    quality = found.quality * seen.scores[found.truths]
    both = Assignment(
        images=torch.cat([assignment.images, found.images[free]]),
        slots=torch.cat([assignment.slots, found.slots[free]]),
        truths=torch.cat([assignment.truths, found.truths[free] + len(objects.classes)]),
        quality=torch.cat([assignment.quality, quality[free]]),
        ignored=ignored,
    )
    more = seen.targets
    joined = Targets(
        boxes_xyxy=torch.cat([objects.boxes_xyxy, more.boxes_xyxy]),
        classes=torch.cat([objects.classes, more.classes]),
        images=torch.cat([objects.images, more.images]),
        batch_size=objects.batch_size,
    )
    return Mended(joined, both, len(seen.scores))
