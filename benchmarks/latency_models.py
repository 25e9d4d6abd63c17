"""Print the leave-one-network-out table of every latency model.

    .venv/bin/python benchmarks/latency_models.py

No board is needed: published timings are predicted by models that have not seen their network.
"""

from __future__ import annotations

from dataclasses import replace

from rich.console import Console
from rich.table import Table

from edgehone.boards import BOARDS
from edgehone.boards.fitting import ModelError, leave_one_out
from edgehone.boards.latency import LatencyModel, latency_model
from edgehone.boards.published import published_costs


def with_other_priors(model: LatencyModel) -> str:
    """The errors when the centre of each prior, one at a time, is moved by a factor of 1.5 either way."""
    machine, medians, inside = model.machine, [], []
    for k, parameter in enumerate(machine.parameters):
        for factor in (1 / 1.5, 1.5):
            moved = list(machine.parameters)
            moved[k] = replace(parameter, value=parameter.value * factor)
            error = ModelError.of(leave_one_out(replace(machine, parameters=tuple(moved))))
            medians.append(error.median_error)
            inside.append(error.inside / error.rows)
    return f"median error {min(medians):.1%} to {max(medians):.1%}, inside {min(inside):.0%} to {max(inside):.0%}"


def table_of(name: str, model: LatencyModel) -> Table:
    table = Table(title=f"{name}: each network predicted without any of its rows")
    for column in ("network", "px", "hardware", "precision", "runtime", "published ms", "predicted", "ratio", "inside"):
        table.add_column(column, no_wrap=True)
    for row in model.left_out:
        t = row.timing
        cells = (t.network, t.side, t.hardware, t.precision, t.runtime, f"{t.ms:.2f}", f"{row.predicted_ms:.2f}")
        inside = ("yes" if row.inside else "no") + ("" if t.fitted else ", never fitted")
        table.add_row(*map(str, cells), f"{row.predicted_ms / t.ms:.2f}", inside)
    return table


def main() -> None:
    console = Console(width=170)
    for name, board in BOARDS.items():
        if board.measured_here:
            console.print(f"{name}: measured, not estimated\n")
            continue
        model = latency_model(name)
        console.print(table_of(name, model))
        rows = list(model.left_out)
        console.print("all:         ", str(ModelError.of(rows)))
        for title, chosen in {
            "fitted:      ": [row for row in rows if row.timing.fitted],
            "never fitted:": [row for row in rows if not row.timing.fitted],
            "AGX, YOLOv4-tiny, fitted: ": [
                row
                for row in rows
                if row.timing.hardware != name and row.timing.network == "yolov4-tiny" and row.timing.fitted
            ],
        }.items():
            if chosen and len(chosen) < len(rows):
                console.print(title, str(ModelError.of(chosen)))
        console.print("parameters: ", {key: float(f"{value:.3g}") for key, value in model.parameters.items()})
        console.print("each prior moved by 1.5 either way:", with_other_priors(model))
        for side in (320, 416, 608):
            for precision in ("fp32", "fp16", "int8") if name == "jetson-xavier-nx" else ("int8",):
                found = model.estimate(published_costs("yolov4-tiny", side), precision)
                console.print(
                    f"yolov4-tiny, 80 classes, {side} px, {precision}: {found.low_ms:.1f} to {found.high_ms:.1f} ms"
                )
        console.print()


if __name__ == "__main__":
    main()
