"""SIoU."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from edgehone.boxes import EPS, iou, xyxy_to_cxcywh
from edgehone.projection.box_loss.enclosing import Weight, enclosing_sides
from edgehone.space import Settings


class Siou(Settings):
    """SIoU: angle-aware distance and shape costs (Gevorgyan, 2022)."""

    kind: Literal["siou"] = "siou"
    weight: Weight = 0.05

    def loss(self, predicted_xyxy: Tensor, truth_xyxy: Tensor) -> Tensor:
        """1 - IoU + (distance + shape) / 2, with theta 4."""
        p, t = xyxy_to_cxcywh(predicted_xyxy), xyxy_to_cxcywh(truth_xyxy)
        hull = enclosing_sides(predicted_xyxy, truth_xyxy) + EPS
        apart = t[..., :2] - p[..., :2]
        length = (apart.square().sum(-1) + EPS).sqrt()
        sine = apart.abs() / length[..., None]
        # The angle is measured to the nearer axis.
        smaller = sine.min(-1).values.clamp(max=math.sqrt(0.5))
        angle = torch.cos(2 * torch.asin(smaller) - math.pi / 2)
        rho = (apart / hull).square()
        distance = (1 - torch.exp((angle - 2)[..., None] * rho)).sum(-1)
        sides_p, sides_t = p[..., 2:].clamp(min=EPS), t[..., 2:].clamp(min=EPS)
        mismatch = (sides_p - sides_t).abs() / torch.maximum(sides_p, sides_t)
        shape = (1 - torch.exp(-mismatch)).pow(4).sum(-1)
        return 1 - iou(predicted_xyxy, truth_xyxy) + (distance + shape) / 2
