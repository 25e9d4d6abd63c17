"""What the command line shows of boards: what they run, and how fast."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgehone.boards import ANY, RULES, Board, Measured, Violation, latency_model, rules_for
from edgehone.types import Json


def print_boards(console: Console, boards: Mapping[str, Board], measured: Sequence[Measured] = ()) -> None:
    """A column per board; then its limits and notes, and what was measured on it, a line each."""
    table = Table()
    table.add_column("")
    for name in boards:
        table.add_column(escape(name))
    rows: dict[str, Callable[[Board], str]] = {
        "hardware": lambda b: b.hardware,
        "runtime": lambda b: ", ".join(r.name for r in b.runtimes),
        "graphs for": lambda b: (
            f"{b.default_runtime}: opset {b.runtime_version().opsets[0]} to {b.max_opset}, "
            f"IR up to {b.runtime_version().max_ir}"
        ),
        "precisions": lambda b: ", ".join(b.precisions),
        "model at most": lambda b: f"{b.memory.model_bytes / 1024**2:.0f} MB" if b.memory.model_bytes else "memory",
        "pictures as": lambda b: ", ".join(f.name for f in b.image_formats if f.exact),
        "power modes": lambda b: ", ".join(m.name for m in b.power_modes) or "one",
        "operators": _operators,
        "latency": lambda b: _latency(b, measured),
    }
    for row, cell in rows.items():
        table.add_row(row, *(escape(cell(board)) for board in boards.values()))
    console.print(table)
    for name, board in boards.items():
        console.print(f"[bold]{escape(name)}[/bold]")
        for fact in (*board.limits, *board.notes):
            console.print(escape(f"- {fact.text} [{fact.source}]"), soft_wrap=True)
        for line in _measured(board, measured):
            console.print(escape(f"- {line}"), soft_wrap=True)


def _operators(board: Board) -> str:
    names = sorted({rule.operator for rule in rules_for(board) if rule.supported})
    return "all of ONNX" if names == [ANY] else ", ".join(names)


def _latency(board: Board, measured: Sequence[Measured]) -> str:
    if board.measured_here:
        return "measured here"
    error = latency_model(board.name, measured).error
    return (
        f"an interval, {error.factor:.2f} times either way; median error {100 * error.median_error:.0f} % "
        f"over {error.rows} timings, each network left out"
    )


def _measured(board: Board, measured: Sequence[Measured]) -> Iterator[str]:
    """What each measurement does to the board's model."""
    for file in measured:
        for row in file.measurements if file.board == board.name else ():
            height, width = row.input_size
            mode = f" at {file.power_mode}" if file.power_mode else ""
            npu = "" if row.npu_ms is None else f", NPU alone {row.npu_ms:.2f} ms"
            why = latency_model(board.name, measured).fits_nothing(file, row)
            yield (
                f"measured: {row.network}, {width} x {height} px, {row.precision}{mode}: p50 {row.p50_ms:.2f} ms, "
                f"p90 {row.p90_ms:.2f} ms{npu}; replaces its estimate, "
                + ("and others follow it" if why is None else f"others do not follow it: {why}")
            )


def board_json(board: Board, measured: Sequence[Measured] = ()) -> Json:
    """Facts of a board and its rules about operators."""
    error = None if board.measured_here else latency_model(board.name, measured).error.model_dump(mode="json")
    return {
        **board.model_dump(mode="json"),
        "latency_error": error,
        "measured": list(_measured(board, measured)),
        "rules": [rule.model_dump(mode="json") for rule in RULES if rule.board == board.name],
    }


def print_check(console: Console, board: Board, violations: Sequence[Violation], fallen: Sequence[Violation]) -> None:
    """A line per node that does not run, then what falls off the accelerators."""
    for violation in violations:
        console.print(escape(str(violation)), soft_wrap=True)
    if fallen:
        console.print(f"falls off the DLA of {board.name} (experimental) onto its GPU:")
    for violation in fallen:
        console.print(escape(f"  {violation}"), soft_wrap=True)
    console.print(f"{board.name} does not run it" if violations else f"{board.name} runs all of it")


def check_json(name: str, violations: Sequence[Violation], fallen: Sequence[Violation]) -> Json:
    """The shape of ``boards BOARD --check FILE --json``."""
    return {
        "board": name,
        "runs": not violations,
        "violations": [violation.model_dump(mode="json") for violation in violations],
        "off_dla": [violation.model_dump(mode="json") for violation in fallen],
    }
