"""What each board can run: limits are data."""

from __future__ import annotations

from edgehone.errors import UsageError
from edgehone.space import Settings


class Board(Settings):
    """Hardware and its runtime.

    Attributes:
        name: as on the command line.
        runtime: that runs the graph.
        precisions: of arithmetic that edgehone can deploy.
        operators: of ONNX that the exported graphs may use.
        max_opset: newest ONNX opset that is exported for it.
        notes: for people.
    """

    name: str
    runtime: str
    precisions: tuple[str, ...]
    operators: tuple[str, ...]
    max_opset: int
    notes: str


BOARDS: dict[str, Board] = {
    "cpu": Board(
        name="cpu",
        runtime="ONNX Runtime",
        precisions=("fp32",),
        operators=("Conv", "LeakyRelu", "Slice", "Concat", "MaxPool", "Resize"),
        max_opset=13,
        notes="this machine; latency is really measured",
    )
}
"""Boards by name."""


def board(name: str) -> Board:
    """The board of this name.

    Raises:
        UsageError: there is none.
    """
    if name not in BOARDS:
        raise UsageError(f"the boards are {', '.join(BOARDS)}; {name!r} is not one that edgehone can deploy on yet")
    return BOARDS[name]
