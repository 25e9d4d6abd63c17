"""A graph as a torch module that can be trained."""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from edgehone.models.graph import Graph
from edgehone.models.layers import (
    Activation,
    Avgpool,
    Convolutional,
    Dropout,
    Head,
    Layer,
    Maxpool,
    Reorg,
    Route,
    Sam,
    ScaleChannels,
    Shortcut,
    Upsample,
    both,
)

LEAKY_SLOPE = 0.1
BATCH_NORM_EPS = 1e-5
"""As in Darknet's src/blas.c."""
WEIGHT_SUM_EPS = 1e-4
"""Added to the sum that a shortcut's weights are divided by (src/blas.c, shortcut_multilayer_cpu)."""


class Network(nn.Module):
    """Runs a :class:`Graph`; convolutions are kept under their layer's number, shortcuts' weights likewise.

    ``forward`` maps pictures ``[b, 3, h, w]`` (RGB in 0..1) to raw heads ``[b, A*(5+c), rows, columns]``, coarse
    stride first. Heads are logits: a ``logistic`` activation before a head belongs to its decoding.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self.nodes = graph.nodes()
        self.outputs = graph.outputs
        self.convolutions = nn.ModuleDict(
            {
                str(i): _convolution(layer, self.nodes[i].in_channels, logits=i in self.outputs)
                for i, layer in enumerate(graph.layers)
                if isinstance(layer, Convolutional)
            }
        )
        self.shortcuts = nn.ParameterDict(
            {
                str(i): nn.Parameter(torch.ones(shape))
                for i, layer in enumerate(graph.layers)
                if isinstance(layer, Shortcut) and (shape := layer.weight_shape(self.nodes[i].channels))
            }
        )
        self.last_use = _last_uses(graph)
        self.reset()

    def reset(self) -> None:
        """Fresh weights: Kaiming for leaky layers, small for heads."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, a=LEAKY_SLOPE, nonlinearity="leaky_relu")
        for index in self.outputs:
            head = self.head_convolution(index)
            nn.init.normal_(head.weight, std=0.01)
            if head.bias is not None:
                nn.init.zeros_(head.bias)

    def block(self, index: int) -> tuple[nn.Conv2d, nn.BatchNorm2d | None]:
        """A layer's convolution and its batch norm, if it has one."""
        block = self.convolutions[str(index)]
        assert isinstance(block, nn.Sequential)
        convolution, norm = block[0], block[1] if len(block) > 1 else None
        assert isinstance(convolution, nn.Conv2d)
        return convolution, norm if isinstance(norm, nn.BatchNorm2d) else None

    def head_convolution(self, index: int) -> nn.Conv2d:
        """The convolution of an output layer."""
        return self.block(index)[0]

    def head_biases(self) -> list[Tensor]:
        """The biases of the heads, coarse stride first, ``[A*(5+c)]`` each."""
        heads = [self.head_convolution(index) for index in self.outputs]
        return [head.bias for head in heads if head.bias is not None]

    def shortcut_weights(self, index: int) -> Tensor | None:
        """``[maps, 1 or c, 1, 1]``: by how much a shortcut multiplies each of its maps, None where by nothing."""
        layer = self.graph.layers[index]
        if not isinstance(layer, Shortcut) or str(index) not in self.shortcuts:
            return None
        weights = self.shortcuts[str(index)]
        if layer.normalisation == "relu":
            weights = weights.relu() / (weights.relu().sum(0) + WEIGHT_SUM_EPS)
        elif layer.normalisation == "softmax":
            raised = (weights - weights.max(0).values).exp()
            weights = raised / (raised.sum(0) + WEIGHT_SUM_EPS)
        return weights[..., None, None]

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """See the class."""
        return self.heads_and_maps(pixels)[0]

    def heads_and_maps(self, pixels: Tensor, wanted: Collection[int] = ()) -> tuple[list[Tensor], dict[int, Tensor]]:
        """The raw heads, and by its index what each ``wanted`` layer (-1: the picture) gives."""
        kept: dict[int, Tensor] = {-1: pixels}
        maps = {-1: pixels}
        heads: dict[int, Tensor] = {}
        for index, layer in enumerate(self.graph.layers):
            sources = [kept[i] for i in self.nodes[index].inputs]
            if isinstance(layer, Head):
                heads[index - 1] = sources[0]
            kept[index] = self.run_layer(index, layer, sources)
            if index in wanted:
                maps[index] = kept[index]
            for i in [i for i in kept if self.last_use.get(i, -2) <= index]:
                del kept[i]
        return [heads[i] for i in self.outputs], maps

    def run_layer(self, index: int, layer: Layer, sources: list[Tensor]) -> Tensor:
        """What one layer makes of what it reads, in the order of its node's inputs."""
        if isinstance(layer, Convolutional):
            return self.convolutions[str(index)](sources[0])
        if isinstance(layer, Route):
            return _route(layer, sources)
        if isinstance(layer, Shortcut):
            return activated(_added(sources, self.shortcut_weights(index)), layer.activation)
        if isinstance(layer, Dropout):
            return F.dropout(sources[0], layer.probability, self.training)
        return _plain(layer, sources)


def _plain(layer: Layer, sources: list[Tensor]) -> Tensor:
    """Layers without weights or state."""
    current = sources[0]
    if isinstance(layer, Maxpool):
        return _maxpool(layer, current)
    if isinstance(layer, Avgpool):
        return current.mean((2, 3), keepdim=True)
    if isinstance(layer, Upsample):
        larger = F.interpolate(current, scale_factor=float(layer.stride), mode="nearest")
        return larger if layer.scale == 1 else larger * layer.scale
    if isinstance(layer, ScaleChannels | Sam):
        return activated(current * sources[1], layer.activation)
    if isinstance(layer, Reorg):
        return reorg(current, layer.stride)
    return current


def _convolution(layer: Convolutional, in_channels: int, logits: bool) -> nn.Sequential:
    plain = not layer.batch_normalize
    convolution = nn.Conv2d(
        in_channels,
        layer.filters,
        layer.size,
        both(layer.stride),
        layer.border,
        dilation=layer.dilation,
        groups=layer.groups,
        bias=plain,
    )
    parts: list[nn.Module] = [convolution]
    if layer.batch_normalize:
        parts.append(nn.BatchNorm2d(layer.filters, eps=BATCH_NORM_EPS))
    if layer.activation != "linear" and not logits:
        parts.append(ACTIVATIONS[layer.activation]())
    return nn.Sequential(*parts)


ACTIVATIONS = {
    "linear": nn.Identity,
    "leaky": lambda: nn.LeakyReLU(LEAKY_SLOPE, inplace=True),
    "relu": lambda: nn.ReLU(inplace=True),
    "relu6": lambda: nn.ReLU6(inplace=True),
    "mish": lambda: nn.Mish(inplace=True),
    "swish": lambda: nn.SiLU(inplace=True),
    "logistic": nn.Sigmoid,
}
"""Darknet's activations; they follow a fresh result, and so may overwrite it."""


def activated(fresh: Tensor, activation: Activation) -> Tensor:
    """A result that nobody else holds, after its activation."""
    return fresh if activation == "linear" else ACTIVATIONS[activation]()(fresh)


def _route(layer: Route, sources: list[Tensor]) -> Tensor:
    if layer.groups > 1:
        widths = [source.shape[1] // layer.groups for source in sources]
        sources = [s[:, w * layer.group : w * (layer.group + 1)] for s, w in zip(sources, widths, strict=True)]
    return sources[0] if len(sources) == 1 else torch.cat(sources, dim=1)


def _maxpool(layer: Maxpool, current: Tensor) -> Tensor:
    borders = layer.borders((current.shape[1], current.shape[2], current.shape[3]))
    if any(borders):
        current = F.pad(current, borders, value=float("-inf"))
    return F.max_pool2d(current, layer.size, both(layer.stride))


def _added(sources: Sequence[Tensor], weights: Tensor | None) -> Tensor:
    parts = list(sources) if weights is None else [s * w for s, w in zip(sources, weights, strict=True)]
    width = parts[0].shape[1]
    total = parts[0]
    for part in parts[1:]:
        shared = min(width, part.shape[1])
        added = part if part.shape[1] == shared else part[:, :shared]
        total = total + (added if shared == width else F.pad(added, (0, 0, 0, 0, 0, width - shared)))
    return total


def reorg(current: Tensor, stride: int) -> Tensor:
    """``[b, c, h, w]`` to ``[b, c*s*s, h/s, w/s]`` in Darknet's order.

    Darknet takes the input's memory for a map of c/(s*s) channels that is s times as large each way, collects its
    cells by their place in blocks of s x s, and takes the result's memory for the smaller map.
    """
    batch, channels, height, width = current.shape
    blocks = current.reshape(batch, channels // stride**2, height, stride, width, stride)
    return blocks.permute(0, 3, 5, 1, 2, 4).reshape(batch, channels * stride**2, height // stride, width // stride)


def _last_uses(graph: Graph) -> dict[int, int]:
    """Layer to the last one that reads it: after that it need not be kept."""
    uses = {index: index for index in range(len(graph.layers))}
    for index, node in enumerate(graph.nodes()):
        uses.update(dict.fromkeys(node.inputs, index))
    return uses


def fold(network: Network) -> Network:
    """A copy in evaluation mode with every batch norm folded into its convolution, exactly."""
    folded = copy.deepcopy(network).eval().float()
    layers = tuple(
        replace(layer, batch_normalize=False) if isinstance(layer, Convolutional) else layer
        for layer in network.graph.layers
    )
    folded.graph = Graph(layers, network.graph.channels)
    for index, block in folded.convolutions.items():
        convolution, norm = folded.block(int(index))
        assert isinstance(block, nn.Sequential)
        if norm is not None:
            after = list(block.children())[2:]
            folded.convolutions[index] = nn.Sequential(fuse_conv_bn_eval(convolution, norm), *after)
    return folded
