"""Averages of the weights along a run."""

from __future__ import annotations

import copy
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from edgehone.space import Settings, Span


class NoAverage(Settings):
    """The last weights count."""

    kind: Literal["none"] = "none"

    def build(self, network: nn.Module, steps: int) -> None:
        """No state."""
        del network, steps


class Ema(Settings):
    """Exponential moving average over about ``horizon`` of the run's steps."""

    kind: Literal["ema"] = "ema"
    horizon: Annotated[float, Span(0.01, 0.2, log=True)] = 0.05

    def build(self, network: nn.Module, steps: int) -> WeightAverage:
        """The averager of a run of ``steps`` steps, starting at the present weights."""
        return WeightAverage(network, decay=1 - 1 / max(self.horizon * steps, 2.0))


Average = Annotated[NoAverage | Ema, Field(discriminator="kind")]


class WeightAverage:
    """A network whose weights and running statistics follow another's.

    The decay ramps up as ``(1 + t) / (10 + t)``, so that the random start is forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval()
        self.network.requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move a step towards the present weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for mine, theirs in zip(self.network.state_dict().values(), network.state_dict().values(), strict=True):
            if mine.dtype.is_floating_point:
                mine.lerp_(theirs, 1 - decay)
            else:
                mine.copy_(theirs)
