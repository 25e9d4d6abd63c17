"""What a slot should say about holding an object."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from edgehone.projection.binary import Bce, Focal, QualityFocal
from edgehone.space import Choice, Settings, Span
from edgehone.types import Lattice

ObjectnessLoss = Annotated[Bce | Focal | QualityFocal, Field(discriminator="kind")]


class Objectness(Settings):
    """The term that every slot takes part in.

    ``target`` of a positive: 1, its present IoU with its object, or the (soft) quality that the assigner gave it.
    ``loss`` compares. ``weight`` is the term's share; ``fine_weight`` multiplies it on the head of the finest
    stride and ``coarse_weight`` on that of the coarsest (the authors' ``balance`` is 4, 1, 0.4 from fine to
    coarse of three heads); ``prior`` starts the head at the share of slots that hold an object (0 = off).
    """

    target: Annotated[Literal["one", "iou", "quality"], Choice("one", "iou", "quality")] = "iou"
    loss: ObjectnessLoss = Bce()
    weight: Annotated[float, Span(0.2, 4.0, log=True)] = 1.0
    fine_weight: Annotated[float, Span(0.5, 4.0, log=True)] = 4.0
    coarse_weight: Annotated[float, Span(0.25, 2.0, log=True)] = 1.0
    prior: Annotated[float, Choice(0.0, 0.01)] = 0.01

    def wanted(self, overlap: Tensor, quality: Tensor) -> Tensor:
        """``[p]`` targets of positives with these IoUs and qualities."""
        return {"one": torch.ones_like(overlap), "iou": overlap, "quality": quality}[self.target]

    def level_weights(self, lattice: Lattice) -> Tensor:
        """``[n]``: how much each slot counts by its level; a single head counts as the finest."""
        weights = torch.ones_like(lattice.strides)
        weights[lattice.strides == lattice.strides.max()] = self.coarse_weight
        weights[lattice.strides == lattice.strides.min()] = self.fine_weight
        return weights
