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
from torch import nn

from edgehone.files import write_bytes
from edgehone.models import LEAKY_SLOPE, Convolutional, Graph, Head, Maxpool, Network, Route, Upsample, fold
from edgehone.types import Json, Size

OPSET = 13
IR_VERSION = 7
INPUT = "images"
METADATA = "edgehone"


def export_onnx(network: Network, input_size: Size, metadata: Mapping[str, Json], path: Path) -> Path:
    """Write the raw-head graph of a trained or untrained network.

    Args:
        network: its batch norms are folded here.
        input_size: ``(height, width)`` of the static input ``images`` ``[1, 3, height, width]``, RGB in 0..1.
        metadata: stored as JSON under ``edgehone`` in the graph's properties.
        path: of the file.
    """
    model = build_model(fold(network), input_size, metadata)
    onnx.checker.check_model(model)
    write_bytes(path, model.SerializeToString())
    return path


def build_model(folded: Network, input_size: Size, metadata: Mapping[str, Json]) -> onnx.ModelProto:
    """The graph of a folded network; outputs are named ``stride32``, ``stride16``."""
    builder = _Builder(folded, input_size)
    for index in range(len(folded.graph.layers)):
        builder.add(index)
    height, width = input_size
    inputs = [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [1, folded.graph.channels, height, width])]
    graph = helper.make_graph(builder.nodes, "detector", inputs, builder.outputs, builder.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="edgehone")
    model.ir_version = IR_VERSION
    helper.set_model_props(model, {METADATA: json.dumps(metadata, sort_keys=True)})
    return model


class _Builder:
    """Collects nodes, weights and outputs, layer by layer."""

    def __init__(self, network: Network, input_size: Size) -> None:
        self.network = network
        self.graph: Graph = network.graph
        self.costs = network.graph.layer_costs(input_size)
        self.names: list[str] = []
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.outputs: list[Any] = []

    def add(self, index: int) -> None:
        """Append a layer's nodes; its result is the tensor ``self.names[index]``."""
        layer = self.graph.layers[index]
        source = self.names[-1] if self.names else INPUT
        name = self.graph.name(index)
        if isinstance(layer, Convolutional):
            self.names.append(self._convolution(index, layer, source, name))
        elif isinstance(layer, Route):
            self.names.append(self._route(layer, name))
        elif isinstance(layer, Maxpool):
            self._node("MaxPool", [source], name, kernel_shape=[layer.size] * 2, strides=[layer.stride] * 2)
            self.names.append(name)
        elif isinstance(layer, Upsample):
            scales = self._constant(f"{name}_scales", np.array([1, 1, layer.stride, layer.stride], np.float32))
            self._node(
                "Resize",
                [source, "", scales],
                name,
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )
            self.names.append(name)
        else:
            self._head(index, layer, source)
            self.names.append(source)

    def _convolution(self, index: int, layer: Convolutional, source: str, name: str) -> str:
        block = self.network.convolutions[str(index)]
        assert isinstance(block, nn.Sequential)
        convolution = block[0]
        assert isinstance(convolution, nn.Conv2d)
        assert convolution.bias is not None
        weight = self._constant(f"{name}_weight", convolution.weight.detach().numpy())
        bias = self._constant(f"{name}_bias", convolution.bias.detach().numpy())
        pad = layer.size // 2
        result = name if index not in self.graph.outputs else f"stride{self._stride(index)}"
        linear = f"{name}_linear" if layer.activation == "leaky" else result
        self._node(
            "Conv",
            [source, weight, bias],
            linear,
            kernel_shape=[layer.size] * 2,
            strides=[layer.stride] * 2,
            pads=[pad] * 4,
        )
        if layer.activation == "leaky":
            self._node("LeakyRelu", [linear], result, alpha=LEAKY_SLOPE)
        return result

    def _route(self, layer: Route, name: str) -> str:
        parts: list[str] = []
        for index in layer.layers:
            part = self.names[index]
            if layer.groups > 1:
                width = self.costs[index].output_shape[0] // layer.groups
                part = self._slice(part, f"{name}_of_{index}", width * layer.group, width * (layer.group + 1))
            parts.append(part)
        if len(parts) == 1:
            return parts[0]
        self._node("Concat", parts, name, axis=1)
        return name

    def _slice(self, source: str, name: str, start: int, end: int) -> str:
        limits = {"start": start, "end": end, "axis": 1}
        constants = [self._constant(f"{name}_{k}", np.array([v], np.int64)) for k, v in limits.items()]
        self._node("Slice", [source, *constants], name)
        return name

    def _head(self, index: int, layer: Head, source: str) -> None:
        del layer
        shape = [1, *self.costs[index].output_shape]
        self.outputs.append(helper.make_tensor_value_info(source, TensorProto.FLOAT, shape))

    def _stride(self, index: int) -> int:
        return self.network.nodes[index].stride

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
