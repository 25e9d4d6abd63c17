"""Squared error of box codes."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from edgehone.boxes import xyxy_to_cxcywh
from edgehone.projection.box_loss.enclosing import Weight
from edgehone.space import Settings

SHORTEST_PX = 1e-2
"""Sides are taken to be at least this long before their logarithm or a division by them."""


class Mse(Settings):
    """Half the squared error of the box's code relative to its truth: not bounded, and not of corners.

    Centres are compared in units of the truth's sides (the code of R-CNN, Girshick et al., 2014). Sides are
    compared by ``ln(w) - ln(w_truth)``: with an exponential coding the anchor cancels out, and this is Darknet's
    squared error of ``tw`` and ``th`` (yolo_layer.c, ``iou_loss=mse``). Darknet's own centre term counts in cells.
    """

    kind: Literal["mse"] = "mse"
    weight: Weight = 0.05

    def loss(self, predicted_xyxy: Tensor, truth_xyxy: Tensor) -> Tensor:
        """Half of ``dx^2 + dy^2 + dln(w)^2 + dln(h)^2``, zero and up."""
        p, t = xyxy_to_cxcywh(predicted_xyxy), xyxy_to_cxcywh(truth_xyxy)
        sides_p, sides_t = p[..., 2:].clamp(min=SHORTEST_PX), t[..., 2:].clamp(min=SHORTEST_PX)
        centre = (p[..., :2] - t[..., :2]) / sides_t
        sides = sides_p.log() - sides_t.log()
        return torch.cat([centre, sides], -1).square().sum(-1) / 2
