"""The command that only searches, and how a search is narrowed on a command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgehone.cli_options import (
    BlindOption,
    DataArgument,
    DeterministicOption,
    DropOption,
    FixOption,
    FormatOption,
    IgnoreOption,
    JsonOption,
    LatencyOption,
    MergeOption,
    ObjectiveOption,
    OnlyOption,
    SearcherOption,
    TeacherOption,
    WeightsOption,
    app,
    console,
    emit,
    parse_duration,
    screen,
    selection,
)
from edgehone.types import Json


@app.command(epilog="Example: edgehone search data/mine --objective ap --objective latency --out runs/front")
def search(
    data: DataArgument,
    out: Annotated[Path, typer.Option(help="folder of the search; an unfinished search in it goes on")],
    budget: Annotated[str, typer.Option(help="wall-clock for the whole search, like 30m, 2h, 90s")] = "30m",
    model: Annotated[str, typer.Option(help="a built-in detector, or a Darknet cfg")] = "yolov4-tiny",
    board: Annotated[list[str] | None, typer.Option(help="a board whose latency counts; may be repeated")] = None,
    max_input: Annotated[int, typer.Option(help="largest input size that is searched, pixels")] = 416,
    latency: LatencyOption = None,
    weights: WeightsOption = None,
    workers: Annotated[int, typer.Option(help="trainings side by side, one thread each")] = 2,
    seed: Annotated[int, typer.Option(help="of everything random")] = 0,
    teacher: TeacherOption = None,
    objective: ObjectiveOption = None,
    searcher: SearcherOption = "informed",
    blind: BlindOption = False,
    fix: FixOption = None,
    only: OnlyOption = None,
    deterministic: DeterministicOption = False,
    data_format: FormatOption = None,
    merge: MergeOption = None,
    drop: DropOption = None,
    ignore: IgnoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Only search: analyse and explore, without presets beside it, without the test split, without a bundle."""
    from edgehone import console_view
    from edgehone.pipeline import search as search_only
    from edgehone.request import Request
    from edgehone.space import load

    wanted = {"data": data, "format": data_format, "model": model, "boards": board or ["cpu"], "proof": "off"}
    limits = {"budget_s": parse_duration(budget), "max_input": max_input, "latency": latency, "weights": weights}
    classes = {"selection": selection(merge, drop, ignore).model_dump()}
    aim = {"objectives": objective or ["ap"], "scope": scope(searcher, blind, fix, only, deterministic)}
    request = load(
        Request, {**wanted, **limits, **classes, **aim, "workers": workers, "seed": seed, "teacher": teacher}
    )
    with console_view.live(console, request.budget_s) as show:
        found = search_only(request, out, show)
    if as_json:
        emit(found.model_dump(mode="json"))
        return
    console_view.print_found(screen(), found.standings, found.front, out)


def scope(
    searcher: str, blind: bool, fix: list[str] | None, only: list[str] | None, deterministic: bool
) -> dict[str, Json]:
    """How a search is narrowed, in the form of its settings."""
    paths = [path.strip() for text in only or () for path in text.split(",") if path.strip()]
    return {
        "searcher": searcher,
        "blind": blind,
        "fix": list(fix or ()),
        "only": paths,
        "deterministic": deterministic,
    }
