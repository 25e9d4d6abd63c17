"""Averages of the weights along a run."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from edgehone.space import Settings, Span


class NoAverage(Settings):
    """The last weights count."""

    kind: Literal["none"] = "none"

    def build(self, network: nn.Module, steps: int) -> None:
        """No state."""
        del network, steps

    @property
    def recounts(self) -> bool:
        """No."""
        return False


class Ema(Settings):
    """Exponential moving average over about ``horizon`` of the run's steps."""

    kind: Literal["ema"] = "ema"
    horizon: Annotated[float, Span(0.01, 0.2, log=True)] = 0.05

    def build(self, network: nn.Module, steps: int) -> WeightAverage:
        """The averager of a run of ``steps`` steps, starting at the present weights."""
        return WeightAverage(network, decay=1 - 1 / max(self.horizon * steps, 2.0))

    @property
    def recounts(self) -> bool:
        """No: over so short a time statistics hardly move, and are averaged with the weights."""
        return False


class TailAverage(Settings):
    """The mean of the weights of all steps after the share ``start`` of the run: an ensemble of the run's own networks.

    Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization (2018), where one network an
    epoch is averaged. As there, running statistics are counted anew at the end, for those of the networks are not
    those of their mean. Before the tail it is the :class:`Ema`, so that there is an average to be asked.
    """

    kind: Literal["tail"] = "tail"
    start: Annotated[float, Span(0.5, 0.9)] = Field(default=0.75, ge=0, lt=1)

    def build(self, network: nn.Module, steps: int) -> WeightAverage:
        """The averager of a run of ``steps`` steps, starting at the present weights."""
        before = Ema().build(network, steps)
        return WeightAverage(network, before.decay, tail=min(round(self.start * steps), steps - 1))

    @property
    def recounts(self) -> bool:
        """Yes: what the network computes on average is not what the average network computes."""
        return True


Average = Annotated[NoAverage | Ema | TailAverage, Field(discriminator="kind")]


class WeightAverage:
    """A network whose weights and running statistics follow another's.

    The decay ramps up as ``(1 + t) / (10 + t)``, so that the random start is forgotten. After ``tail`` updates (None:
    never) all that came before is forgotten, and the weights are the mean of those that follow.
    """

    def __init__(self, network: nn.Module, decay: float, tail: int | None = None) -> None:
        self.network = copy.deepcopy(network).eval()
        self.network.requires_grad_(False)
        self.decay = decay
        self.tail = tail
        self.updates = 0

    @property
    def share(self) -> float:
        """Of the present weights in the average, at the present update."""
        if self.tail is not None and self.updates > self.tail:
            return 1 / (self.updates - self.tail)
        return 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move a step towards the present weights."""
        self.updates += 1
        share = self.share
        for mine, theirs in zip(self.network.state_dict().values(), network.state_dict().values(), strict=True):
            if mine.dtype.is_floating_point:
                mine.lerp_(theirs, share)
            else:
                mine.copy_(theirs)

    @torch.no_grad()
    def recount(self, network: nn.Module, batches: Iterable[Tensor]) -> None:
        """Replace running statistics by the mean over ``batches`` of those that the average's own maps have.

        Args:
            network: that was averaged, in training mode; norms that are in evaluation mode there (frozen ones) stay.
            batches: pictures ``[b, 3, h, w]``.
        """
        pairs = zip(self.network.modules(), network.modules(), strict=True)
        norms = [mine for mine, theirs in pairs if isinstance(mine, nn.BatchNorm2d) and theirs.training]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # torch: the mean of all batches
            norm.train()
        for pixels in batches:
            self.network(pixels)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()
