"""Detectors as lists of layers, in Darknet's terms.

A :class:`Graph` is the one description that the torch network, the cost model and the ONNX export are made
from. Layer indices are absolute and count from zero, as in Darknet's own printout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edgehone.types import LayerCost, Size

Activation = Literal["linear", "leaky"]

FLOAT_BYTES = 4


@dataclass(frozen=True)
class Convolutional:
    """A convolution of ``filters`` kernels of side ``size``, padded by half of it; leaky slope 0.1."""

    filters: int
    size: int
    stride: int = 1
    batch_normalize: bool = True
    activation: Activation = "leaky"


@dataclass(frozen=True)
class Route:
    """Channels of earlier layers, concatenated in the order given; of each only part ``group`` of ``groups``."""

    layers: tuple[int, ...]
    groups: int = 1
    group: int = 0


@dataclass(frozen=True)
class Maxpool:
    """The largest value of each window."""

    size: int = 2
    stride: int = 2


@dataclass(frozen=True)
class Upsample:
    """Nearest-neighbour enlargement."""

    stride: int = 2


@dataclass(frozen=True)
class Head:
    """The place of a ``[yolo]`` layer: the layer before it is an output of the graph."""


Layer = Convolutional | Route | Maxpool | Upsample | Head

KINDS: dict[type, str] = {
    Convolutional: "conv",
    Route: "route",
    Maxpool: "maxpool",
    Upsample: "upsample",
    Head: "head",
}


@dataclass(frozen=True)
class Node:
    """What is known of a layer before any input size.

    Attributes:
        inputs: indices of the layers that it reads; -1 is the picture.
        in_channels: it reads.
        channels: it gives.
        stride: pixels of the picture per cell of its output.
        receptive_field: theoretical, pixels of the picture, side of the square.
    """

    inputs: tuple[int, ...]
    in_channels: int
    channels: int
    stride: int
    receptive_field: int


@dataclass(frozen=True)
class Graph:
    """A detector's layers.

    Attributes:
        layers: in order.
        channels: of the picture.

    Raises:
        ValueError: on construction, for a layer that refers to a later one, splits channels unevenly, has a size or
            stride that would give another shape than stated here, or is a head without a convolution before it.
    """

    layers: tuple[Layer, ...]
    channels: int = 3

    def __post_init__(self) -> None:
        self.nodes()

    def name(self, index: int) -> str:
        """Name of a layer in exports and tables: ``26_conv``."""
        return f"{index}_{KINDS[type(self.layers[index])]}"

    def nodes(self) -> list[Node]:
        """Channels, strides and receptive fields, layer by layer."""
        found: list[Node] = []
        for index, layer in enumerate(self.layers):
            if isinstance(layer, Head) and (index == 0 or not isinstance(self.layers[index - 1], Convolutional)):
                raise ValueError(f"a head reads a convolution; there is none before layer {index}")
            found.append(_node(index, layer, found, self.channels))
        return found

    @property
    def outputs(self) -> tuple[int, ...]:
        """Indices of the layers whose results are the raw heads, in Darknet's order."""
        return tuple(i - 1 for i, layer in enumerate(self.layers) if isinstance(layer, Head))

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels per cell of each head."""
        nodes = self.nodes()
        return tuple(nodes[i].stride for i in self.outputs)

    def layer_costs(self, input_size: Size) -> list[LayerCost]:
        """Shape and cost of every layer for one picture of ``input_size`` (a multiple of the coarsest stride).

        Raises:
            ValueError: an input size that the strides do not divide.
        """
        coarsest = max(node.stride for node in self.nodes())
        if input_size[0] % coarsest or input_size[1] % coarsest:
            raise ValueError(f"need sides that are multiples of {coarsest}, got {input_size=}")
        return [self._cost(i, node, input_size) for i, node in enumerate(self.nodes())]

    def _cost(self, index: int, node: Node, input_size: Size) -> LayerCost:
        layer = self.layers[index]
        height, width = input_size[0] // node.stride, input_size[1] // node.stride
        weights = parameters = 0
        if isinstance(layer, Convolutional):
            weights = layer.filters * node.in_channels * layer.size**2
            parameters = weights + layer.filters * (2 if layer.batch_normalize else 1)
        bias = layer.filters if isinstance(layer, Convolutional) else 0
        return LayerCost(
            name=self.name(index),
            kind=KINDS[type(layer)],
            output_shape=(node.channels, height, width),
            kernel=getattr(layer, "size", 1),
            stride=getattr(layer, "stride", 1),
            macs=weights * height * width,
            parameters=parameters,
            weight_bytes=(weights + bias) * FLOAT_BYTES,
            activation_bytes=node.channels * height * width * FLOAT_BYTES,
        )


def _node(index: int, layer: Layer, before: Sequence[Node], picture_channels: int) -> Node:
    if isinstance(layer, Route):
        return _route_node(index, layer, before)
    _check_sides(index, layer)
    last = before[-1] if before else Node((), 0, picture_channels, 1, 1)
    read = (index - 1,)
    if isinstance(layer, Convolutional | Maxpool):
        channels = layer.filters if isinstance(layer, Convolutional) else last.channels
        field = last.receptive_field + (layer.size - 1) * last.stride
        return Node(read, last.channels, channels, last.stride * layer.stride, field)
    if isinstance(layer, Upsample):
        if last.stride % layer.stride:
            raise ValueError(f"layer {index} cannot upsample a stride of {last.stride} by {layer.stride}")
        return Node(read, last.channels, last.channels, last.stride // layer.stride, last.receptive_field)
    return Node(read, last.channels, last.channels, last.stride, last.receptive_field)


def _check_sides(index: int, layer: Layer) -> None:
    """Refuse sizes and strides for which the shape of the result is not simply the input's over the stride."""
    if isinstance(layer, Convolutional) and (layer.filters < 1 or layer.size < 1 or layer.size % 2 == 0):
        raise ValueError(f"a convolution has filters and an odd size; layer {index} is {layer}")
    # Darknet pads a pool whose windows overlap; until that is built such a pool would silently shrink its map.
    if isinstance(layer, Maxpool) and layer.size != layer.stride:
        raise ValueError(f"a maxpool's windows do not overlap: size equals stride; layer {index} is {layer}")
    if isinstance(layer, Convolutional | Maxpool | Upsample) and layer.stride < 1:
        raise ValueError(f"a stride is at least 1; layer {index} is {layer}")


def _route_node(index: int, layer: Route, before: Sequence[Node]) -> Node:
    if not layer.layers or any(not 0 <= i < index for i in layer.layers):
        raise ValueError(f"a route refers to earlier layers, 0 to {index - 1} for layer {index}; got {layer.layers}")
    sources = [before[i] for i in layer.layers]
    if len({node.stride for node in sources}) != 1:
        raise ValueError(f"layer {index} joins layers of different strides: {[n.stride for n in sources]}")
    if not 0 <= layer.group < layer.groups or any(node.channels % layer.groups for node in sources):
        raise ValueError(f"layer {index} cannot take part {layer.group} of {layer.groups} of its channels")
    total = sum(node.channels for node in sources)
    field = max(node.receptive_field for node in sources)
    return Node(layer.layers, total, total // layer.groups, sources[0].stride, field)
