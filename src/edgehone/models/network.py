"""A graph as a torch module that can be trained."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from edgehone.models.graph import Convolutional, Graph, Head, Maxpool, Route, Upsample

LEAKY_SLOPE = 0.1
BATCH_NORM_EPS = 1e-5
"""As in Darknet's src/blas.c."""


class Network(nn.Module):
    """Runs a :class:`Graph`; convolutions are kept under their layer's number.

    ``forward`` maps pictures ``[b, 3, h, w]`` (RGB in 0..1) to raw heads ``[b, A*(5+c), rows, columns]`` in
    Darknet's order, coarse stride first.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self.nodes = graph.nodes()
        self.convolutions = nn.ModuleDict(
            {
                str(i): _convolution(layer, self.nodes[i].in_channels)
                for i, layer in enumerate(graph.layers)
                if isinstance(layer, Convolutional)
            }
        )
        self.last_use = _last_uses(graph)
        self.reset()

    def reset(self) -> None:
        """Fresh weights: Kaiming for leaky layers, small for heads."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, a=LEAKY_SLOPE, nonlinearity="leaky_relu")
        for index in self.graph.outputs:
            head = self.head_convolution(index)
            nn.init.normal_(head.weight, std=0.01)
            if head.bias is not None:
                nn.init.zeros_(head.bias)

    def head_convolution(self, index: int) -> nn.Conv2d:
        """The convolution of an output layer."""
        block = self.convolutions[str(index)]
        assert isinstance(block, nn.Sequential)
        head = block[0]
        assert isinstance(head, nn.Conv2d)
        return head

    def head_biases(self) -> list[Tensor]:
        """The biases of the heads, coarse stride first, ``[A*(5+c)]`` each."""
        heads = [self.head_convolution(index) for index in self.graph.outputs]
        return [head.bias for head in heads if head.bias is not None]

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """See the class."""
        kept: dict[int, Tensor] = {}
        current = pixels
        heads: list[Tensor] = []
        for index, layer in enumerate(self.graph.layers):
            if isinstance(layer, Head):
                heads.append(current)
            elif isinstance(layer, Route):
                current = _route(layer, [kept[i] for i in layer.layers])
            elif isinstance(layer, Maxpool):
                current = F.max_pool2d(current, layer.size, layer.stride)
            elif isinstance(layer, Upsample):
                current = F.interpolate(current, scale_factor=float(layer.stride), mode="nearest")
            else:
                current = self.convolutions[str(index)](current)
            kept[index] = current
            for i in [i for i in kept if self.last_use.get(i, -1) <= index]:
                del kept[i]
        return heads


def _convolution(layer: Convolutional, in_channels: int) -> nn.Sequential:
    padding = layer.size // 2
    plain = not layer.batch_normalize
    parts: list[nn.Module] = [nn.Conv2d(in_channels, layer.filters, layer.size, layer.stride, padding, bias=plain)]
    if layer.batch_normalize:
        parts.append(nn.BatchNorm2d(layer.filters, eps=BATCH_NORM_EPS))
    if layer.activation == "leaky":
        parts.append(nn.LeakyReLU(LEAKY_SLOPE, inplace=True))
    return nn.Sequential(*parts)


def _route(layer: Route, sources: list[Tensor]) -> Tensor:
    if layer.groups > 1:
        widths = [source.shape[1] // layer.groups for source in sources]
        sources = [s[:, w * layer.group : w * (layer.group + 1)] for s, w in zip(sources, widths, strict=True)]
    return sources[0] if len(sources) == 1 else torch.cat(sources, dim=1)


def _last_uses(graph: Graph) -> dict[int, int]:
    """Layer to the last route that reads it: after that it need not be kept."""
    uses: dict[int, int] = {}
    for index, layer in enumerate(graph.layers):
        if isinstance(layer, Route):
            uses.update(dict.fromkeys(layer.layers, index))
    return uses


def fold(network: Network) -> Network:
    """A copy in evaluation mode with every batch norm folded into its convolution, exactly."""
    source = copy.deepcopy(network).eval().float()
    layers = tuple(
        replace(layer, batch_normalize=False) if isinstance(layer, Convolutional) else layer
        for layer in network.graph.layers
    )
    folded = Network(Graph(layers, network.graph.channels)).eval()
    for index, layer in enumerate(network.graph.layers):
        if not isinstance(layer, Convolutional):
            continue
        block, target = source.convolutions[str(index)], folded.convolutions[str(index)]
        assert isinstance(block, nn.Sequential)
        assert isinstance(target, nn.Sequential)
        convolution = block[0]
        assert isinstance(convolution, nn.Conv2d)
        norm = block[1] if layer.batch_normalize else None
        target[0] = fuse_conv_bn_eval(convolution, norm) if isinstance(norm, nn.BatchNorm2d) else convolution
    return folded
