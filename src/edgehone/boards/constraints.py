"""Which searchable values a board rules out, each with its reason: limits only, no advice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from edgehone.boards.board import BYTES, Board, Precision
from edgehone.boards.latency import LatencyModel
from edgehone.boards.operator_rules import CheckOptions, rules_for
from edgehone.boards.rule import ANY
from edgehone.space import Forbid
from edgehone.types import LayerCost

Costs = Callable[[int], Sequence[LayerCost]]
"""Layer costs of the network at a square input of this side."""

Values = Mapping[str, Sequence[float | int | bool | str]]

OPERATORS: dict[str, dict[str, tuple[str, ...]]] = {
    "activation": {
        "leaky": ("LeakyRelu",),
        "relu": ("Relu",),
        "relu6": ("Clip",),
        "logistic": ("Sigmoid",),
        "swish": ("Sigmoid", "Mul"),
        "mish": ("Softplus", "Tanh", "Mul"),
    },
    "coding.kind": {
        "exp": ("Sigmoid", "Exp", "Mul", "Add"),
        "squared_sigmoid": ("Sigmoid", "Mul", "Add"),
        "distances": ("Mul", "Add", "Sub"),
    },
    "coding.growth": {"exp": ("Exp",), "softplus": ("Softplus",)},
}
"""End of a dotted path to value to the operators that its graph needs."""

ON_HOST = ("coding.kind", "coding.growth")
"""What does not reach the board where boxes are decoded on the host."""


def forbidden(
    board: Board,
    values: Values,
    costs: Costs | None = None,
    options: CheckOptions | None = None,
    *,
    decode_on_board: bool = False,
) -> list[Forbid]:
    """What a board rules out of a search.

    Args:
        board: to run on.
        values: dotted path to the values that may be searched. Paths that end in ``activation``, ``coding.kind``,
            ``coding.growth`` or ``input.size`` are judged, all others are free.
        costs: of the network by input size; None judges sizes by the board's scaler alone.
        options: runtime, processor and precision.
        decode_on_board: boxes are decoded in the graph, so that codings need operators, too.

    Raises:
        UsageError: the options name a runtime that the board does not have.
    """
    chosen = options or CheckOptions()
    found: list[Forbid] = []
    for path, candidates in values.items():
        if path == "input.size" or path.endswith(".input.size"):
            sides = [int(value) for value in candidates]
            found.extend(_sizes(board, path, sides, costs, chosen.precision or board.precisions[0]))
        for ending, table in OPERATORS.items():
            if path.endswith(ending) and (decode_on_board or ending not in ON_HOST):
                found.extend(_operators(board, path, [v for v in candidates if str(v) in table], table, chosen))
    return found


def too_slow(
    model: LatencyModel,
    sides: Sequence[int],
    costs: Costs,
    limit_ms: float,
    precision: Precision | None = None,
    power_mode: str | None = None,
) -> Forbid | None:
    """The input sizes that are slower than ``limit_ms`` even at the low end of their interval; None if all may do."""
    estimates = {side: model.estimate(costs(side), precision, power_mode) for side in sides}
    slow = {side: found for side, found in estimates.items() if found.low_ms > limit_ms}
    if not slow:
        return None
    name = model.machine.board.name
    return Forbid(
        path="input.size",
        values=tuple(slow),
        because=f"slower than {limit_ms:g} ms on {name}, even at the low end of the interval",
        evidence={"low_ms": {str(side): round(found.low_ms, 2) for side, found in slow.items()}},
    )


def _operators(
    board: Board,
    path: str,
    candidates: Sequence[float | int | bool | str],
    table: Mapping[str, tuple[str, ...]],
    options: CheckOptions,
) -> Iterator[Forbid]:
    runs = {rule.operator for rule in rules_for(board, options) if rule.supported}
    for value in candidates:
        missing = [op for op in table[str(value)] if op not in runs and ANY not in runs]
        if missing:
            sources = {rule.operator: rule.source for rule in rules_for(board, options)}
            place = f"the DLA of {board.name}" if options.dla else board.name
            yield Forbid(
                path=path,
                values=(value,),
                because=f"{place} does not run {', '.join(missing)}, which {value} needs",
                evidence={"source": sources.get(missing[0], "edgehone's rule table")},
            )


def _sizes(
    board: Board, path: str, sides: Sequence[int], costs: Costs | None, precision: Precision
) -> Iterator[Forbid]:
    if board.input_limits is not None:
        limit = min(board.input_limits)
        large = tuple(side for side in sides if side > limit)
        if large:
            yield Forbid(
                path=path,
                values=large,
                because=f"{board.name} scales pictures to at most {limit} px",
                evidence={"input_limits": list(board.input_limits), "source": board.sources["input_limits"]},
            )
    limit = board.memory.model_bytes or board.memory.total_bytes
    if costs is None or limit is None:
        return
    needed = {side: bytes_needed(costs(side), precision, maps=board.memory.model_bytes is None) for side in sides}
    heavy = {side: size for side, size in needed.items() if size > limit}
    if heavy:
        yield Forbid(
            path=path,
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
