"""What several box losses share: the smallest box around two, and the term's weight."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from edgehone.boxes import EPS, xyxy_to_cxcywh
from edgehone.space import Span

Weight = Annotated[float, Span(0.02, 0.2, log=True)]


def enclosing_sides(a_xyxy: Tensor, b_xyxy: Tensor) -> Tensor:
    """``[..., 2]`` width and height of the smallest box around both."""
    low = torch.minimum(a_xyxy[..., :2], b_xyxy[..., :2])
    high = torch.maximum(a_xyxy[..., 2:], b_xyxy[..., 2:])
    return (high - low).clamp(min=0)


def centre_distance(a_xyxy: Tensor, b_xyxy: Tensor) -> Tensor:
    """Squared distance of the centres in units of the squared diagonal of the enclosing box."""
    apart = (xyxy_to_cxcywh(a_xyxy) - xyxy_to_cxcywh(b_xyxy))[..., :2].square().sum(-1)
    return apart / (enclosing_sides(a_xyxy, b_xyxy).square().sum(-1) + EPS)
