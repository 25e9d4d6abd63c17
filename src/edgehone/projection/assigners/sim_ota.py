"""SimOTA: simplified optimal-transport assignment."""

from __future__ import annotations

from typing import Annotated, Literal, cast

import torch
from torch import Tensor

from edgehone.boxes import iou
from edgehone.projection.assigners.candidates import (
    Matches,
    Pairs,
    assign_by_image,
    group_sum,
    near_cells,
    own_cells,
    ranks,
    within_ratio,
)
from edgehone.space import Settings, Span
from edgehone.types import Assignment, Lattice, Predictions, Targets


class SimOta(Settings):
    """Each object takes its ``k`` cheapest candidates; ``k`` is the sum of its best ten IoUs (at least one).

    Cost = class BCE + ``iou_cost`` x -log IoU. Candidates are ratio matches in near cells, as in YOLOv7's
    ``ComputeLossOTA``; an object without any falls back on all anchors of the cell that holds its centre. A
    slot wanted by several objects goes to the cheapest. Sources: Ge et al., YOLOX, 2021; WongKinYiu/yolov7.
    """

    kind: Literal["sim_ota"] = "sim_ota"
    anchor_t: Annotated[float, Span(2.0, 8.0, log=True)] = 4.0
    iou_cost: Annotated[float, Span(1.0, 6.0)] = 3.0
    top: Annotated[int, Span(5, 20)] = 10

    @torch.no_grad()
    def assign(self, targets: Targets, lattice: Lattice, predictions: Predictions) -> Assignment:
        """See the module's docstring for the shapes."""

        def match(image: int, boxes_xyxy: Tensor, classes: Tensor) -> Matches:
            pairs = self._candidates(boxes_xyxy, lattice)
            overlap = iou(predictions.boxes_xyxy[image, pairs.slots], boxes_xyxy[pairs.objects])
            cost = self._cost(predictions, image, pairs, classes, overlap)
            best = torch.where(ranks(pairs.objects, -overlap) < self.top, overlap, 0)
            counts = group_sum(pairs.objects, best, len(boxes_xyxy)).int().clamp(min=1)
            chosen = ranks(pairs.objects, cost) < counts[pairs.objects]
            pairs, cost = pairs[chosen], cost[chosen]
            return pairs[ranks(pairs.slots, cost) == 0].matches()

        return assign_by_image(targets, lattice, match)

    def _candidates(self, boxes_xyxy: Tensor, lattice: Lattice) -> Pairs:
        pairs = near_cells(boxes_xyxy, lattice)
        pairs = pairs[within_ratio(boxes_xyxy, pairs, lattice, self.anchor_t)]
        served = torch.zeros(len(boxes_xyxy), dtype=torch.bool, device=boxes_xyxy.device)
        served[pairs.objects] = True
        own = own_cells(boxes_xyxy, lattice)
        own = own[~served[own.objects]]
        return Pairs(torch.cat([pairs.objects, own.objects]), torch.cat([pairs.slots, own.slots]))

    def _cost(self, predictions: Predictions, image: int, pairs: Pairs, classes: Tensor, overlap: Tensor) -> Tensor:
        """``[q]``; class probabilities are read once a slot, however many objects want it."""
        pool, place = cast(tuple[Tensor, Tensor], pairs.slots.unique(return_inverse=True))
        joint = (
            predictions.class_logits[image, pool].sigmoid()
            * (predictions.objectness_logits[image, pool].sigmoid()[:, None])
        )
        score = joint.sqrt().clamp(1e-6, 1 - 1e-6)
        wrong = -(1 - score).log()
        wanted = classes[pairs.objects]
        bce = wrong.sum(1)[place] - wrong[place, wanted] - score[place, wanted].log()
        return bce - self.iou_cost * (overlap + 1e-8).log()
