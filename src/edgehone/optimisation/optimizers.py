"""Optimizers: each a settings model that builds torch's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from edgehone.space import Settings, Span


@dataclass(frozen=True)
class SlowParameters:
    """Modules that learn at a share of the learning rate."""

    modules: Sequence[nn.Module] = ()
    rate: float = 1.0


NO_SLOW = SlowParameters()


class Sgd(Settings):
    """Stochastic gradient descent with momentum. Weight decay spares batch norm and biases where asked."""

    kind: Literal["sgd"] = "sgd"
    lr: Annotated[float, Span(3e-4, 3e-2, log=True)] = 0.01
    momentum: Annotated[float, Span(0.8, 0.98)] = 0.937
    nesterov: bool = True
    weight_decay: Annotated[float, Span(1e-5, 1e-3, log=True)] = 5e-4

    def build(self, network: nn.Module, slow: SlowParameters = NO_SLOW) -> torch.optim.Optimizer:
        """Torch's optimizer over all parameters of ``network`` that learn."""
        return torch.optim.SGD(
            parameter_groups(network, self.weight_decay, slow),
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
        )


class AdamW(Settings):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019)."""

    kind: Literal["adamw"] = "adamw"
    lr: Annotated[float, Span(2e-4, 5e-3, log=True)] = 1e-3
    beta1: Annotated[float, Span(0.8, 0.95)] = 0.9
    weight_decay: Annotated[float, Span(1e-3, 0.2, log=True)] = 0.05

    def build(self, network: nn.Module, slow: SlowParameters = NO_SLOW) -> torch.optim.Optimizer:
        """Torch's optimizer over all parameters of ``network`` that learn."""
        groups = parameter_groups(network, self.weight_decay, slow)
        return torch.optim.AdamW(groups, lr=self.lr, betas=(self.beta1, 0.999))


Optimizer = Annotated[Sgd | AdamW, Field(discriminator="kind")]


RATE = "rate"
"""Key of a parameter group: factor of the learning rate."""


def parameter_groups(
    network: nn.Module, weight_decay: float, slow: SlowParameters = NO_SLOW
) -> list[dict[str, object]]:
    """Convolution weights with decay, one-dimensional parameters (batch norm, biases) without; slow ones apart."""
    tardy = {id(parameter) for module in slow.modules for parameter in module.parameters()}
    groups: list[dict[str, object]] = []
    for rate, mine in ((1.0, False), (slow.rate, True)):
        chosen = [p for p in network.parameters() if p.requires_grad and (id(p) in tardy) == mine]
        if mine and not chosen:
            continue
        groups.append({"params": [p for p in chosen if p.ndim > 1], "weight_decay": weight_decay, RATE: rate})
        groups.append({"params": [p for p in chosen if p.ndim <= 1], "weight_decay": 0.0, RATE: rate})
    return groups
