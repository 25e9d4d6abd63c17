"""Task-aligned assignment."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from edgehone.boxes import iou
from edgehone.projection.assigners.candidates import (
    Matches,
    Pairs,
    assign_by_image,
    group_max,
    inside_cells,
    ranks,
)
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
            best: list[tuple[Pairs, Tensor, Tensor]] = []
            for pairs in inside_cells(boxes_xyxy, lattice):
                overlap = iou(predictions.boxes_xyxy[image, pairs.slots], boxes_xyxy[pairs.objects])
                score = (
                    predictions.objectness_logits[image, pairs.slots].sigmoid()
                    * predictions.class_logits[image, pairs.slots, classes[pairs.objects]].sigmoid()
                )
                # The floor keeps an order among candidates that do not overlap their object yet.
                alignment = score.pow(self.alpha) * (overlap + 1e-3).pow(self.beta)
                kept = ranks(pairs.objects, -alignment) < self.top
                best.append((pairs[kept], alignment[kept], overlap[kept]))
            pairs = Pairs(torch.cat([b[0].objects for b in best]), torch.cat([b[0].slots for b in best]))
            alignment, overlap = torch.cat([b[1] for b in best]), torch.cat([b[2] for b in best])
            won = ranks(pairs.slots, -overlap) == 0
            quality = _quality(pairs[won], alignment[won], overlap[won], len(boxes_xyxy))
            return Matches(pairs.objects[won], pairs.slots[won], quality)

        return assign_by_image(targets, lattice, match)


def _quality(pairs: Pairs, alignment: Tensor, overlap: Tensor, objects: int) -> Tensor:
    """``[p]`` in 0..1: alignment over the object's best, times the object's best IoU."""
    top_alignment = group_max(pairs.objects, alignment, objects).clamp(min=1e-30)
    top_overlap = group_max(pairs.objects, overlap, objects)
    return (alignment / top_alignment[pairs.objects] * top_overlap[pairs.objects]).clamp(0, 1)
