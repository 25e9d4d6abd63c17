"""Regions to ignore: crowds, and classes that neither train nor count as errors."""

from __future__ import annotations

import dataclasses

import torch

from edgehone.types import IGNORED, Assignment, Lattice, Predictions, Targets

INSIDE = 0.5
"""Share of a predicted box in a region from which on it is not punished, as COCO's evaluation excuses it."""


def objects_only(targets: Targets) -> Targets:
    """The targets without regions."""
    keep = targets.classes != IGNORED
    if bool(keep.all()):
        return targets
    return targets.where(keep)


@torch.no_grad()
def excuse_regions(assignment: Assignment, targets: Targets, lattice: Lattice, predictions: Predictions) -> Assignment:
    """Leave alone every slot that is no positive and speaks of a region.

    That is one whose cell has its centre in a region, or whose predicted box lies in one by :data:`INSIDE`.

    Args:
        assignment: of the objects alone.
        targets: with their regions.
        lattice: of the input.
        predictions: of the batch.
    """
    regions = targets.classes == IGNORED
    if not bool(regions.any()):
        return assignment
    ignored = assignment.ignored.clone()
    centres = (lattice.cells_xy + 0.5) * lattice.strides[:, None]
    for number, region in zip(targets.images[regions], targets.boxes_xyxy[regions], strict=True):
        image = int(number)
        boxes = predictions.boxes_xyxy[image].detach().float()
        inner = (torch.minimum(boxes[:, 2:], region[2:]) - torch.maximum(boxes[:, :2], region[:2])).clamp(min=0)
        area = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)
        inside = ((centres >= region[:2]) & (centres <= region[2:])).all(1)
        ignored[image] |= inside | (inner.prod(1) >= INSIDE * area.clamp(min=1e-6))
    ignored[assignment.images, assignment.slots] = False
    return dataclasses.replace(assignment, ignored=ignored)
