"""Our ONNX graph with explicit rounding: QuantizeLinear and DequantizeLinear around what is held in 8 bits.

A runtime that knows the pattern replaces it by integer kernels: ONNX Runtime on the CPU does, TensorRT likewise. What
each of them wants differs, and is said by the :class:`~edgehone.deploy.integer.scheme.Scheme` of its board. TensorRT's
is not for the DLA, which reads no such graph.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgehone.deploy.integer.bias_correction import corrected
from edgehone.deploy.integer.kernels import weight_steps, whole_bias, whole_weights
from edgehone.deploy.integer.plan import Plan
from edgehone.deploy.integer.scheme import LEVELS, Scheme
from edgehone.deploy.integer.tensors import before_activation, tensor_name
from edgehone.deploy.onnx_graph import build_model
from edgehone.errors import UsageError
from edgehone.models import Convolutional, Graph, Network
from edgehone.types import Json, Size

LEAST_OPSET = 13
"""The first with a step for each channel of a constant."""


@dataclass(frozen=True)
class Rounding:
    """What of a graph is rounded to 8 bits.

    Attributes:
        scheme: its ``rounding`` (of weights), ``bias``, ``graph_weights`` and ``pair_per_reader`` count.
        steps: tensor name to the real size of its step; every other tensor stays real.
        reads: likewise, for convolutions with whole weights that read a tensor which stays real.
        plain: names of convolutions whose weights stay real.
        unsigned: results are written as uint8 about 128 instead of int8 about 0: the same numbers, for a runtime whose
            kernels want them so.
    """

    scheme: Scheme
    steps: Mapping[str, float]
    reads: Mapping[str, float] = field(default_factory=dict[str, float])
    plain: Collection[str] = ()
    unsigned: bool = False


def rounding_of(plan: Plan, graph: Graph) -> Rounding:
    """A plan, said of the tensors of the exported graph.

    Raises:
        UsageError: it holds numbers in 16 whole bits, or a head in parts: this graph has neither.
    """
    steps: dict[str, float] = {}
    reads: dict[str, float] = {}
    plain: list[str] = []
    formats = plan.formats(graph)
    for index, form in formats.items():
        name = tensor_name(graph, index)
        if form.precision == "int16" or (form.step is not None and form.step.ndim):
            raise UsageError(f"a graph with explicit rounding holds tensors in 8 bits of one step; {name} is not such")
        if form.step is not None:
            steps[name] = float(form.step)
        layer = graph.layers[index] if index >= 0 else None
        if not isinstance(layer, Convolutional):
            continue
        between = before_activation(graph, index)
        if between != name and form.step is not None and not plan.scheme.fuses_activation:
            steps[between] = plan.scheme.step(plan.amax[between])
        source = layer.reads(index)[0]
        if plan.weight_precision(index) not in LEVELS:
            plain.append(between)
        elif formats[source].step is None:
            read = tensor_name(graph, source)
            reads[read] = plan.scheme.step(plan.amax[read])
    return Rounding(plan.scheme, steps, reads, plain)


def rounded_model(
    folded: Network, input_size: Size, metadata: Mapping[str, Json], plan: Plan, *, unsigned: bool = False
) -> onnx.ModelProto:
    """The exported graph with a plan's rounding in it; ``unsigned``: see :class:`Rounding`.

    Raises:
        UsageError: see :func:`rounding_of`.
    """
    rounding = replace(rounding_of(plan, folded.graph), unsigned=unsigned)
    return insert_rounding(build_model(corrected(folded, plan), input_size, metadata), rounding)


def insert_rounding(model: onnx.ModelProto, rounding: Rounding) -> onnx.ModelProto:
    """A graph of :func:`edgehone.deploy.onnx_graph.build_model` with Q/DQ pairs; inputs and outputs keep their names.

    Weights become int8 with a step for each output channel; biases int32 or, for ``bias="float"``, stay.

    Raises:
        UsageError: an opset below 13, or a step of a tensor that the graph does not have.
    """
    opset = next(item.version for item in model.opset_import if item.domain == "")
    if opset < LEAST_OPSET:
        raise UsageError(f"steps for each channel need opset {LEAST_OPSET} or later; the graph is of {opset}")
    changed = _Inserter(model, rounding).run()
    onnx.checker.check_model(changed)
    return changed


class _Inserter:
    """Writes the nodes of a graph anew, with pairs between them; every reader has a DequantizeLinear of its own."""

    def __init__(self, model: onnx.ModelProto, rounding: Rounding) -> None:
        self.model = model
        self.rounding = rounding
        self.constants = {item.name: item for item in model.graph.initializer}
        self.outputs = {item.name for item in model.graph.output}
        self.nodes: list[Any] = []
        self.made: set[str] = set()  # QuantizeLinear nodes that are there
        self.pairs: Counter[str] = Counter()

    def run(self) -> onnx.ModelProto:
        graph = self.model.graph
        known = {item.name for item in graph.input} | {name for node in graph.node for name in node.output}
        strangers = sorted({*self.rounding.steps, *self.rounding.reads, *self.rounding.plain} - known)
        if strangers:
            raise UsageError(f"the graph has no tensors {', '.join(strangers[:5])}")
        for node in graph.node:
            self._copy(node)
        changed = onnx.ModelProto()
        changed.CopyFrom(self.model)
        del changed.graph.node[:]
        changed.graph.node.extend(self.nodes)
        used = {name for node in self.nodes for name in node.input}
        del changed.graph.initializer[:]
        changed.graph.initializer.extend(item for name, item in self.constants.items() if name in used)
        return changed

    def _copy(self, node: Any) -> None:
        copied = onnx.NodeProto()
        copied.CopyFrom(node)
        for place, name in enumerate(map(str, node.input)):
            if name in self.rounding.steps:
                copied.input[place] = self._pair(name, self.rounding.steps[name], f"{name}_for_{node.output[0]}")
        if node.op_type == "Conv" and node.output[0] not in self.rounding.plain:
            self._round_constants(node, copied)
        self.nodes.append(copied)
        for place, name in enumerate(map(str, node.output)):
            if name in self.rounding.steps and name in self.outputs:
                copied.output[place] = self._real(name)
                self._pair(name, self.rounding.steps[name], name)

    def _round_constants(self, node: Any, copied: Any) -> None:
        scheme, source = self.rounding.scheme, str(node.input[0])
        step = self.rounding.steps.get(source) or self.rounding.reads.get(source)
        if step is None:
            raise UsageError(f"{node.output[0]} has whole weights, so {source} that it reads needs a step, too")
        if source not in self.rounding.steps:
            copied.input[0] = self._pair(source, step, f"{source}_for_{node.output[0]}")
        weight, bias = (_tensor(self.constants[name]) for name in node.input[1:3])
        steps = weight_steps(weight, bias, step, scheme)
        if scheme.graph_weights == "real":
            copied.input[1] = self._rounded_constant(str(node.input[1]), steps)
        else:
            whole = whole_weights(weight, steps, scheme).numpy().astype(np.int8)
            copied.input[1] = self._constant_pair(str(node.input[1]), whole, steps)
        if scheme.bias == "int32":
            products = torch.tensor(step) * steps
            offset = whole_bias(bias, products, scheme).numpy().astype(np.int32)
            copied.input[2] = self._constant_pair(str(node.input[2]), offset, products)

    def _real(self, name: str) -> str:
        """Name of a tensor before it is rounded: outputs keep theirs for what leaves the graph."""
        return f"{name}_real" if name in self.outputs and name in self.rounding.steps else name

    def _pair(self, name: str, step: float, result: str) -> str:
        """``result``: tensor ``name`` after rounding."""
        count = self.pairs[name] if self.rounding.scheme.pair_per_reader else 0
        scale = self._constant(f"{name}_step", np.array(step, np.float32))
        middle = np.array(128, np.uint8) if self.rounding.unsigned else np.array(0, np.int8)
        zero = self._constant(f"{name}_zero", middle)
        whole = f"{name}_whole{count or ''}"
        if whole not in self.made:
            # An axis means nothing to a single step, but keeps ONNX Runtime from joining equal nodes again.
            apart: dict[str, Any] = {"axis": count % 8 - 4} if count else {}
            inputs = [self._real(name), scale, zero]
            self.nodes.append(helper.make_node("QuantizeLinear", inputs, [whole], name=whole, **apart))
            self.made.add(whole)
        self.pairs[name] += 1
        return self._dequantise([whole, scale, zero], result)

    def _dequantise(self, inputs: list[str], result: str, **attributes: Any) -> str:
        node = helper.make_node("DequantizeLinear", inputs, [result], name=f"{result}_from_whole", **attributes)
        self.nodes.append(node)
        return result

    def _rounded_constant(self, name: str, steps: torch.Tensor) -> str:
        """A real constant, and what rounds it to 8 bits."""
        scale = self._constant(f"{name}_steps", steps.numpy())
        zeros = self._constant(f"{name}_zeros", np.zeros(len(steps), np.int8))
        whole = f"{name}_whole"
        self.nodes.append(helper.make_node("QuantizeLinear", [name, scale, zeros], [whole], name=whole, axis=0))
        return self._dequantise([whole, scale, zeros], f"{name}_held", axis=0)

    def _constant_pair(self, name: str, whole: NDArray[Any], steps: torch.Tensor) -> str:
        inputs = [
            self._constant(f"{name}_whole", whole),
            self._constant(f"{name}_steps", steps.numpy()),
            self._constant(f"{name}_zeros", np.zeros(len(steps), whole.dtype)),
        ]
        return self._dequantise(inputs, f"{name}_held", axis=0)

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name


def _tensor(constant: Any) -> torch.Tensor:
    return torch.from_numpy(numpy_helper.to_array(constant).copy())
