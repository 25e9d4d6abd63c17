"""Does each node of a graph run on a board? A table of rules decides, and says the way round where not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgehone.boards.board import BYTES, Board, Precision, Runtime
from edgehone.boards.conditions import Condition, Scaling, faults
from edgehone.boards.graph import GraphDescription, GraphNode, Shape
from edgehone.boards.rule import ANY, OperatorRule
from edgehone.boards.rules_cpu import CPU_RULES
from edgehone.boards.rules_jetson import JETSON_RULES
from edgehone.boards.rules_kl720 import KL720_RULES
from edgehone.errors import EdgehoneError
from edgehone.space import Settings

RULES: tuple[OperatorRule, ...] = (*CPU_RULES, *JETSON_RULES, *KL720_RULES)
"""The table, all boards."""

PLUG_INS = {"EfficientNMS_TRT"}
"""Operators that are not ONNX's: shape inference knows nothing of them."""


class CheckOptions(Settings):
    """What a graph is checked for, beside the board.

    Attributes:
        runtime: version; None is the board's default.
        dla: run on the Jetson's accelerators instead of its GPU (experimental).
        two_axis_resize: let one Resize enlarge rows and columns where the sources disagree about it.
        precision: of the weights on the board; None is the board's first.
    """

    runtime: str | None = None
    dla: bool = False
    two_axis_resize: bool = False
    precision: Precision | None = None


class Violation(Settings):
    """One thing in a graph that a board does not do.

    Attributes:
        board: its name.
        node: name of the node; "" for the graph itself.
        operator: of the node; "" for the graph itself.
        rule: what holds on the board, and what the graph does instead.
        way_round: what to do.
        source: document and version.
    """

    board: str
    node: str
    operator: str
    rule: str
    way_round: str
    source: str

    def __str__(self) -> str:
        where = f"{self.node} ({self.operator})" if self.node else "the graph"
        return f"{where}: {self.rule}. Way round: {self.way_round} [{self.source}]"


def check_graph(graph: GraphDescription, board: Board, options: CheckOptions | None = None) -> list[Violation]:
    """Everything in a graph that does not run on a board; empty where all of it runs.

    Args:
        graph: as plain values.
        board: to run on.
        options: None are the defaults.

    Raises:
        UsageError: the options name a runtime that the board does not have.
    """
    chosen = options or CheckOptions()
    runtime = board.runtime_version(chosen.runtime)
    found = [*_format(graph, board, runtime), *_shapes(graph, board), *_memory(graph, board, chosen)]
    rules = rules_for(board, chosen)
    static = all(_static(shape) for shape in graph.inputs.values())
    for node in graph.nodes:
        rows = [rule for rule in rules if rule.operator == node.op] or [r for r in rules if r.operator == ANY]
        violation = _check_node(node, rows, board, chosen) or (_loose_shape(node, board) if static else None)
        if violation is not None:
            found.append(violation)
    return found


def require_runnable(graph: GraphDescription, board: Board, options: CheckOptions | None = None) -> None:
    """Refuse a graph that does not run on a board.

    Raises:
        EdgehoneError: every violation with the way round.
    """
    found = check_graph(graph, board, options)
    if found:
        lines = "\n  ".join(str(violation) for violation in found)
        raise EdgehoneError(f"{board.name} runs only what its rules allow (edgehone boards); not this:\n  {lines}")


def rules_for(board: Board, options: CheckOptions | None = None) -> tuple[OperatorRule, ...]:
    """The rows that hold for a board, its runtime and its processor."""
    chosen = options or CheckOptions()
    versions = [runtime.version for runtime in board.runtimes]
    now = versions.index(board.runtime_version(chosen.runtime).version)
    return tuple(
        rule
        for rule in RULES
        if rule.board == board.name
        and rule.dla == chosen.dla
        and (rule.since is None or versions.index(rule.since) <= now)
        and (rule.before is None or now < versions.index(rule.before))
    )


def _check_node(node: GraphNode, rows: Sequence[OperatorRule], board: Board, options: CheckOptions) -> Violation | None:
    def violation(rule: str, way_round: str, source: str) -> Violation:
        return Violation(
            board=board.name, node=node.name, operator=node.op, rule=rule, way_round=way_round, source=source
        )

    if not rows or (rows[0].operator == ANY and node.domain not in ("", "ai.onnx")):
        place = "DLA" if options.dla else board.runtime_version(options.runtime).name
        return violation(
            f"{place} has no rule for {node.op}" + (f" of {node.domain}" if node.domain else ""),
            "write it with operators of the table, or leave it to the host",
            "edgehone's rule table",
        )
    nearest = min(rows, key=lambda row: len(_against(row, node, options)))  # the alternative that is missed by least
    broken = _against(nearest, node, options)
    return violation(" and ".join(broken), nearest.way_round, nearest.source) if broken else None


def _against(row: OperatorRule, node: GraphNode, options: CheckOptions) -> list[str]:
    if not row.supported:
        return [f"{node.op} does not run" + (f": {row.because}" if row.because else "")]
    return list(faults(_relaxed(row.conditions, options), node))


def _relaxed(conditions: Sequence[Condition], options: CheckOptions) -> tuple[Condition, ...]:
    if not options.two_axis_resize:
        return tuple(conditions)
    return tuple(c.model_copy(update={"one_axis": False}) if isinstance(c, Scaling) else c for c in conditions)


def _whole_graph(board: Board, rule: str, way_round: str, source: str) -> Violation:
    return Violation(board=board.name, node="", operator="", rule=rule, way_round=way_round, source=source)


def _format(graph: GraphDescription, board: Board, runtime: Runtime) -> Iterator[Violation]:
    oldest, newest = runtime.opsets
    if not oldest <= graph.opset <= newest:
        yield _whole_graph(
            board,
            f"{runtime.name} reads opset {oldest} to {newest}, the graph has opset {graph.opset}",
            f"export at opset {min(newest, 13)}",
            runtime.source,
        )
    if graph.ir_version > runtime.max_ir:
        yield _whole_graph(
            board,
            f"{runtime.name} reads IR version {runtime.max_ir} at most, the file has IR version {graph.ir_version}",
            f"export at opset {min(newest, 13)}, with the file format that came with it",
            runtime.source,
        )


def _shapes(graph: GraphDescription, board: Board) -> Iterator[Violation]:
    """Static shapes and batch 1, everywhere: the graphs are for one picture at a time on every board."""
    way_round = "export with a fixed input size and batch 1"
    source = board.runtimes[0].source
    for name, shape in graph.inputs.items():
        if not _static(shape):
            rule = f"shapes are static, input {name} is {_text(shape)}"
            yield _whole_graph(board, rule, way_round, source)
        elif shape and shape[0] != 1:
            yield _whole_graph(board, f"the batch is 1, input {name} is {_text(shape)}", way_round, source)
    if board.max_inputs is not None and len(graph.inputs) > board.max_inputs:
        yield _whole_graph(
            board,
            f"a graph has at most {board.max_inputs} inputs, this one {len(graph.inputs)}",
            "join the inputs",
            board.sources["max_inputs"],
        )


def _loose_shape(node: GraphNode, board: Board) -> Violation | None:
    """A result whose shape is open, or not known at all; a plug-in's is its own affair."""
    shapes = [shape for shape, name in zip(node.output_shapes, node.outputs, strict=False) if name]
    loose = [shape for shape in shapes if shape is None or not _static(shape)]
    if not loose or node.op in PLUG_INS:
        return None
    return Violation(
        board=board.name,
        node=node.name,
        operator=node.op,
        rule=f"shapes are static, that of its result is {_text(loose[0])}",
        way_round="make what its shape depends on a constant",
        source=board.runtimes[0].source,
    )


def _memory(graph: GraphDescription, board: Board, options: CheckOptions) -> Iterator[Violation]:
    limit = board.memory.model_bytes
    precision = options.precision or board.precisions[0]
    size = graph.parameter_bytes * BYTES[precision] // BYTES["fp32"]
    if limit is not None and size > limit:
        yield _whole_graph(
            board,
            f"a model has at most {limit / 1e6:.1f} MB, the weights alone take {size / 1e6:.1f} MB in {precision}",
            "a smaller network",
            board.memory.source,
        )


def _static(shape: Shape) -> bool:
    return all(isinstance(side, int) and side > 0 for side in shape)


def _text(shape: Shape | None) -> str:
    if shape is None:
        return "not known"
    return " x ".join("?" if side is None else str(side) for side in shape)
