"""What each board can run, and how fast: limits, rules and published timings as data."""

from __future__ import annotations

from edgehone.boards.board import Board, Fact, ImageFormat, Memory, PowerMode, Precision, Runtime
from edgehone.boards.catalogue import BOARDS, board
from edgehone.boards.constraints import bytes_needed, size_limits
from edgehone.boards.fitting import ModelError
from edgehone.boards.graph import GraphDescription, GraphNode
from edgehone.boards.latency import LatencyEstimate, LatencyModel, latency_model, read_measurements
from edgehone.boards.measured import Measured, Measurement, fingerprint_of, read_measured
from edgehone.boards.mode import BoardMode
from edgehone.boards.operator_rules import RULES, CheckOptions, Violation, check_graph, require_runnable, rules_for
from edgehone.boards.rule import ANY, OperatorRule

__all__ = [
    "ANY",
    "BOARDS",
    "RULES",
    "Board",
    "BoardMode",
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
    "bytes_needed",
    "check_graph",
    "fingerprint_of",
    "latency_model",
    "read_measured",
    "read_measurements",
    "require_runnable",
    "rules_for",
    "size_limits",
]
