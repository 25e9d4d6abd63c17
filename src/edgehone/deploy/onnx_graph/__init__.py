"""The ONNX graph of a detector, made node by node from its own list of layers.

One master graph: raw heads, static shape, batch 1, batch norm folded, no Split and no suppression. It depends on
the graph and the weights only, not on a tracing exporter, so that operators and opset are chosen here. Boards that
want the same said in another way get another :class:`GraphForm` of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from edgehone.deploy.onnx_graph.emitter import Emitter
from edgehone.deploy.onnx_graph.form import (
    INPUT,
    IR_VERSIONS,
    MASTER,
    METADATA,
    OPSET,
    PARTS,
    GraphForm,
    output_name,
    part_channels,
    whole_name,
)
from edgehone.errors import UsageError
from edgehone.files import write_bytes
from edgehone.models import Network, fold
from edgehone.types import Json, Size


def export_onnx(
    network: Network, input_size: Size, metadata: Mapping[str, Json], path: Path, opset: int = OPSET
) -> Path:
    """Write the raw-head graph of a trained or untrained network.

    Args:
        network: its batch norms are folded here.
        input_size: ``(height, width)`` of the static input ``images`` ``[1, 3, height, width]``, RGB in 0..1.
        metadata: stored as JSON under ``edgehone`` in the graph's properties.
        path: of the file.
        opset: 13, or 11 or 12 for runtimes that know no later one.

    Raises:
        UsageError: another opset.
    """
    model = build_model(fold(network), input_size, metadata, opset)
    onnx.checker.check_model(model)
    write_bytes(path, model.SerializeToString())
    return path


def build_model(
    folded: Network,
    input_size: Size,
    metadata: Mapping[str, Json],
    opset: int = OPSET,
    form: GraphForm = MASTER,
) -> onnx.ModelProto:
    """The graph of a folded network; outputs are named ``stride32``, ``stride16``, coarse first.

    Raises:
        UsageError: an opset that is not written, or a form that the network does not have.
    """
    if opset not in IR_VERSIONS:
        raise UsageError(f"graphs are written at opset {', '.join(map(str, IR_VERSIONS))}, got {opset}")
    emitter = Emitter(folded, input_size, opset, form)
    for index in range(len(folded.graph.layers)):
        emitter.add(index)
    shape = [1, folded.graph.channels, *input_size]
    inputs = [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, shape)]
    graph = helper.make_graph(emitter.nodes, "detector", inputs, emitter.outputs(), emitter.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="edgehone")
    model.ir_version = IR_VERSIONS[opset]
    helper.set_model_props(model, {METADATA: json.dumps(metadata, sort_keys=True)})
    return model


__all__ = [
    "INPUT",
    "IR_VERSIONS",
    "MASTER",
    "METADATA",
    "OPSET",
    "PARTS",
    "GraphForm",
    "build_model",
    "export_onnx",
    "output_name",
    "part_channels",
    "whole_name",
]
