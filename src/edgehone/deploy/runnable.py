"""Does a board run a network at all? Asked of an untrained one, before anything is trained."""

from __future__ import annotations

import functools
from pathlib import Path

import onnx

from edgehone.boards import BOARDS, RULES, Board, CheckOptions, Violation, check_graph
from edgehone.deploy.graph_nodes import describe_graph
from edgehone.deploy.kneron.contents import OPSET as KNERON_OPSET
from edgehone.deploy.kneron.contents import graph_form
from edgehone.deploy.onnx_graph import MASTER, OPSET, GraphForm, build_model
from edgehone.errors import EdgehoneError, UsageError
from edgehone.models import Graph, Network, architecture, fold

CLASSES, SIDE = 2, 160
"""Whether an operator runs hangs on neither."""


@functools.cache
def require_board_runs(model: str, board_name: str) -> None:
    """Refuse a detector whose graph a board does not run, in the form that its bundle holds.

    Raises:
        UsageError: every node that does not run, with the way round.
    """
    board = BOARDS[board_name]
    found = violations(architecture(model).graph(CLASSES), board)
    if found:
        lines = "\n  ".join(str(violation) for violation in found)
        raise UsageError(
            f"{board_name} runs only what its rules allow (edgehone boards), and of {model} not this; change the "
            f"network or leave out --board {board_name}:\n  {lines}"
        )


def violations(graph: Graph, board: Board) -> list[Violation]:
    """Every node of a network's graph that a board does not run; a board that is here runs all that is written."""
    forms: dict[str, tuple[GraphForm, int]] = {
        "jetson-xavier-nx": (MASTER, OPSET),
        "kneron-kl720": (graph_form(CLASSES), KNERON_OPSET),
    }
    if board.name not in forms:
        return []
    form, opset = forms[board.name]
    return check_graph(describe_graph(build_model(fold(Network(graph)), (SIDE, SIDE), {}, opset, form)), board)


def check_file(path: Path, board: Board, runtime: str | None = None) -> tuple[list[Violation], list[Violation]]:
    """What of an ONNX file a board does not run, and what else falls off its accelerators onto its GPU.

    Args:
        path: of the file.
        board: to run on.
        runtime: version; None is the board's default.

    Raises:
        UsageError: no such file, or no such runtime.
        EdgehoneError: it is no ONNX graph.
    """
    if not path.is_file():
        raise UsageError(f"a graph is read from an .onnx file; there is no file {path}")
    try:
        graph = describe_graph(onnx.load(str(path), load_external_data=False))
    except Exception as error:  # protobuf's own, and those of shape inference, have no common class
        raise EdgehoneError(f"{path} is no ONNX graph: {error}") from None
    found = check_graph(graph, board, CheckOptions(runtime=runtime))
    if not any(rule.dla for rule in RULES if rule.board == board.name):
        return found, []
    stuck = {violation.node for violation in found}
    fallen = check_graph(graph, board, CheckOptions(runtime=runtime, dla=True))
    return found, [violation for violation in fallen if violation.node not in stuck | {""}]
