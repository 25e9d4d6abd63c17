"""SimOTA: simplified optimal-transport assignment."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from edgehone.boxes import iou_matrix
from edgehone.projection.assigners.candidates import (
    Matches,
    assign_by_image,
    holds_centre,
    near_cells,
    within_ratio,
)
from edgehone.space import Settings, Span
from edgehone.types import Assignment, Lattice, Predictions, Targets

NOT_A_CANDIDATE = 1e9


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
            candidates = within_ratio(boxes_xyxy, lattice, self.anchor_t) & near_cells(boxes_xyxy, lattice)
            lonely = ~candidates.any(1, keepdim=True)
            candidates |= lonely & holds_centre(boxes_xyxy, lattice)
            pool = candidates.any(0).nonzero()[:, 0]
            allowed = candidates[:, pool]
            overlap = iou_matrix(boxes_xyxy, predictions.boxes_xyxy[image, pool])
            cost = self._cost(predictions, image, pool, classes, overlap).masked_fill(~allowed, NOT_A_CANDIDATE)
            chosen = self._choose(cost, overlap.masked_fill(~allowed, 0)) & allowed
            objects, columns = chosen.nonzero(as_tuple=True)
            return Matches(objects, pool[columns], torch.ones(len(columns), device=columns.device))

        return assign_by_image(targets, lattice, match)

    def _cost(self, predictions: Predictions, image: int, pool: Tensor, classes: Tensor, overlap: Tensor) -> Tensor:
        """``[m, q]`` over the pool."""
        joint = (
            predictions.class_logits[image, pool].sigmoid()
            * (predictions.objectness_logits[image, pool].sigmoid()[:, None])
        )
        score = joint.sqrt().clamp(1e-6, 1 - 1e-6)
        wrong = -(1 - score).log()
        right = -score.log()
        truth = F.one_hot(classes, score.shape[-1]).to(score.dtype)
        bce = truth @ right.T + (1 - truth) @ wrong.T
        return bce - self.iou_cost * (overlap + 1e-8).log()

    def _choose(self, cost: Tensor, overlap: Tensor) -> Tensor:
        """``[m, q]`` bool: dynamic k per object, then one object per slot."""
        top = min(self.top, cost.shape[1])
        counts = overlap.topk(top, dim=1).values.sum(1).int().clamp(min=1)
        ranks = cost.argsort(1).argsort(1)
        chosen = ranks < counts[:, None]
        cheapest = cost.masked_fill(~chosen, 2 * NOT_A_CANDIDATE).argmin(0)
        return chosen & (cheapest[None] == torch.arange(len(cost), device=cost.device)[:, None])
