"""The graph with explicit rounding, as TensorRT 8 reads it: Q and DQ around what convolutions read.

Activations have one step a tensor, weights one an output channel, all of them symmetric; biases stay real. The parser
wants weights as real constants behind a QuantizeLinear of their own, not as whole numbers. A convolution and its
activation stay together (Q, DQ, Conv, LeakyRelu, Q, DQ); what only moves numbers (MaxPool, Slice, Resize) keeps the
step of what it reads; raw heads leave unrounded. Not for the DLA, which reads no such graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from edgehone.deploy.jetson.calibration_cache import LEVELS, range_of
from edgehone.deploy.onnx_graph.nodes import NodeList
from edgehone.errors import UsageError

LEAST_OPSET = 13
"""The first with a step for each channel."""

ACTIVATIONS = ("LeakyRelu", "Relu", "Clip")
ROUNDED = (*ACTIVATIONS, "Add", "Mul", "Concat")
"""Operators whose results are rounded, beside convolutions without an activation behind them."""


def with_explicit_rounding(master: onnx.ModelProto, amax: Mapping[str, float]) -> onnx.ModelProto:
    """A raw-head graph with QuantizeLinear and DequantizeLinear.

    Args:
        master: it is not changed.
        amax: largest magnitude of every tensor that is rounded.

    Raises:
        UsageError: an opset below 13.
        EdgehoneError: a tensor without a range.
    """
    opset = next(item.version for item in master.opset_import if item.domain == "")
    if opset < LEAST_OPSET:
        raise UsageError(f"steps for each channel need opset {LEAST_OPSET} or later; the graph is of {opset}")
    model = onnx.ModelProto()
    model.CopyFrom(master)
    weights = {item.name: item for item in model.graph.initializer}
    rounded = set(rounded_tensors(model))
    writer = NodeList()
    for item in model.graph.input:
        if item.name in rounded:
            _pair(writer, item.name, np.float32(range_of(item.name, amax) / LEVELS))
    for node in model.graph.node:
        copied = onnx.NodeProto()
        copied.CopyFrom(node)
        copied.input[:] = [_held(name) if name in rounded else name for name in node.input]
        if node.op_type == "Conv":
            copied.input[1] = _weights(writer, weights[node.input[1]])
        writer.nodes.append(copied)
        if node.output[0] in rounded:
            _pair(writer, node.output[0], np.float32(range_of(node.output[0], amax) / LEVELS))
    del model.graph.node[:]
    model.graph.node.extend(writer.nodes)
    model.graph.initializer.extend(writer.weights)
    return model


def rounded_tensors(model: onnx.ModelProto) -> list[str]:
    """The tensors that get a pair."""
    readers: dict[str, list[str]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node.op_type)
    constants = {item.name for item in model.graph.initializer}
    found = [item.name for item in model.graph.input if item.name not in constants]
    for node in model.graph.node:
        by = readers.get(node.output[0], [])
        ends_here = node.op_type in ROUNDED or (node.op_type == "Conv" and not set(by) <= set(ACTIVATIONS))
        if by and ends_here:
            found.append(node.output[0])
    return found


def _held(name: str) -> str:
    """What is read in place of a rounded tensor."""
    return f"{name}_held"


def _pair(writer: NodeList, name: str, step: Any, **axis: int) -> str:
    """Q and DQ of a tensor; the name of what comes out."""
    steps = np.asarray(step, np.float32)
    scale = writer.constant(f"{name}_step", steps)
    zero = writer.constant(f"{name}_zero", np.zeros(steps.shape, np.int8))
    whole = writer.node("QuantizeLinear", [name, scale, zero], f"{name}_int8", **axis)
    return writer.node("DequantizeLinear", [whole, scale, zero], _held(name), **axis)


def _weights(writer: NodeList, constant: onnx.TensorProto) -> str:
    values = numpy_helper.to_array(constant)
    largest = np.abs(values).reshape(len(values), -1).max(1)
    return _pair(writer, constant.name, np.where(largest > 0, largest, 1) / LEVELS, axis=0)
