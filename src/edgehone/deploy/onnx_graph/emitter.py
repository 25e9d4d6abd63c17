"""From layers to nodes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from onnx import TensorProto, helper

from edgehone.deploy.onnx_graph.form import INPUT, OPSET, GraphForm, output_name, part_channels
from edgehone.deploy.onnx_graph.nodes import NodeList
from edgehone.errors import UsageError
from edgehone.models import (
    LEAKY_SLOPE,
    Avgpool,
    Convolutional,
    Dropout,
    Graph,
    Head,
    Layer,
    Maxpool,
    Network,
    Reorg,
    Route,
    Sam,
    ScaleChannels,
    Shortcut,
    Upsample,
)
from edgehone.models.layers import Activation, both
from edgehone.types import Size

NORM_EPS = 1e-5
"""ONNX's own default: every reader of the graph knows it."""

Part = tuple[str, int]
"""Name and channels of some of a layer's channels."""


class Emitter(NodeList):
    """Writes a folded network's nodes, layer by layer, in a form.

    What a layer gives is one tensor, or several that hold its channels one after the other.
    """

    def __init__(self, network: Network, input_size: Size, opset: int, form: GraphForm) -> None:
        super().__init__()
        self.network = network
        self.graph: Graph = network.graph
        self.opset = opset
        self.form = form
        self.ends = network.graph.outputs
        self.reads = [node.inputs for node in network.nodes]
        self.picture = (network.graph.channels, *input_size)
        self.shapes = network.graph.shapes(input_size)
        self.parts: dict[int, list[Part]] = {-1: [(self._picture(), network.graph.channels)]}
        self.wholes: dict[int, str] = {}
        self.cuts = _cuts(network, self.shapes) if form.slice_free else {}
        self._results: dict[int, list[Any]] = {}

    def outputs(self) -> list[Any]:
        """Descriptions of the graph's results, coarse head first."""
        return [result for index in self.ends for result in self._results[index]]

    def add(self, index: int) -> None:
        """Append a layer's nodes."""
        layer, name = self.graph.layers[index], self.graph.name(index)
        if isinstance(layer, Route):
            self.parts[index] = self._route(index, layer, name)
        elif isinstance(layer, Convolutional):
            self.parts[index] = self._convolution(index, layer, name)
        elif isinstance(layer, Dropout | Head):
            self.parts[index] = self.parts[self.reads[index][0]]
        else:
            sources = [self._whole(i) for i in self.reads[index]]
            self.parts[index] = [(self._layer(index, layer, sources, name), self.shapes[index][0])]

    def _picture(self) -> str:
        """The input as the network knows it: RGB in 0..1."""
        if self.form.restore is None:
            return INPUT
        channels = self.network.graph.channels
        scale, shift = self.form.restore
        spread = 1 - NORM_EPS  # so that the square root of spread and epsilon is 1
        numbers = {"scale": scale, "shift": shift, "mean": 0.0, "spread": spread}
        tables = [self.constant(f"restored_{k}", np.full(channels, v, np.float32)) for k, v in numbers.items()]
        return self.node("BatchNormalization", [INPUT, *tables], "restored", epsilon=NORM_EPS)

    def _whole(self, index: int) -> str:
        """All channels of a layer in one tensor."""
        parts = self._parts(index)
        if len(parts) == 1:
            return parts[0][0]
        if index not in self.wholes:
            self.wholes[index] = self._joined(parts, f"{self.graph.name(index)}_whole")[0]
        return self.wholes[index]

    def _parts(self, index: int) -> list[Part]:
        if not self.parts[index]:
            raise UsageError(f"a head in parts has no raw output, but layer {index} is read by another layer, too")
        return self.parts[index]

    def _joined(self, parts: list[Part], name: str) -> Part:
        joined = self.node("Concat", [part for part, _ in parts], name, axis=1)
        return joined, sum(width for _, width in parts)

    def _layer(self, index: int, layer: Layer, sources: list[str], name: str) -> str:
        if isinstance(layer, Shortcut):
            return self._shortcut(index, layer, sources, name)
        if isinstance(layer, Maxpool):
            return self._maxpool(index, layer, sources[0], name)
        if isinstance(layer, Avgpool):
            return self.node("GlobalAveragePool", sources, name)
        if isinstance(layer, Upsample):
            return self._upsample(layer, sources[0], name)
        if isinstance(layer, ScaleChannels | Sam):
            product = self.node("Mul", sources, _before(name, layer.activation))
            return self._activation(layer.activation, product, name)
        assert isinstance(layer, Reorg), layer
        return self._reorg(index, layer, sources[0], name)

    def _convolution(self, index: int, layer: Convolutional, name: str) -> list[Part]:
        convolution, _ = self.network.block(index)
        assert convolution.bias is not None
        weight, bias = convolution.weight.detach(), convolution.bias.detach()
        source = self._whole(self.reads[index][0])
        if index in self.ends:
            return self._head(index, source, weight, bias)
        edges = [0, *self.cuts.get(index, ()), layer.filters]
        if len(edges) == 2:
            linear = self._conv(source, (weight, bias), layer, (name, _before(name, layer.activation)))
            return [(self._activation(layer.activation, linear, name), layer.filters)]
        parts: list[Part] = []
        for k, (start, end) in enumerate(pairwise(edges)):
            of_part = f"{name}_part{k}"
            some = (weight[start:end], bias[start:end])
            linear = self._conv(source, some, layer, (of_part, _before(of_part, layer.activation)))
            parts.append((self._activation(layer.activation, linear, of_part), end - start))
        return parts

    def _head(self, index: int, source: str, weight: torch.Tensor, bias: torch.Tensor) -> list[Part]:
        """The outputs of a head; what another layer could read of it."""
        layer, stride = self.graph.layers[index], self.network.nodes[index].stride
        name, shape = self.graph.name(index), self.shapes[index]
        assert isinstance(layer, Convolutional)
        if self.form.classes is None:
            raw = self._conv(source, (weight, bias), layer, (name, output_name(stride)))
            self._result(index, raw, shape)
            return [(raw, shape[0])]
        for part, channels in part_channels(shape[0], self.form.classes).items():
            some = (weight[channels], bias[channels])
            said = self._conv(source, some, layer, (f"{name}_{part}", output_name(stride, part)))
            self._result(index, said, (len(channels), *shape[1:]))
        return []

    def _result(self, index: int, name: str, shape: tuple[int, ...]) -> None:
        described = helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, *shape])
        self._results.setdefault(index, []).append(described)

    def _conv(
        self, source: str, numbers: tuple[torch.Tensor, torch.Tensor], layer: Convolutional, names: tuple[str, str]
    ) -> str:
        """A convolution of these weights and biases; ``names``: of its constants, and of its result."""
        of_constants, result = names
        weight = self.constant(f"{of_constants}_weight", numbers[0].numpy())
        bias = self.constant(f"{of_constants}_bias", numbers[1].numpy())
        return self.node(
            "Conv",
            [source, weight, bias],
            result,
            kernel_shape=[layer.size] * 2,
            strides=list(both(layer.stride)),
            pads=[layer.border] * 4,
            dilations=[layer.dilation] * 2,
            group=layer.groups,
        )

    def _activation(self, activation: Activation, source: str, name: str) -> str:
        if activation == "leaky":
            return self.node("LeakyRelu", [source], name, alpha=LEAKY_SLOPE)
        if activation == "relu":
            return self.node("Relu", [source], name)
        if activation == "relu6":
            limits = [self.constant(f"{name}_{k}", np.array(v, np.float32)) for k, v in (("low", 0), ("high", 6))]
            return self.node("Clip", [source, *limits], name)
        if activation == "logistic":
            return self.node("Sigmoid", [source], name)
        if activation == "swish":
            gate = self.node("Sigmoid", [source], f"{name}_gate")
            return self.node("Mul", [source, gate], name)
        if activation == "mish":
            soft = self.node("Softplus", [source], f"{name}_soft")
            gate = self.node("Tanh", [soft], f"{name}_gate")
            return self.node("Mul", [source, gate], name)
        return source

    def _route(self, index: int, layer: Route, name: str) -> list[Part]:
        if layer.groups == 1:
            found = [part for i in layer.layers for part in self._parts(i)]
            return found if len(layer.layers) == 1 else [self._joined(found, name)]
        found = [part for i in layer.layers for part in self._group(i, layer, f"{name}_of_{i}")]
        return found if len(found) == 1 else [self._joined(found, name)]

    def _group(self, index: int, layer: Route, name: str) -> list[Part]:
        """The channels of a layer that a route takes."""
        channels = self.shapes[index][0]
        width = channels // layer.groups
        start, end = width * layer.group, width * (layer.group + 1)
        if index not in self.cuts:
            return [(self._some(self._whole(index), channels, (start, end), name), width)]
        edges = np.cumsum([0, *(part_width for _, part_width in self.parts[index])])
        return [part for part, edge in zip(self.parts[index], edges, strict=False) if start <= edge < end]

    def _some(self, source: str, channels: int, limits: tuple[int, int], name: str) -> str:
        """Channels from the first limit to the second of a map that has so many."""
        if self.form.slice_free:  # by zeros and ones: exact, as every other product is zero
            kernel = np.eye(channels, dtype=np.float32)[slice(*limits), :, None, None]
            return self.node("Conv", [source, self.constant(f"{name}_weight", kernel)], name, kernel_shape=[1, 1])
        numbers = dict(zip(("start", "end", "axis"), (*limits, 1), strict=True))
        constants = [self.constant(f"{name}_{k}", np.array([v], np.int64)) for k, v in numbers.items()]
        return self.node("Slice", [source, *constants], name)

    def _shortcut(self, index: int, layer: Shortcut, sources: list[str], name: str) -> str:
        weights = self.network.shortcut_weights(index)
        if weights is not None:
            tables = weights.detach().numpy()[:, None]
            constants = [self.constant(f"{name}_weight{k}", table) for k, table in enumerate(tables)]
            pairs = enumerate(zip(sources, constants, strict=True))
            sources = [self.node("Mul", [s, c], f"{name}_weighed{k}") for k, (s, c) in pairs]
        widths = [self.shapes[i][0] if i >= 0 else self.picture[0] for i in self.reads[index]]
        total = sources[0]
        for k, (source, width) in enumerate(zip(sources[1:], widths[1:], strict=True), start=1):
            last = k == len(sources) - 1
            result = _before(name, layer.activation) if last else f"{name}_sum{k}"
            total = self._add(total, source, (widths[0], width), result)
        return self._activation(layer.activation, total, name)

    def _add(self, total: str, source: str, widths: tuple[int, int], name: str) -> str:
        """``total`` plus ``source``, whose channels beyond the shared ones count for nothing."""
        have, come = widths
        if come > have:
            source = self._some(source, come, (0, have), f"{name}_first")
        if come >= have:
            return self.node("Add", [total, source], name)
        first = self._some(total, have, (0, come), f"{name}_first")
        rest = self._some(total, have, (come, have), f"{name}_rest")
        added = self.node("Add", [first, source], f"{name}_added")
        return self.node("Concat", [added, rest], name, axis=1)

    def _maxpool(self, index: int, layer: Maxpool, source: str, name: str) -> str:
        before = self.reads[index][0]
        left, right, above, below = layer.borders(self.shapes[before] if before >= 0 else self.picture)
        pads: dict[str, Any] = {"pads": [above, left, below, right]} if any((left, right, above, below)) else {}
        return self.node(
            "MaxPool", [source], name, kernel_shape=[layer.size] * 2, strides=list(both(layer.stride)), **pads
        )

    def _upsample(self, layer: Upsample, source: str, name: str) -> str:
        larger = name if layer.scale == 1 else f"{name}_larger"
        factors = {larger: (layer.stride, layer.stride)}
        if self.form.one_axis_resize:
            factors = {f"{name}_taller": (layer.stride, 1), larger: (1, layer.stride)}
        for result, sides in factors.items():
            # Constants are called after the layer where one step does it all, which keeps the master's bytes.
            constants = name if len(factors) == 1 else result
            scales = self.constant(f"{constants}_scales", np.array([1, 1, *sides], np.float32))
            # Before opset 13 the region of interest is no optional input, although nearest neighbours ignore it.
            region = "" if self.opset >= OPSET else self.constant(f"{constants}_region", np.zeros(0, np.float32))
            source = self.node(
                "Resize",
                [source, region, scales],
                result,
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )
        if layer.scale == 1:
            return source
        factor = self.constant(f"{name}_factor", np.array(layer.scale, np.float32))
        return self.node("Mul", [source, factor], name)

    def _reorg(self, index: int, layer: Reorg, source: str, name: str) -> str:
        channels, height, width = self.shapes[index]
        s = layer.stride
        blocks = np.array([1, channels // s**4, height * s, s, width * s, s], np.int64)
        parted = self.node("Reshape", [source, self.constant(f"{name}_blocks", blocks)], f"{name}_parted")
        moved = self.node("Transpose", [parted], f"{name}_moved", perm=[0, 3, 5, 1, 2, 4])
        shape = self.constant(f"{name}_shape", np.array([1, channels, height, width], np.int64))
        return self.node("Reshape", [moved, shape], name)


def _before(name: str, activation: Activation) -> str:
    """Name of a result that an activation still follows."""
    return name if activation == "linear" else f"{name}_linear"


def _cuts(network: Network, shapes: list[tuple[int, int, int]]) -> dict[int, list[int]]:
    """Convolutions whose channels some route takes apart, and where; one in groups of its own is left whole."""
    found: dict[int, set[int]] = {}
    layers = network.graph.layers
    for route in layers:
        if not isinstance(route, Route) or route.groups == 1:
            continue
        for index in route.layers:
            layer = layers[index]
            if isinstance(layer, Convolutional) and layer.groups == 1 and index not in network.graph.outputs:
                width = shapes[index][0] // route.groups
                found.setdefault(index, set()).update((width * route.group, width * (route.group + 1)))
    return {index: sorted(cuts - {0, shapes[index][0]}) for index, cuts in found.items()}
