"""The ONNX graph of a detector, made node by node from its own list of layers.

One master graph: raw heads, static shape, batch 1, batch norm folded, no Split and no suppression. It depends on
the graph and the weights only, not on a tracing exporter, so that operators and opset are chosen here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgehone.errors import UsageError
from edgehone.files import write_bytes
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
    fold,
)
from edgehone.models.layers import Activation, both
from edgehone.types import Json, Size

OPSET = 13
IR_VERSIONS = {11: 6, 13: 7}
"""Opset to the version of the file format that came with it; later ones are refused by older runtimes."""
INPUT = "images"
METADATA = "edgehone"


def export_onnx(
    network: Network, input_size: Size, metadata: Mapping[str, Json], path: Path, opset: int = OPSET
) -> Path:
    """Write the raw-head graph of a trained or untrained network.

    Args:
        network: its batch norms are folded here.
        input_size: ``(height, width)`` of the static input ``images`` ``[1, 3, height, width]``, RGB in 0..1.
        metadata: stored as JSON under ``edgehone`` in the graph's properties.
        path: of the file.
        opset: 13, or 11 for runtimes that know no later one.

    Raises:
        UsageError: another opset.
    """
    model = build_model(fold(network), input_size, metadata, opset)
    onnx.checker.check_model(model)
    write_bytes(path, model.SerializeToString())
    return path


def build_model(folded: Network, input_size: Size, metadata: Mapping[str, Json], opset: int = OPSET) -> onnx.ModelProto:
    """The graph of a folded network; outputs are named ``stride32``, ``stride16``, coarse first."""
    if opset not in IR_VERSIONS:
        raise UsageError(f"graphs are written at opset {' or '.join(map(str, IR_VERSIONS))}, got {opset}")
    builder = _Builder(folded, input_size, opset)
    for index in range(len(folded.graph.layers)):
        builder.add(index)
    height, width = input_size
    inputs = [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [1, folded.graph.channels, height, width])]
    outputs = [builder.output(index) for index in folded.graph.outputs]
    graph = helper.make_graph(builder.nodes, "detector", inputs, outputs, builder.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="edgehone")
    model.ir_version = IR_VERSIONS[opset]
    helper.set_model_props(model, {METADATA: json.dumps(metadata, sort_keys=True)})
    return model


class _Builder:
    """Collects nodes and weights, layer by layer."""

    def __init__(self, network: Network, input_size: Size, opset: int) -> None:
        self.network = network
        self.graph: Graph = network.graph
        self.opset = opset
        self.outputs = network.graph.outputs
        self.reads = [node.inputs for node in network.nodes]
        self.picture = (network.graph.channels, *input_size)
        self.shapes = network.graph.shapes(input_size)
        self.names: list[str] = []
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def output(self, index: int) -> Any:
        """The description of a head: name and shape."""
        return helper.make_tensor_value_info(self.names[index], TensorProto.FLOAT, [1, *self.shapes[index]])

    def add(self, index: int) -> None:
        """Append a layer's nodes; its result is the tensor ``self.names[index]``."""
        layer = self.graph.layers[index]
        name = self.graph.name(index)
        sources = [self.names[i] if i >= 0 else INPUT for i in self.reads[index]]
        self.names.append(self._layer(index, layer, sources, name))

    def _layer(self, index: int, layer: Layer, sources: list[str], name: str) -> str:
        if isinstance(layer, Convolutional):
            return self._convolution(index, layer, sources[0], name)
        if isinstance(layer, Route):
            return self._route(layer, sources, name)
        if isinstance(layer, Shortcut):
            return self._shortcut(index, layer, sources, name)
        if isinstance(layer, Maxpool):
            return self._maxpool(index, layer, sources[0], name)
        if isinstance(layer, Avgpool):
            return self._node("GlobalAveragePool", sources, name)
        if isinstance(layer, Upsample):
            return self._upsample(layer, sources[0], name)
        if isinstance(layer, ScaleChannels | Sam):
            product = self._node("Mul", sources, _before(name, layer.activation))
            return self._activation(layer.activation, product, name)
        if isinstance(layer, Reorg):
            return self._reorg(index, layer, sources[0], name)
        assert isinstance(layer, Dropout | Head), layer
        return sources[0]

    def _convolution(self, index: int, layer: Convolutional, source: str, name: str) -> str:
        convolution, _ = self.network.block(index)
        assert convolution.bias is not None
        weight = self._constant(f"{name}_weight", convolution.weight.detach().numpy())
        bias = self._constant(f"{name}_bias", convolution.bias.detach().numpy())
        is_head = index in self.outputs
        result = f"stride{self.network.nodes[index].stride}" if is_head else name
        activation: Activation = "linear" if is_head else layer.activation
        linear = self._node(
            "Conv",
            [source, weight, bias],
            _before(result, activation),
            kernel_shape=[layer.size] * 2,
            strides=list(both(layer.stride)),
            pads=[layer.border] * 4,
            dilations=[layer.dilation] * 2,
            group=layer.groups,
        )
        return self._activation(activation, linear, result)

    def _activation(self, activation: Activation, source: str, name: str) -> str:
        if activation == "leaky":
            return self._node("LeakyRelu", [source], name, alpha=LEAKY_SLOPE)
        if activation == "relu":
            return self._node("Relu", [source], name)
        if activation == "relu6":
            limits = [self._constant(f"{name}_{k}", np.array(v, np.float32)) for k, v in (("low", 0), ("high", 6))]
            return self._node("Clip", [source, *limits], name)
        if activation == "logistic":
            return self._node("Sigmoid", [source], name)
        if activation == "swish":
            gate = self._node("Sigmoid", [source], f"{name}_gate")
            return self._node("Mul", [source, gate], name)
        if activation == "mish":
            soft = self._node("Softplus", [source], f"{name}_soft")
            gate = self._node("Tanh", [soft], f"{name}_gate")
            return self._node("Mul", [source, gate], name)
        return source

    def _route(self, layer: Route, sources: list[str], name: str) -> str:
        parts: list[str] = []
        for index, source in zip(layer.layers, sources, strict=True):
            part = source
            if layer.groups > 1:
                width = self.shapes[index][0] // layer.groups
                part = self._slice(part, f"{name}_of_{index}", width * layer.group, width * (layer.group + 1))
            parts.append(part)
        return parts[0] if len(parts) == 1 else self._node("Concat", parts, name, axis=1)

    def _slice(self, source: str, name: str, start: int, end: int) -> str:
        limits = {"start": start, "end": end, "axis": 1}
        constants = [self._constant(f"{name}_{k}", np.array([v], np.int64)) for k, v in limits.items()]
        return self._node("Slice", [source, *constants], name)

    def _shortcut(self, index: int, layer: Shortcut, sources: list[str], name: str) -> str:
        weights = self.network.shortcut_weights(index)
        if weights is not None:
            tables = weights.detach().numpy()[:, None]
            constants = [self._constant(f"{name}_weight{k}", table) for k, table in enumerate(tables)]
            pairs = enumerate(zip(sources, constants, strict=True))
            sources = [self._node("Mul", [s, c], f"{name}_weighed{k}") for k, (s, c) in pairs]
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
            source = self._slice(source, f"{name}_first", 0, have)
        if come >= have:
            return self._node("Add", [total, source], name)
        first = self._slice(total, f"{name}_first", 0, come)
        rest = self._slice(total, f"{name}_rest", come, have)
        added = self._node("Add", [first, source], f"{name}_added")
        return self._node("Concat", [added, rest], name, axis=1)

    def _maxpool(self, index: int, layer: Maxpool, source: str, name: str) -> str:
        before = self.reads[index][0]
        left, right, above, below = layer.borders(self.shapes[before] if before >= 0 else self.picture)
        pads: dict[str, Any] = {"pads": [above, left, below, right]} if any((left, right, above, below)) else {}
        return self._node(
            "MaxPool", [source], name, kernel_shape=[layer.size] * 2, strides=list(both(layer.stride)), **pads
        )

    def _upsample(self, layer: Upsample, source: str, name: str) -> str:
        scales = self._constant(f"{name}_scales", np.array([1, 1, layer.stride, layer.stride], np.float32))
        # Before opset 13 the region of interest is no optional input, although nearest neighbours ignore it.
        region = "" if self.opset >= OPSET else self._constant(f"{name}_region", np.zeros(0, np.float32))
        larger = self._node(
            "Resize",
            [source, region, scales],
            name if layer.scale == 1 else f"{name}_larger",
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
        if layer.scale == 1:
            return larger
        factor = self._constant(f"{name}_factor", np.array(layer.scale, np.float32))
        return self._node("Mul", [larger, factor], name)

    def _reorg(self, index: int, layer: Reorg, source: str, name: str) -> str:
        channels, height, width = self.shapes[index]
        s = layer.stride
        blocks = np.array([1, channels // s**4, height * s, s, width * s, s], np.int64)
        parted = self._node("Reshape", [source, self._constant(f"{name}_blocks", blocks)], f"{name}_parted")
        moved = self._node("Transpose", [parted], f"{name}_moved", perm=[0, 3, 5, 1, 2, 4])
        shape = self._constant(f"{name}_shape", np.array([1, channels, height, width], np.int64))
        return self._node("Reshape", [moved, shape], name)

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output


def _before(name: str, activation: Activation) -> str:
    """Name of a result that an activation still follows."""
    return name if activation == "linear" else f"{name}_linear"
