"""Task-aligned assignment."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from edgehone.boxes import iou_matrix
from edgehone.projection.assigners.candidates import Matches, assign_by_image, holds_centre
from edgehone.space import Settings, Span
from edgehone.types import Assignment, Lattice, Predictions, Targets


class TaskAligned(Settings):
    """Each object takes the slots that score and locate it best: ``alignment = score^alpha * IoU^beta``.

    Candidates are slots whose cell centre lies in the object, and always those of the cell that holds the
    object's centre, so that an object smaller than a cell is not lost. A slot wanted by several objects goes
    to the one it overlaps most. Quality is the alignment, scaled so that each object's best positive gets
    its IoU. Source: Feng et al., TOOD, 2021.
    """

    kind: Literal["task_aligned"] = "task_aligned"
    top: Annotated[int, Span(5, 20)] = 10
    alpha: Annotated[float, Span(0.25, 1.0)] = 0.5
    beta: Annotated[float, Span(2.0, 8.0)] = 6.0

    @torch.no_grad()
    def assign(self, targets: Targets, lattice: Lattice, predictions: Predictions) -> Assignment:
        """See the module's docstring for the shapes."""

        def match(image: int, boxes_xyxy: Tensor, classes: Tensor) -> Matches:
            candidates = _centre_inside(boxes_xyxy, lattice) | holds_centre(boxes_xyxy, lattice)
            pool = candidates.any(0).nonzero()[:, 0]
            allowed = candidates[:, pool]
            overlap = iou_matrix(boxes_xyxy, predictions.boxes_xyxy[image, pool]).masked_fill(~allowed, 0)
            score = (
                predictions.objectness_logits[image, pool].sigmoid()[:, None]
                * predictions.class_logits[image, pool].sigmoid()
            )[:, classes].T
            # The floor keeps an order among candidates that do not overlap their object yet.
            alignment = score.pow(self.alpha) * (overlap + 1e-3).pow(self.beta)
            chosen = self._choose(alignment.masked_fill(~allowed, -1), overlap) & allowed
            objects, columns = chosen.nonzero(as_tuple=True)
            return Matches(objects, pool[columns], _quality(alignment, overlap, chosen)[objects, columns])

        return assign_by_image(targets, lattice, match)

    def _choose(self, alignment: Tensor, overlap: Tensor) -> Tensor:
        """``[m, q]`` bool: the top slots per object, then one object per slot."""
        best = alignment.topk(min(self.top, alignment.shape[1]), dim=1).indices
        chosen = torch.zeros_like(alignment, dtype=torch.bool).scatter_(1, best, True) & (alignment >= 0)
        owner = overlap.masked_fill(~chosen, -1).argmax(0)
        return chosen & (owner[None] == torch.arange(len(alignment), device=alignment.device)[:, None])


def _centre_inside(boxes_xyxy: Tensor, lattice: Lattice) -> Tensor:
    """``[m, n]`` bool: the centre of the slot's cell lies in the object."""
    centre = (lattice.cells_xy + 0.5) * lattice.strides[:, None]
    return ((centre[None] > boxes_xyxy[:, None, :2]) & (centre[None] < boxes_xyxy[:, None, 2:])).all(-1)


def _quality(alignment: Tensor, overlap: Tensor, chosen: Tensor) -> Tensor:
    """``[m, q]`` in 0..1: alignment over the object's best, times the object's best IoU."""
    alignment = alignment.masked_fill(~chosen, 0)
    top_alignment = alignment.amax(1, keepdim=True).clamp(min=1e-30)
    top_overlap = overlap.masked_fill(~chosen, 0).amax(1, keepdim=True)
    return (alignment / top_alignment * top_overlap).clamp(0, 1)
