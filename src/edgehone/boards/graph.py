"""A graph as plain values: what the rules about operators are asked about.

Nothing here knows ONNX's own classes; :mod:`edgehone.deploy.graph_nodes` makes these from a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Shape = tuple[int | str | None, ...]
"""Lengths of the axes; a name or None where a length is not fixed."""

Attribute = int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]

Numbers = tuple[float, ...]


@dataclass(frozen=True)
class GraphNode:
    """One operation.

    Attributes:
        name: as in the graph, or that of its first output where it has none.
        op: ONNX's name of the operator.
        inputs: names of tensors, "" where an optional one is left out.
        outputs: names of tensors.
        attributes: by name.
        input_shapes: as far as they are known, in the order of ``inputs``.
        output_shapes: likewise.
        constants: index of every input that is a constant; its numbers where they are few, else None.
        domain: of the operator; "" is ONNX's own.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict[str, Attribute])
    input_shapes: tuple[Shape | None, ...] = ()
    output_shapes: tuple[Shape | None, ...] = ()
    constants: Mapping[int, Numbers | None] = field(default_factory=dict[int, Numbers | None])
    domain: str = ""

    def numbers(self, attribute: str) -> Numbers | None:
        """A numeric attribute as a tuple; None where it is not given."""
        value = self.attributes.get(attribute)
        if value is None:
            return None
        several = value if isinstance(value, tuple) else (value,)
        return tuple(float(item) for item in several)

    def given(self, index: int) -> bool:
        """Whether the input of this index is there."""
        return index < len(self.inputs) and self.inputs[index] != ""

    def shape(self, index: int = 0) -> Shape | None:
        """Of an input, None where it is not known."""
        return self.input_shapes[index] if index < len(self.input_shapes) else None


@dataclass(frozen=True)
class GraphDescription:
    """A whole graph.

    Attributes:
        nodes: in order.
        opset: of ONNX's own operators.
        ir_version: of the file format.
        inputs: name to shape of what is fed at every run (no weights).
        parameter_bytes: of all constants.
    """

    nodes: tuple[GraphNode, ...]
    opset: int
    ir_version: int
    inputs: Mapping[str, Shape]
    parameter_bytes: int = 0
