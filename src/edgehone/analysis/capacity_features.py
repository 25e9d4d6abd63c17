"""How many directions the features use on this data, and how much each layer moves the answer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgehone.models import Convolutional, Network

POSITIONS = 2048
"""Cells of all pictures together whose features are looked at; of more, a seeded sample is taken."""

NUDGE = 0.001
"""Relative size of the change of a layer's weights: small, so that the answer changes in proportion."""


def effective_rank(features: Tensor) -> float:
    """How many directions features ``[n, c]`` really use: 1 for constant ones, ``c`` for evenly spread ones.

    Roy and Vetterli, "The effective rank: a measure of effective dimensionality" (2007): the exponential of the
    entropy of the singular values, normalised to sum to 1. 0 for features that are all zero.
    """
    found: NDArray[np.float64] = np.linalg.svd(features.double().numpy(), compute_uv=False)
    # What is below the rounding of float32 features is no direction.
    singular = found[found > 1e-6 * found.max(initial=0)]
    shares = singular / singular.sum() if len(singular) else singular
    return float(np.exp(-(shares * np.log(shares)).sum())) if len(singular) else 0.0


@torch.no_grad()
def head_ranks(network: Network, pixels: Tensor, seed: int) -> list[tuple[int, float]]:
    """Of each head, the channels that it reads and their effective rank on pictures ``[b, 3, h, w]``."""
    read: dict[int, Tensor] = {}

    def keep(index: int) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            del module
            read[index] = inputs[0]

        return hook

    outputs = network.graph.outputs
    handles = [network.convolutions[str(index)].register_forward_pre_hook(keep(index)) for index in outputs]
    try:
        network(pixels)
    finally:
        for handle in handles:
            handle.remove()
    generator = torch.Generator().manual_seed(seed)
    found: list[tuple[int, float]] = []
    for index in outputs:
        rows = read[index].permute(0, 2, 3, 1).flatten(0, 2)
        chosen = torch.randperm(len(rows), generator=generator)[:POSITIONS]
        found.append((rows.shape[1], effective_rank(rows[chosen])))
    return found


@torch.no_grad()
def layer_sensitivity(network: Network, pixels: Tensor, seed: int) -> dict[str, float]:
    """Relative change of the heads' logits for a relative change of one layer's weights, layer by layer.

    A layer's weights are moved in a random direction (seeded) by :data:`NUDGE` of their length, all others stay; 1
    says that the answer changes as much as the weights did, 0 that the layer does not matter. The network must be in
    evaluation mode and is left as it was.
    """
    generator = torch.Generator().manual_seed(seed)
    said = _logits(network, pixels)
    found: dict[str, float] = {}
    for index, layer in enumerate(network.graph.layers):
        if not isinstance(layer, Convolutional):
            continue
        convolution = next(m for m in network.convolutions[str(index)].modules() if isinstance(m, nn.Conv2d))
        before = convolution.weight.detach().clone()
        direction = torch.randn(before.shape, generator=generator)
        convolution.weight.add_(direction * (NUDGE * _length(before) / _length(direction)))
        moved = _length(_logits(network, pixels) - said)
        convolution.weight.copy_(before)
        found[network.graph.name(index)] = round(moved / max(_length(said), 1e-12) / NUDGE, 4)
    return found


def _logits(network: Network, pixels: Tensor) -> Tensor:
    return torch.cat([head.flatten() for head in network(pixels)]).double()


def _length(values: Tensor) -> float:
    return math.sqrt(float(values.double().square().sum()))
