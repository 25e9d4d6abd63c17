"""Normalised Wasserstein distance."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from edgehone.boxes import EPS, xyxy_to_cxcywh
from edgehone.projection.box_loss.enclosing import Weight
from edgehone.space import Settings, Span


class Wasserstein(Settings):
    """Boxes as Gaussians, compared by an exponential of their distance (Wang et al., 2021, for tiny objects).

    A box is a Gaussian with its centre as mean and half its sides as standard deviations; the distance of two is
    Euclidean in ``(x, y, w / 2, h / 2)``. It does not fall to nothing for tiny boxes that just miss each other.
    ``constant_px`` is the distance at which the similarity is 1/e; the paper takes the mean object size of the
    data (12.8 px in AI-TOD).
    """

    kind: Literal["wasserstein"] = "wasserstein"
    weight: Weight = 0.05
    constant_px: Annotated[float, Span(4.0, 64.0, log=True)] = 12.8

    def loss(self, predicted_xyxy: Tensor, truth_xyxy: Tensor) -> Tensor:
        """1 - exp(-distance / constant), in 0..1."""
        p, t = xyxy_to_cxcywh(predicted_xyxy), xyxy_to_cxcywh(truth_xyxy)
        apart = torch.cat([p[..., :2] - t[..., :2], (p[..., 2:] - t[..., 2:]) / 2], -1)
        # Under the root and taken off again, so that equal boxes cost nothing and have a gradient of nothing.
        distance = (apart.square().sum(-1) + EPS).sqrt() - EPS**0.5
        return 1 - torch.exp(-distance / self.constant_px)
