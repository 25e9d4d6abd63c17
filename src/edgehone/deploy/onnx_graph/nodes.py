"""Nodes and constants of a graph that is being written."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper, numpy_helper


class NodeList:
    """Collects nodes and constants in order; every node is called after its result.

    Attributes:
        nodes: as ONNX has them.
        weights: constants, likewise.
    """

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """A new constant; its name."""
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """A new node with one result; the name of that."""
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output
