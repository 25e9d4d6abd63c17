"""Biases that make good what rounded weights add on average.

A weight that was rounded adds its error times what it reads to every sum. What it reads has a mean, most of all in the
first layer and behind a ReLU, so errors of one channel add up to a shift that is the same for every place of every
picture. The bias takes it away, at no cost when the network runs: the bias correction of M. Nagel et al., "Data-free
quantization through weight equalization and bias correction" (ICCV 2019), with means that calibration pictures show.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgehone.deploy.integer.kernels import held_weights
from edgehone.deploy.integer.plan import Plan
from edgehone.deploy.integer.scheme import LEVELS
from edgehone.deploy.integer.tensors import tensor_name
from edgehone.models import Convolutional, Network


def corrected(folded: Network, plan: Plan) -> Network:
    """A copy whose biases fit the weights as a plan rounds them; the network itself where the plan has no means.

    Args:
        folded: the network, batch norms folded.
        plan: its ``means`` are those of the network in fp32.
    """
    if not plan.means:
        return folded
    network, formats = copy.deepcopy(folded), plan.formats(folded.graph)
    for index, layer in enumerate(folded.graph.layers):
        if not isinstance(layer, Convolutional) or plan.weight_precision(index) not in LEVELS:
            continue
        convolution, source = network.block(index)[0], network.nodes[index].inputs[0]
        name = tensor_name(folded.graph, source)
        read = plan.read_format(name, formats[source])
        assert convolution.bias is not None
        weights, bias = convolution.weight.detach(), convolution.bias.detach()
        held = held_weights(weights, bias, read, plan.scheme)
        bias -= mean_sums(held - weights, plan.means[name])
    return network


def mean_sums(weights: Tensor, means: NDArray[np.float64]) -> Tensor:
    """``[o]``: what a convolution with weights ``[o, i / groups, k, k]`` gives on average, of channels of these means.

    Borders, where it reads zeros, are left out.
    """
    out, width = weights.shape[:2]
    groups = len(means) // width
    read = torch.from_numpy(means).view(groups, 1, width).expand(groups, out // groups, width).reshape(out, width)
    return (weights.double().sum((2, 3)) * read).sum(1).float()
