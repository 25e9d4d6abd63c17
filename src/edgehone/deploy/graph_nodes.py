"""An ONNX model as plain values, for the rules about operators."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import onnx
from onnx import helper, numpy_helper, shape_inference

from edgehone.boards import GraphDescription, GraphNode
from edgehone.boards.graph import Attribute, Numbers, Shape

FEW = 64
"""Constants of at most this many numbers are kept with their values."""

ROUNDING = ("QuantizeLinear", "DequantizeLinear")


def describe_graph(model: onnx.ModelProto) -> GraphDescription:
    """Nodes, shapes and constants of a model; shapes are inferred where the file does not say them.

    Nodes without a name get that of their first output.
    """
    inferred = shape_inference.infer_shapes(model)
    graph = inferred.graph
    constants = {item.name: _numbers(item) for item in graph.initializer}
    for node in graph.node:  # a constant that is rounded in the graph stays one, to every reader of Q/DQ graphs
        if node.op_type in ROUNDING and all(name in constants for name in node.input):
            constants |= dict.fromkeys(map(str, node.output))
    shapes = {item.name: _shape(item) for item in (*graph.value_info, *graph.input, *graph.output)}
    shapes |= {item.name: tuple(int(side) for side in item.dims) for item in graph.initializer}
    return GraphDescription(
        nodes=tuple(_node(node, shapes, constants) for node in graph.node),
        opset=_opset(inferred.opset_import),
        ir_version=int(inferred.ir_version),
        inputs={item.name: _shape(item) or () for item in graph.input if item.name not in constants},
        parameter_bytes=sum(_bytes(item) for item in graph.initializer),
    )


def _node(node: Any, shapes: Mapping[str, Shape | None], constants: Mapping[str, Numbers | None]) -> GraphNode:
    inputs = tuple(str(name) for name in node.input)
    outputs = tuple(str(name) for name in node.output)
    return GraphNode(
        name=str(node.name) or outputs[0],
        op=str(node.op_type),
        inputs=inputs,
        outputs=outputs,
        attributes={str(item.name): _attribute(helper.get_attribute_value(item)) for item in node.attribute},
        input_shapes=tuple(shapes.get(name) for name in inputs),
        output_shapes=tuple(shapes.get(name) for name in outputs),
        constants={i: constants[name] for i, name in enumerate(inputs) if name in constants},
        domain=str(node.domain),
    )


def _attribute(value: Any) -> Attribute:
    """Numbers and texts as they are; tensors and subgraphs as the name of their kind."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, int | float | str):
        return value
    if isinstance(value, Iterable) and not isinstance(value, onnx.TensorProto):
        several: list[Any] = list(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        return tuple(item.decode("utf-8", "replace") if isinstance(item, bytes) else item for item in several)
    return type(value).__name__


def _shape(item: Any) -> Shape | None:
    kind = item.type.tensor_type
    if not kind.HasField("shape"):
        return None
    return tuple(
        int(side.dim_value) if side.HasField("dim_value") else (str(side.dim_param) or None) for side in kind.shape.dim
    )


def _numbers(item: Any) -> Numbers | None:
    if math.prod(int(side) for side in item.dims) > FEW:
        return None
    return tuple(float(number) for number in numpy_helper.to_array(item).ravel().tolist())


def _bytes(item: Any) -> int:
    return math.prod(int(side) for side in item.dims) * helper.tensor_dtype_to_np_dtype(item.data_type).itemsize


def _opset(imports: Iterable[Any]) -> int:
    return next((int(item.version) for item in imports if item.domain in ("", "ai.onnx")), 1)
