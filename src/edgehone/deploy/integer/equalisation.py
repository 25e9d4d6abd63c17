"""Channels of one tensor brought to like ranges, without changing what a network says.

Where an activation f has f(s x) = s f(x) for s > 0, a channel may be divided by s in the convolution that makes it and
multiplied by s in all convolutions that read it. M. Nagel et al., "Data-free quantization through weight equalization
and bias correction" (ICCV 2019), choose s so that both ranges become equal. They balance the rows of one layer's
weights with the columns of the next; here every row has a step of its own already, and what shares a step are the
channels of the result, so their ranges are balanced with the columns.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from edgehone.deploy.integer.tensors import Seen, tensor_name
from edgehone.models import Avgpool, Convolutional, Dropout, Graph, Layer, Maxpool, Network, Route, Upsample

HOMOGENEOUS = frozenset({"leaky", "relu", "linear"})
ROUNDS = 4
LARGEST = 64.0
"""Bound of a factor: a channel that is nearly dead must not become the loudest."""
FIXED = -1

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Channels:
    """Which channels may be scaled, and who reads them.

    Attributes:
        made: convolution to the numbers of its channels.
        read: convolution to the number of each channel that it reads, :data:`FIXED` for those that may not change.
        count: of numbers.
    """

    made: Mapping[int, Ids]
    read: Mapping[int, Ids]
    count: int


def equalised(folded: Network, seen: Seen) -> Network | None:
    """A copy with like ranges in the channels of a tensor, None where no channel may be scaled.

    Args:
        folded: the network, batch norms folded.
        seen: what passed its tensors.
    """
    channels = trace(folded.graph)
    if not channels.made:
        return None
    network = copy.deepcopy(folded)
    peaks = np.zeros(channels.count)
    for index, ids in channels.made.items():
        peaks[ids] = seen.histograms[tensor_name(folded.graph, index)].channel_peaks
    for _ in range(ROUNDS):
        columns = _column_peaks(network, channels)
        usable = (peaks > 0) & (columns > 0)
        ratio = np.divide(peaks, columns, out=np.ones_like(peaks), where=usable)
        factors = np.clip(np.sqrt(ratio / np.median(ratio)), 1 / LARGEST, LARGEST)
        factors[~usable] = 1.0
        _scale(network, channels, factors)
        peaks /= factors
    return network


def trace(graph: Graph) -> Channels:
    """Follow every channel from the convolution that makes it to those that read it."""
    made: dict[int, Ids] = {}
    read: dict[int, Ids] = {}
    fixed: set[int] = set()
    held: dict[int, Ids] = {-1: np.full(graph.channels, FIXED)}
    count = 0
    for index, (layer, node) in enumerate(zip(graph.layers, graph.nodes(), strict=True)):
        sources = [held[i] for i in node.inputs]
        if isinstance(layer, Convolutional):
            read[index] = sources[0]
            ids = np.full(layer.filters, FIXED)
            if layer.activation in HOMOGENEOUS and index not in graph.outputs:
                ids = made[index] = np.arange(count, count + layer.filters)
                count += layer.filters
            held[index] = ids
        elif (kept := _kept(layer, sources)) is not None:
            held[index] = kept
        else:  # sums, products, heads: what they read must stay as it is
            fixed.update(int(i) for source in sources for i in source)
            held[index] = np.full(node.channels, FIXED)
    stay = np.array(sorted(fixed | {FIXED}))
    free = {i: ids for i, ids in made.items() if not np.isin(ids, stay).any()}
    usable = np.concatenate([np.zeros(0, np.int64), *free.values()])
    return Channels(free, {i: np.where(np.isin(ids, usable), ids, FIXED) for i, ids in read.items()}, count)


def _kept(layer: Layer, sources: list[Ids]) -> Ids | None:
    """Numbers of the channels that a layer hands on one by one; None for a layer that mixes them."""
    if isinstance(layer, Maxpool | Avgpool | Upsample | Dropout):
        return sources[0]
    if isinstance(layer, Route):
        widths = [len(source) // layer.groups for source in sources]
        parts = [s[w * layer.group : w * (layer.group + 1)] for s, w in zip(sources, widths, strict=True)]
        return np.concatenate(parts)
    return None


def _column_peaks(network: Network, channels: Channels) -> NDArray[np.float64]:
    """Largest weight that each channel meets, over all its readers."""
    peaks = np.zeros(channels.count)
    for index, ids in channels.read.items():
        columns = np.abs(_by_column(network, index).detach().numpy()).max(axis=(1, 2, 3)).astype(np.float64)
        free = ids != FIXED
        np.maximum.at(peaks, ids[free], columns[free])
    return peaks


def _by_column(network: Network, index: int) -> torch.Tensor:
    """``[i, o / groups, k, k]`` view of a convolution's weights ``[o, i / groups, k, k]``."""
    weights = network.block(index)[0].weight
    groups = network.block(index)[0].groups
    out, width, *kernel = weights.shape
    grouped = weights.view(groups, out // groups, width, *kernel).transpose(1, 2)
    return grouped.reshape(groups * width, out // groups, *kernel)


@torch.no_grad()
def _scale(network: Network, channels: Channels, factors: NDArray[np.float64]) -> None:
    for index, ids in channels.made.items():
        convolution = network.block(index)[0]
        by = torch.from_numpy(factors[ids]).float()
        convolution.weight /= by[:, None, None, None]
        if convolution.bias is not None:
            convolution.bias /= by
    for index, ids in channels.read.items():
        convolution = network.block(index)[0]
        by = torch.from_numpy(np.where(ids == FIXED, 1.0, factors[ids])).float()
        groups, width = convolution.groups, convolution.weight.shape[1]
        rows = convolution.out_channels // groups
        convolution.weight *= by.view(groups, 1, width).repeat(1, rows, 1).view(groups * rows, width)[:, :, None, None]
