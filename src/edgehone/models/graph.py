"""Detectors as lists of layers, in Darknet's terms.

A :class:`Graph` is the one description that the torch network, the cost model, the ONNX export and Darknet's files
are made from. Layer indices are absolute and count from zero, as in Darknet's own printout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from edgehone.models.layers import (
    KINDS,
    Avgpool,
    Convolutional,
    Head,
    Layer,
    Maxpool,
    Pair,
    Reorg,
    Route,
    ScaleChannels,
    Shape,
    Shortcut,
    Upsample,
    both,
)
from edgehone.types import LayerCost, Size

FLOAT_BYTES = 4
MAX_CHANNELS = 1 << 20
MAX_STRIDE = 1024
"""No detector has more; without a limit a stranger's few layers could ask for numbers of thousands of digits."""
CHECKED_CELLS = 16
"""Cells of the coarsest map, each way, for which a graph is checked when it is made."""


class LayerError(ValueError):
    """A layer that cannot be; ``index`` says which."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(f"layer {index}: {message}")
        self.index = index


@dataclass(frozen=True)
class Node:
    """What is known of a layer before any input size.

    Attributes:
        inputs: indices of the layers that it reads; -1 is the picture.
        in_channels: it reads.
        channels: it gives.
        strides: pixels of the picture per cell of its output, (down, right); (0, 0) is one cell for the picture.
        receptive_field: theoretical, pixels of the picture, side of the square; 0 is the whole picture.
    """

    inputs: tuple[int, ...]
    in_channels: int
    channels: int
    strides: Pair
    receptive_field: int

    @property
    def stride(self) -> int:
        """The larger of both strides."""
        return max(self.strides)


@dataclass(frozen=True)
class Graph:
    """A detector's layers.

    Attributes:
        layers: in order.
        channels: of the picture.

    Raises:
        LayerError: on construction, for a layer that refers to a later one, joins maps that do not fit, splits
            channels unevenly, has impossible settings, or is a head without a convolution before it.
    """

    layers: tuple[Layer, ...]
    channels: int = 3

    def __post_init__(self) -> None:
        side = CHECKED_CELLS * self.coarsest
        self.shapes((side, side))

    def name(self, index: int) -> str:
        """Name of a layer in exports and tables: ``26_conv``."""
        return f"{index}_{KINDS[type(self.layers[index])]}"

    def nodes(self) -> list[Node]:
        """Channels, strides and receptive fields, layer by layer."""
        return list(self._nodes)

    @cached_property
    def _nodes(self) -> tuple[Node, ...]:
        found: list[Node] = []
        picture = Node((), 0, self.channels, (1, 1), 1)
        for index, layer in enumerate(self.layers):
            self._check_head(index, layer)
            reads = layer.reads(index)
            lowest = 0 if isinstance(layer, Route) else -1
            if not reads or any(not lowest <= i < index for i in reads):
                raise LayerError(index, f"it refers to earlier layers, 0 to {index - 1}; got {reads}")
            if any(i >= 0 and isinstance(self.layers[i], Head) for i in reads):
                raise LayerError(index, f"it reads a head, whose answers are an end of the graph: {reads}")
            node = _node(index, layer, [found[i] if i >= 0 else picture for i in reads])
            if node.channels > MAX_CHANNELS or node.stride > MAX_STRIDE:
                raise LayerError(index, f"a map has at most {MAX_CHANNELS} channels and {MAX_STRIDE} px per cell")
            found.append(node)
        return tuple(found)

    def _check_head(self, index: int, layer: Layer) -> None:
        if not isinstance(layer, Head):
            return
        before = self.layers[index - 1] if index else None
        if not isinstance(before, Convolutional):
            raise LayerError(index, f"a head reads a convolution; there is none before layer {index}")
        wanted = "logistic" if layer.new_coords else "linear"
        if layer.mask and before.activation != wanted:
            raise LayerError(
                index,
                "the convolution before a head gives logits: its activation is linear, or logistic with new_coords=1; "
                f"it is {before.activation} with new_coords={int(layer.new_coords)}",
            )
        if layer.new_coords and any(index - 1 in la.reads(i) for i, la in enumerate(self.layers) if i != index):
            raise LayerError(index, f"only this head may read layer {index - 1}: what that gives is logits")

    def shapes(self, input_size: Size) -> list[Shape]:
        """Shape of what each layer gives for a picture of ``input_size``.

        Raises:
            LayerError: maps that do not fit together, or a head whose map is not the picture over its stride.
        """
        found: list[Shape] = []
        for index, (layer, node) in enumerate(zip(self.layers, self.nodes(), strict=True)):
            sources = [found[i] if i >= 0 else (self.channels, *input_size) for i in node.inputs]
            try:
                shape = layer.shape(sources)
            except ValueError as error:
                raise LayerError(index, str(error)) from None
            cells = (shape[1] * node.strides[0], shape[2] * node.strides[1])
            if isinstance(layer, Head) and (cells != input_size or len(set(node.strides)) != 1):
                raise LayerError(
                    index,
                    f"a head has square cells that cover the picture; it has {shape[1:]} cells of {node.strides} px "
                    f"for {input_size}",
                )
            found.append(shape)
        return found

    @property
    def coarsest(self) -> int:
        """The largest stride: input sides are multiples of it."""
        return max([1, *(node.stride for node in self.nodes())])

    @property
    def outputs(self) -> tuple[int, ...]:
        """Indices of the layers whose results are the raw heads, coarse stride first."""
        nodes = self.nodes()
        ends = [i - 1 for i, layer in enumerate(self.layers) if isinstance(layer, Head)]
        return tuple(sorted(ends, key=lambda i: -nodes[i].stride))

    @property
    def heads(self) -> tuple[Head, ...]:
        """What is known of each head, in the order of :attr:`outputs`."""
        return tuple(layer for i in self.outputs if isinstance(layer := self.layers[i + 1], Head))

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels per cell of each head, in the order of :attr:`outputs`."""
        nodes = self.nodes()
        return tuple(nodes[i].stride for i in self.outputs)

    def with_classes(self, classes: int, anchors_per_head: int | None = None) -> Graph:
        """The same detector for other classes: heads and the convolutions before them, nothing else.

        Args:
            classes: of the data.
            anchors_per_head: where it differs from that of the heads' masks, which are then left open.

        Raises:
            LayerError: a head without a mask, and no ``anchors_per_head``.
        """
        layers = list(self.layers)
        for index, layer in enumerate(self.layers):
            before = layers[index - 1]
            if not isinstance(layer, Head) or not isinstance(before, Convolutional):
                continue
            count = anchors_per_head or len(layer.mask)
            if count == 0:
                raise LayerError(index, "this head does not say how many anchors it has")
            mask = layer.mask if count == len(layer.mask) else ()
            layers[index] = replace(layer, classes=classes, mask=mask)
            layers[index - 1] = replace(before, filters=count * (5 + classes))
        return Graph(tuple(layers), self.channels)

    def layer_costs(self, input_size: Size) -> list[LayerCost]:
        """Shape and cost of every layer for one picture of ``input_size`` (a multiple of the coarsest stride).

        Raises:
            ValueError: an input size that the strides do not divide, or for which the maps do not fit together.
        """
        coarsest = self.coarsest
        if input_size[0] % coarsest or input_size[1] % coarsest:
            raise ValueError(f"need sides that are multiples of {coarsest}, got {input_size=}")
        shapes = self.shapes(input_size)
        return [self._cost(i, node, shapes[i]) for i, node in enumerate(self.nodes())]

    def _cost(self, index: int, node: Node, shape: Shape) -> LayerCost:
        layer = self.layers[index]
        weights, bias = self.weights(index, node)
        macs = weights * shape[1] * shape[2] if isinstance(layer, Convolutional) else 0
        learnt = bias * 2 if isinstance(layer, Convolutional) and layer.batch_normalize else bias
        return LayerCost(
            name=self.name(index),
            kind=KINDS[type(layer)],
            output_shape=shape,
            kernel=getattr(layer, "size", 1),
            stride=max(both(getattr(layer, "stride", 1))),
            macs=macs,
            parameters=weights + learnt,
            weight_bytes=(weights + bias) * FLOAT_BYTES,
            activation_bytes=shape[0] * shape[1] * shape[2] * FLOAT_BYTES,
        )

    def weights(self, index: int, node: Node) -> Pair:
        """Numbers that a layer has learnt: its weights, and biases (one a filter)."""
        layer = self.layers[index]
        if isinstance(layer, Convolutional):
            return layer.filters * (node.in_channels // layer.groups) * layer.size**2, layer.filters
        if isinstance(layer, Shortcut):
            maps, each = layer.weight_shape(node.channels) or (0, 0)
            return maps * each, 0
        return 0, 0


def _node(index: int, layer: Layer, sources: Sequence[Node]) -> Node:
    first = sources[0]
    read = layer.reads(index)
    field = 0 if any(not s.receptive_field for s in sources) else max(s.receptive_field for s in sources)
    if isinstance(layer, ScaleChannels):
        scaled = sources[1]
        return Node(read, scaled.channels, scaled.channels, scaled.strides, scaled.receptive_field)
    if len({node.strides for node in sources}) != 1:
        raise LayerError(index, f"it joins layers of different strides: {[n.strides for n in sources]}")
    if isinstance(layer, Route):
        total = sum(node.channels for node in sources)
        return Node(read, total, total // max(layer.groups, 1), first.strides, field)
    if isinstance(layer, Avgpool):
        return Node(read, first.channels, first.channels, (0, 0), 0)
    if isinstance(layer, Convolutional | Maxpool):
        channels = layer.filters if isinstance(layer, Convolutional) else first.channels
        reach = layer.reach if isinstance(layer, Convolutional) else layer.size
        strides = _stepped(index, first.strides, both(layer.stride))
        return Node(read, first.channels, channels, strides, field and field + (reach - 1) * first.stride)
    if isinstance(layer, Reorg):
        strides = _stepped(index, first.strides, both(layer.stride))
        channels = first.channels * layer.stride**2
        return Node(read, first.channels, channels, strides, field and field + (layer.stride - 1) * first.stride)
    if isinstance(layer, Upsample):
        step = layer.stride
        if step < 1 or any(stride % step for stride in first.strides):
            raise LayerError(index, f"it cannot upsample strides of {first.strides} by {step}")
        down, right = first.strides
        return Node(read, first.channels, first.channels, (down // step, right // step), field)
    return Node(read, first.channels, first.channels, first.strides, field)


def _stepped(index: int, before: Pair, steps: Pair) -> Pair:
    if min(steps) < 1:
        raise LayerError(index, f"a stride is at least 1; it has {steps}")
    return before[0] * steps[0], before[1] * steps[1]
