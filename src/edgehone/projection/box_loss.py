"""Box losses: how far a predicted box is from its truth, pair by pair.

Every member maps ``[p, 4]`` and ``[p, 4]`` xyxy boxes to a loss ``[p]``, zero for equal boxes, finite with
finite gradients for degenerate and far ones. ``weight`` is the term's share in the total.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from edgehone.boxes import EPS, iou, xyxy_to_cxcywh
from edgehone.space import Settings, Span

Weight = Annotated[float, Span(0.02, 0.2, log=True)]


def _enclosing_sides(a_xyxy: Tensor, b_xyxy: Tensor) -> Tensor:
    low = torch.minimum(a_xyxy[..., :2], b_xyxy[..., :2])
    high = torch.maximum(a_xyxy[..., 2:], b_xyxy[..., 2:])
    return (high - low).clamp(min=0)


def _centre_distance(a_xyxy: Tensor, b_xyxy: Tensor) -> Tensor:
    """Squared distance of the centres in units of the squared diagonal of the enclosing box."""
    apart = (xyxy_to_cxcywh(a_xyxy) - xyxy_to_cxcywh(b_xyxy))[..., :2].square().sum(-1)
    return apart / (_enclosing_sides(a_xyxy, b_xyxy).square().sum(-1) + EPS)


class Giou(Settings):
    """Generalised IoU (Rezatofighi et al., 2019)."""

    kind: Literal["giou"] = "giou"
    weight: Weight = 0.05

    def loss(self, predicted_xyxy: Tensor, truth_xyxy: Tensor) -> Tensor:
        """1 - GIoU, in 0..2."""
        overlap = iou(predicted_xyxy, truth_xyxy)
        hull = _enclosing_sides(predicted_xyxy, truth_xyxy).prod(-1) + EPS
        areas = [(b[..., 2:] - b[..., :2]).clamp(min=0).prod(-1) for b in (predicted_xyxy, truth_xyxy)]
        union = (areas[0] + areas[1]) / (1 + overlap)
        return 1 - overlap + (hull - union) / hull


class Diou(Settings):
    """Distance IoU (Zheng et al., 2020)."""

    kind: Literal["diou"] = "diou"
    weight: Weight = 0.05

    def loss(self, predicted_xyxy: Tensor, truth_xyxy: Tensor) -> Tensor:
        """1 - IoU + centre distance, in 0..2."""
        return 1 - iou(predicted_xyxy, truth_xyxy) + _centre_distance(predicted_xyxy, truth_xyxy)


class Ciou(Settings):
    """Complete IoU: distance IoU with an aspect-ratio term (Zheng et al., 2020); Darknet's ``ciou``."""

    kind: Literal["ciou"] = "ciou"
    weight: Weight = 0.05

    def loss(self, predicted_xyxy: Tensor, truth_xyxy: Tensor) -> Tensor:
        """1 - IoU + centre distance + aspect term; the aspect weight carries no gradient, as published."""
        overlap = iou(predicted_xyxy, truth_xyxy)
        sides_p = xyxy_to_cxcywh(predicted_xyxy)[..., 2:].clamp(min=EPS)
        sides_t = xyxy_to_cxcywh(truth_xyxy)[..., 2:].clamp(min=EPS)
        angle = torch.atan2(sides_t[..., 0], sides_t[..., 1]) - torch.atan2(sides_p[..., 0], sides_p[..., 1])
        aspect = 4 / math.pi**2 * angle.square()
        with torch.no_grad():
            alpha = aspect / (1 - overlap + aspect + EPS)
        return 1 - overlap + _centre_distance(predicted_xyxy, truth_xyxy) + alpha * aspect


class Siou(Settings):
    """SIoU: angle-aware distance and shape costs (Gevorgyan, 2022)."""

    kind: Literal["siou"] = "siou"
    weight: Weight = 0.05

    def loss(self, predicted_xyxy: Tensor, truth_xyxy: Tensor) -> Tensor:
        """1 - IoU + (distance + shape) / 2, with theta 4."""
        p, t = xyxy_to_cxcywh(predicted_xyxy), xyxy_to_cxcywh(truth_xyxy)
        hull = _enclosing_sides(predicted_xyxy, truth_xyxy) + EPS
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


BoxLoss = Annotated[Ciou | Giou | Diou | Siou, Field(discriminator="kind")]
