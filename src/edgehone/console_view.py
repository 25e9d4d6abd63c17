"""What the command line shows: progress, tables, and the JSON shapes that scripts rely on."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from edgehone.deploy.bundle import Deployment
from edgehone.deploy.integer.summary import describe
from edgehone.deploy.latency import latency_text
from edgehone.evaluation import Evaluation
from edgehone.results import Entry, FrontPoint, Results
from edgehone.search.finalists import Standing
from edgehone.search.progress import Show, Status
from edgehone.training import Progress as TrainingProgress
from edgehone.types import Json

QUIET_SECONDS = 30.0


def clock(seconds: float) -> str:
    """``12:05`` or ``1:02:05``."""
    minutes, rest = divmod(int(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@contextmanager
def live(console: Console, budget_s: float) -> Generator[Show]:
    """Progress of a run: a bar on a terminal, else a line now and then."""
    if not console.is_terminal:
        yield _lines(console)
        return
    columns = (BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TextColumn("{task.description}"))
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=1.0)

        def show(status: Status) -> None:
            if status.event:
                bar.console.print(f"[dim]{clock(status.seconds)}[/dim] {escape(status.message)}")
            left = "" if status.seconds_left is None else f", {clock(status.seconds_left)} left"
            text = f"{clock(status.seconds)} of {clock(budget_s)}{left}  {escape(status.message)[:70]}"
            bar.update(task, completed=status.share, description=text)

        yield show


def _lines(console: Console) -> Show:
    last = 0.0

    def show(status: Status) -> None:
        nonlocal last
        if not status.event and time.monotonic() - last < QUIET_SECONDS:
            return
        last = time.monotonic()
        left = (
            "" if status.seconds_left is None else f" ({100 * status.share:.0f} %, {clock(status.seconds_left)} left)"
        )
        console.print(f"{clock(status.seconds)}{left} {escape(status.message)}", soft_wrap=True)

    return show


@contextmanager
def training_bar(console: Console) -> Generator[Callable[[TrainingProgress], None]]:
    """Progress of one training."""
    with Progress(BarColumn(), TextColumn("{task.description}"), console=console) as bar:
        task = bar.add_task("", total=1.0)

        def watch(progress: TrainingProgress) -> None:
            loss = ", ".join(f"{name} {value:.3g}" for name, value in progress.loss.items())
            left = progress.seconds / progress.step * (progress.steps - progress.step)
            text = f"step {progress.step} of {progress.steps}, {clock(left)} left, loss {loss}"
            bar.update(task, completed=progress.step / progress.steps, description=text)

        yield watch


def with_interval(value: float | None, interval: tuple[float, float] | None) -> str:
    """``0.423 [0.391, 0.455]``."""
    if value is None:
        return "-"
    return f"{value:.3f}" + ("" if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]")


def print_results(console: Console, results: Results, out: Path) -> None:
    """The table of presets and found, the verdict, and where things are."""
    title, asked = f"test split of {results.data}, input {results.found.strategy.input.size} px", results.found.reached
    columns = ("AP [95 %]", "AP50 [95 %]", "AP75", "small", "medium", "large")
    if asked is not None:
        title, columns = f"{title}, objective: {asked.objective}", ("objective [95 %]", *columns[:3])
    table = Table(title=escape(title))
    for column in ("strategy", *columns):
        table.add_column(column, justify="left" if column == "strategy" else "right", no_wrap=True)
    entries: dict[str, Entry | None] = {
        **results.presets,
        "evolution": results.evolution,
        "found": results.found,
    }
    for name, entry in entries.items():
        if entry is None:
            continue
        label = f"preset {name}" if entry.preset else name
        if name == results.default_preset:
            label += " (default)"
        table.add_row(label, *_entry_cells(entry))
    console.print(table)
    if results.gain is not None:
        words = f"{results.gain.words()}: {results.gain.verdict}"
        console.print(f"found against the default ({results.default_preset}): {escape(words)}")
    if results.margin is not None:
        words = f"{results.margin.words()}, seeds counted: {results.margin.verdict}"
        console.print(f"kept: {results.kept} (on validation {escape(words)})")
    print_warnings(console, results.warnings)
    for name, deployment in results.boards.items():
        print_deployment(console, name, deployment, out / Path(deployment.path).parent)
    console.print(f"total time {clock(results.seconds['total'])}")
    console.print(f"report: {out / 'report.html'}\nmodel:  {out / 'model.onnx'}", soft_wrap=True)


def _entry_cells(entry: Entry) -> list[str]:
    """COCO's metrics; after the objective where that is another, and then fewer."""
    test, reached = entry.test, entry.reached
    ap, ap50 = (entry.interval95.get(key) for key in ("ap", "ap50"))
    cells = [with_interval(test.ap, ap), with_interval(test.ap50, ap50), with_interval(test.ap75, None)]
    if reached is not None:
        return [with_interval(reached.test, reached.interval95), *cells]
    return [*cells, *(with_interval(value, None) for value in (test.ap_small, test.ap_medium, test.ap_large))]


def print_warnings(console: Console, warnings: Sequence[str]) -> None:
    """What makes the choice doubtful."""
    for text in warnings:
        console.print(f"warning: {text}", style="yellow", soft_wrap=True, markup=False)


def print_found(console: Console, standings: Sequence[Standing], front: Sequence[FrontPoint], out: Path) -> None:
    """Finalists with their intervals over seeds; the front where there is one."""
    table = Table(title="finalists on validation")
    for column in ("trial", "first objective [95 %]", "seeds"):
        table.add_column(column, justify="left" if column == "trial" else "right")
    for standing in standings:
        interval = with_interval(standing.values[0], (standing.low, standing.high))
        table.add_row(standing.name, interval, str(standing.seeds))
    console.print(table)
    for point in front:
        values = ", ".join(f"{name} {value:.4g}" for name, value in point.values.items())
        console.print(f"on the front: {point.trial}: {values}, {point.strategy.input.size} px")
    console.print(f"strategy: {out / 'strategy.json'}", soft_wrap=True)


def print_deployment(console: Console, name: str, deployment: Deployment, folder: Path) -> None:
    """Where a bundle is, and how long it takes: measured, or an interval."""
    time_text, note = latency_text(deployment.latency)
    console.print(f"{name}: {time_text} ({escape(note)})", soft_wrap=True)
    if deployment.integer is not None:
        console.print("\n".join(describe(deployment.integer)), soft_wrap=True, markup=False)
    for note in deployment.notes:
        console.print(f"note: {note}", soft_wrap=True, markup=False)
    console.print(f"bundle: {folder}", soft_wrap=True)


def print_evaluation(console: Console, evaluation: Evaluation, title: str) -> None:
    """Overall and per-class AP."""
    interval = (evaluation.interval95 or {}).get("ap")
    table = Table(title=escape(title))
    table.add_column("class")
    table.add_column("AP", justify="right")
    table.add_row("all", with_interval(evaluation.ap, interval))
    for name, value in evaluation.per_class.items():
        table.add_row(escape(name), with_interval(value, None))
    console.print(table)
    console.print(f"AP50 {evaluation.ap50:.3f}, AP75 {evaluation.ap75:.3f}, {evaluation.images} images")


def evaluation_summary(evaluation: Evaluation) -> Json:
    """The shape of ``evaluate --json``."""
    return evaluation.model_dump(mode="json", exclude={"precision_recall"})


def print_detections(console: Console, found: list[dict[str, Json]]) -> None:
    """A line per detection."""
    for picture in found:
        console.print(f"{escape(picture['path'])}: {len(picture['detections'])} objects", soft_wrap=True)
        for item in picture["detections"]:
            box = ", ".join(f"{v:.0f}" for v in item["box_xyxy"])
            console.print(f"  {escape(item['class'])} {item['score']:.2f} at {box}")


def print_diff(console: Console, first: str, second: str, changes: Mapping[str, tuple[Any, Any]]) -> None:
    """A row per value that differs."""
    table = Table()
    for column in ("setting", first, second):
        table.add_column(escape(column))
    for path, (old, new) in changes.items():
        table.add_row(path, str(old), str(new))
    console.print(table if changes else "no difference")
