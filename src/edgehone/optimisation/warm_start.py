"""How a network that starts from what another has learnt treats what it carried over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeVar

from pydantic import Field
from torch import nn

from edgehone.space import Choice, Settings, Span

Layer = TypeVar("Layer")


class WarmStart(Settings):
    """Only for a training that starts from weights; without them it changes nothing.

    Attributes:
        frozen: share of the carried layers, counted from the input, whose weights and statistics stay as they are.
        rate: factor of the learning rate for the other carried layers.
    """

    frozen: Annotated[float, Choice(0.0, 0.25, 0.5, 0.75)] = Field(default=0.0, ge=0.0, le=1.0)
    rate: Annotated[float, Span(0.05, 1.0, log=True)] = Field(default=1.0, gt=0.0, le=1.0)

    def divide(self, carried: Sequence[Layer]) -> tuple[Sequence[Layer], Sequence[Layer]]:
        """The carried layers that are frozen, and those that learn at the lower rate; in the order of the graph."""
        count = round(self.frozen * len(carried))
        return carried[:count], carried[count:]


def freeze(modules: Sequence[nn.Module]) -> None:
    """No gradient, and statistics as in evaluation; to be repeated whenever the network is put into training mode."""
    for module in modules:
        module.eval()
        module.requires_grad_(False)
