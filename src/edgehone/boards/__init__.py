"""What each board can run, and how fast: limits, rules and published timings as data."""

from __future__ import annotations

from edgehone.boards.board import Board, Fact, ImageFormat, Memory, PowerMode, Precision, Runtime
from edgehone.boards.constraints import forbidden, too_slow
from edgehone.boards.cpu import CPU
from edgehone.boards.graph import GraphDescription, GraphNode
from edgehone.boards.jetson_xavier_nx import JETSON_XAVIER_NX
from edgehone.boards.kneron_kl720 import KNERON_KL720
from edgehone.boards.latency import LatencyEstimate, LatencyModel, ModelError, latency_model
from edgehone.boards.measured import Measured, Measurement, fingerprint_of, read_measured
from edgehone.boards.operator_rules import RULES, CheckOptions, Violation, check_graph, require_runnable, rules_for
from edgehone.boards.rule import ANY, OperatorRule
from edgehone.errors import UsageError

BOARDS: dict[str, Board] = {board.name: board for board in (CPU, JETSON_XAVIER_NX, KNERON_KL720)}
"""Boards by name."""


def board(name: str) -> Board:
    """The board of this name.

    Raises:
        UsageError: there is none.
    """
    if name not in BOARDS:
        raise UsageError(f"the boards are {', '.join(BOARDS)}; got {name!r}")
    return BOARDS[name]


__all__ = [
    "ANY",
    "BOARDS",
    "RULES",
    "Board",
    "CheckOptions",
    "Fact",
    "GraphDescription",
    "GraphNode",
    "ImageFormat",
    "LatencyEstimate",
    "LatencyModel",
    "Measured",
    "Measurement",
    "Memory",
    "ModelError",
    "OperatorRule",
    "PowerMode",
    "Precision",
    "Runtime",
    "Violation",
    "board",
    "check_graph",
    "fingerprint_of",
    "forbidden",
    "latency_model",
    "read_measured",
    "require_runnable",
    "rules_for",
    "too_slow",
]
