"""Adaptive training sample selection."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from edgehone.boxes import cxcywh_to_xyxy, iou
from edgehone.projection.assigners.candidates import (
    PAIRS,
    Level,
    Matches,
    Pairs,
    assign_by_image,
    centres,
    group_sum,
    levels_of,
    own_cells,
    ranks,
)
from edgehone.space import Settings, Span
from edgehone.types import Assignment, Lattice, Predictions, Targets

TIE_PX2 = 1e-9
"""What a cell's number adds to its squared distance, so that equally near cells have an order."""


class Atss(Settings):
    """Each object sets its own IoU threshold from the anchors around it.

    Candidates are, on each level, all anchors of the ``top`` cells nearest to the object's centre. Those with an
    IoU of at least mean + ``deviations`` x standard deviation over the candidates, and their cell's centre in the
    object, are positives; an anchor claimed by several objects goes to the one it overlaps most. An object
    without any (it holds no cell's centre) falls back on the best anchor of the cells that hold its centre,
    which the paper does not have. Source: Zhang et al., ATSS, 2020 (``top`` 9, ``deviations`` 1).
    """

    kind: Literal["atss"] = "atss"
    top: Annotated[int, Span(5, 20)] = 9
    deviations: Annotated[float, Span(0.0, 2.0)] = 1.0

    @torch.no_grad()
    def assign(self, targets: Targets, lattice: Lattice, predictions: Predictions) -> Assignment:
        """See the module's docstring for the shapes; predictions do not matter."""
        del predictions

        def match(image: int, boxes_xyxy: Tensor, classes: Tensor) -> Matches:
            del image, classes
            nearest = [_nearest(boxes_xyxy, lattice, level, self.top) for level in levels_of(lattice)]
            slots = torch.cat(nearest, 1)
            objects = torch.arange(len(slots), device=slots.device)[:, None].expand_as(slots)
            pairs = Pairs(objects.reshape(-1), slots.reshape(-1))
            overlap = _anchor_iou(boxes_xyxy, pairs, lattice)
            each = overlap.view_as(slots)
            threshold = each.mean(1) + self.deviations * each.std(1)
            middle, boxes = (lattice.cells_xy + 0.5) * lattice.strides[:, None], boxes_xyxy[pairs.objects]
            inside = ((middle[pairs.slots] > boxes[:, :2]) & (middle[pairs.slots] < boxes[:, 2:])).all(-1)
            chosen = inside & (overlap >= threshold[pairs.objects])
            pairs, overlap = _with_fallback(pairs[chosen], overlap[chosen], boxes_xyxy, lattice)
            return pairs[ranks(pairs.slots, -overlap) == 0].matches()

        return assign_by_image(targets, lattice, match)


def _nearest(boxes_xyxy: Tensor, lattice: Lattice, level: Level, top: int) -> Tensor:
    """``[m, min(top, cells) * anchors]``: all slots of the nearest cells of a level, in portions of objects."""
    anchors, rows, columns = level.shape
    cells = torch.arange(rows * columns, device=boxes_xyxy.device)
    middle = (torch.stack([cells % columns, cells // columns], 1).double() + 0.5) * level.stride
    found: list[Tensor] = []
    centre = centres(boxes_xyxy, lattice).double()
    step = max(1, PAIRS // len(cells))
    for start in range(0, len(centre), step):
        apart = (centre[start : start + step, None] - middle).square().sum(-1) + TIE_PX2 * cells
        found.append(apart.topk(min(top, len(cells)), largest=False).indices)
    near = torch.cat(found)
    each = torch.arange(anchors, device=near.device)
    return level.slots(near[..., None] % columns, near[..., None] // columns, each).flatten(1)


def _anchor_iou(boxes_xyxy: Tensor, pairs: Pairs, lattice: Lattice) -> Tensor:
    """``[q]``: IoU of each object with the anchor of the slot, laid on its cell."""
    middle = (lattice.cells_xy[pairs.slots] + 0.5) * lattice.strides[pairs.slots, None]
    anchors = cxcywh_to_xyxy(torch.cat([middle, lattice.anchors_px[pairs.slots]], 1))
    return iou(boxes_xyxy[pairs.objects], anchors)


def _with_fallback(pairs: Pairs, overlap: Tensor, boxes_xyxy: Tensor, lattice: Lattice) -> tuple[Pairs, Tensor]:
    """The pairs and their IoU, with one more for each object that has none."""
    count = group_sum(pairs.objects, torch.ones_like(overlap), len(boxes_xyxy))
    own = own_cells(boxes_xyxy, lattice)
    own = own[count[own.objects] == 0]
    fit = _anchor_iou(boxes_xyxy, own, lattice)
    best = ranks(own.objects, -fit) == 0
    joined = Pairs(torch.cat([pairs.objects, own.objects[best]]), torch.cat([pairs.slots, own.slots[best]]))
    return joined, torch.cat([overlap, fit[best]])
