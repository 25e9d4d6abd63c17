"""Which input sizes a board rules out, each with its reason: limits only, no advice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from edgehone.boards.board import BYTES, Board, Precision
from edgehone.space import Forbid
from edgehone.types import LayerCost

Costs = Callable[[int], Sequence[LayerCost]]
"""Layer costs of the network at a square input of this side."""

SIZE = "input.size"


def size_limits(board: Board, sides: Sequence[int], costs: Costs, precision: Precision | None = None) -> list[Forbid]:
    """The sizes that a board's scaler or memory rules out.

    Args:
        board: to run on.
        sides: of square inputs, in pixels.
        costs: of the network by input size.
        precision: of weights and maps; None is what a bundle delivers.
    """
    return [*_beyond_the_scaler(board, sides), *_beyond_the_memory(board, sides, costs, precision or board.delivered)]


def _beyond_the_scaler(board: Board, sides: Sequence[int]) -> Iterator[Forbid]:
    limit = min(board.input_limits) if board.input_limits is not None else max(sides, default=0)
    large = tuple(side for side in sides if side > limit)
    if large:
        yield Forbid(
            path=SIZE,
            values=large,
            because=f"{board.name} scales pictures to at most {limit} px",
            evidence={"input_limits": list(board.input_limits or ()), "source": board.sources["input_limits"]},
        )


def _beyond_the_memory(board: Board, sides: Sequence[int], costs: Costs, precision: Precision) -> Iterator[Forbid]:
    limit = board.memory.model_bytes or board.memory.total_bytes
    if limit is None:
        return
    needed = {side: bytes_needed(costs(side), precision, maps=board.memory.model_bytes is None) for side in sides}
    heavy = {side: size for side, size in needed.items() if size > limit}
    if heavy:
        yield Forbid(
            path=SIZE,
            values=tuple(heavy),
            because=f"{board.name} has {limit / 1e6:.0f} MB for a model, in {precision}",
            evidence={"bytes": {str(side): size for side, size in heavy.items()}, "source": board.memory.source},
        )


def bytes_needed(costs: Sequence[LayerCost], precision: Precision, *, maps: bool) -> int:
    """Weights, and with ``maps`` the largest result beside what it is made from (as large again, at least)."""
    floats = sum(cost.weight_bytes for cost in costs)
    if maps:
        floats += 2 * max((cost.activation_bytes for cost in costs), default=0)
    return floats * BYTES[precision] // BYTES["fp32"]
