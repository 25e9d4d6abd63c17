"""Zero-cost scores: numbers that are said to tell, before any training, how much a network can express.

Each claims something of its own, none claims to be an accuracy, and both grow with the size of a network: they
compare networks on one data set, and are facts for people. No rule leans on them.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgehone.models import Convolutional, Layer, Network


def synflow(network: Network) -> float:
    """Logarithm (base 10) of the synaptic flow: how much all paths from the picture to the heads can carry together.

    Tanaka, Kunin, Yamins, Ganguli, "Pruning neural networks without any data by iteratively conserving synaptic
    flow" (2020), used as a score of whole networks by Abdelfattah et al., "Zero-cost proxies for lightweight NAS"
    (2021): the sum over all weights of weight x gradient, with every weight made positive, batch norms left out and
    a picture of ones. It sees no data. Claims: a network through which more flows trains to a higher accuracy.
    """
    positive = copy.deepcopy(network).double().eval().requires_grad_(True)
    _make_positive(positive)
    side = 2 * max(positive.graph.strides)
    heads = positive(torch.ones(1, positive.graph.channels, side, side, dtype=torch.float64))
    weights = [module.weight for module in positive.modules() if isinstance(module, nn.Conv2d)]
    slopes = torch.autograd.grad(torch.stack([head.sum() for head in heads]).sum(), weights)
    flow = sum(float((weight.detach() * slope).sum()) for weight, slope in zip(weights, slopes, strict=True))
    return math.log10(flow)


@torch.no_grad()
def _make_positive(network: Network) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
            module.eps = 0.0
        elif isinstance(module, nn.Conv2d):
            module.weight.abs_()
            if module.bias is not None:
                module.bias.zero_()


@torch.no_grad()
def naswot(network: Network, pixels: Tensor) -> float | None:
    """Log-determinant of the kernel of activation patterns of these pictures, ``[b, 3, h, w]``.

    Mellor, Turner, Storkey, Crowley, "Neural architecture search without training" (2021): each picture switches
    the rectifiers on or off; two pictures are as alike as they have switches in common. Claims: a network that tells
    the pictures of a batch apart in its switches can learn to tell them apart. For a detector all switches of all
    cells count, so that it also tells where things are. None where two pictures switch the same.
    """
    count = len(pixels)
    alike = torch.zeros(count, count, dtype=torch.float64)

    def compare(module: nn.Module, inputs: Any, output: Tensor) -> None:
        del module, inputs
        signs = torch.where(output.flatten(1) > 0, 1.0, -1.0)
        alike.add_((signs @ signs.T).double().add_(signs.shape[1]).div_(2))

    handles = [block.register_forward_hook(compare) for block in _rectified(network)]
    try:
        network(pixels)
    finally:
        for handle in handles:
            handle.remove()
    value = float(np.linalg.slogdet(alike.numpy())[1])
    return value if math.isfinite(value) else None


def _rectified(network: Network) -> list[nn.Module]:
    """The convolutions that switch, with their activation."""
    layers = network.graph.layers
    return [block for key, block in network.convolutions.items() if _activation(layers[int(key)]) != "linear"]


def _activation(layer: Layer) -> str:
    return layer.activation if isinstance(layer, Convolutional) else "linear"
