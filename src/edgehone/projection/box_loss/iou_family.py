"""One minus the overlap, and what was added to it so that boxes that do not overlap are drawn together."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from torch import Tensor

from edgehone.boxes import EPS, iou, xyxy_to_cxcywh
from edgehone.projection.box_loss.enclosing import Weight, centre_distance, enclosing_sides
from edgehone.space import Settings, Span


class Iou(Settings):
    """Plain IoU. Boxes that do not overlap have no gradient."""

    kind: Literal["iou"] = "iou"
    weight: Weight = 0.05

    def loss(self, predicted_xyxy: Tensor, truth_xyxy: Tensor) -> Tensor:
        """1 - IoU, in 0..1."""
        return 1 - iou(predicted_xyxy, truth_xyxy)


class AlphaIou(Settings):
    """Power of the IoU (He et al., Alpha-IoU, 2021): above 1, good boxes are improved further before bad ones.

    The plain form: boxes that do not overlap have no gradient. ``alpha`` 1 is the IoU loss.
    """

    kind: Literal["alpha_iou"] = "alpha_iou"
    weight: Weight = 0.05
    alpha: Annotated[float, Span(1.0, 4.0)] = 3.0

    def loss(self, predicted_xyxy: Tensor, truth_xyxy: Tensor) -> Tensor:
        """1 - IoU^alpha, in 0..1."""
        return 1 - iou(predicted_xyxy, truth_xyxy).pow(self.alpha)


class Giou(Settings):
    """Generalised IoU (Rezatofighi et al., 2019)."""

    kind: Literal["giou"] = "giou"
    weight: Weight = 0.05

    def loss(self, predicted_xyxy: Tensor, truth_xyxy: Tensor) -> Tensor:
        """1 - GIoU, in 0..2."""
        overlap = iou(predicted_xyxy, truth_xyxy)
        hull = enclosing_sides(predicted_xyxy, truth_xyxy).prod(-1) + EPS
        areas = [(b[..., 2:] - b[..., :2]).clamp(min=0).prod(-1) for b in (predicted_xyxy, truth_xyxy)]
        union = (areas[0] + areas[1]) / (1 + overlap)
        return 1 - overlap + (hull - union) / hull


class Diou(Settings):
    """Distance IoU (Zheng et al., 2020)."""

    kind: Literal["diou"] = "diou"
    weight: Weight = 0.05

    def loss(self, predicted_xyxy: Tensor, truth_xyxy: Tensor) -> Tensor:
        """1 - IoU + centre distance, in 0..2."""
        return 1 - iou(predicted_xyxy, truth_xyxy) + centre_distance(predicted_xyxy, truth_xyxy)


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
        return 1 - overlap + centre_distance(predicted_xyxy, truth_xyxy) + alpha * aspect


class Eiou(Settings):
    """Efficient IoU: distance IoU with both sides compared by themselves (Zhang et al., 2021, without focus)."""

    kind: Literal["eiou"] = "eiou"
    weight: Weight = 0.05

    def loss(self, predicted_xyxy: Tensor, truth_xyxy: Tensor) -> Tensor:
        """1 - IoU + centre distance + squared side differences in units of the enclosing sides, in 0..4."""
        hull = enclosing_sides(predicted_xyxy, truth_xyxy)
        sides_p, sides_t = (xyxy_to_cxcywh(b)[..., 2:].clamp(min=0) for b in (predicted_xyxy, truth_xyxy))
        sides = ((sides_p - sides_t).square() / (hull.square() + EPS)).sum(-1)
        return 1 - iou(predicted_xyxy, truth_xyxy) + centre_distance(predicted_xyxy, truth_xyxy) + sides
