"""The command that only searches, and how a search is narrowed on a command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgehone.cli_options import (
    BlindOption,
    DataArgument,
    DeterministicOption,
    DeviceOption,
    DropOption,
    FixOption,
    FormatOption,
    IgnoreOption,
    JsonOption,
    LatencyOption,
    LeaveOutOption,
    MeasuredOption,
    MergeOption,
    ObjectiveOption,
    OnlyOption,
    RayOption,
    SameDataOption,
    SearcherOption,
    StoreOption,
    StudyOption,
    TeacherOption,
    WeightsOption,
    WorkersOption,
    app,
    console,
    emit,
    parse_duration,
    screen,
    selection,
)
from edgehone.types import Json

if TYPE_CHECKING:
    from edgehone.request import Request


@app.command(epilog="Example: edgehone search data/mine --objective ap --objective latency --out runs/front")
def search(
    context: typer.Context,
    data: DataArgument,
    out: Annotated[Path, typer.Option(help="folder of the search; an unfinished search in it goes on")],
    budget: Annotated[str, typer.Option(help="wall-clock for the whole search, like 30m, 2h, 90s")] = "30m",
    model: Annotated[str, typer.Option(help="a built-in detector, or a Darknet cfg")] = "yolov4-tiny",
    board: Annotated[list[str] | None, typer.Option(help="a board whose latency counts; may be repeated")] = None,
    max_input: Annotated[int, typer.Option(help="largest input size that is searched, pixels")] = 416,
    latency: LatencyOption = None,
    measured: MeasuredOption = None,
    weights: WeightsOption = None,
    workers: WorkersOption = None,
    seed: Annotated[int, typer.Option(help="of everything random")] = 0,
    teacher: TeacherOption = None,
    objective: ObjectiveOption = None,
    searcher: SearcherOption = "informed",
    blind: BlindOption = False,
    fix: FixOption = None,
    only: OnlyOption = None,
    leave_out: LeaveOutOption = None,
    deterministic: DeterministicOption = False,
    store: StoreOption = None,
    same_data: SameDataOption = False,
    ray: RayOption = None,
    device: DeviceOption = "auto",
    study: StudyOption = None,
    data_format: FormatOption = None,
    merge: MergeOption = None,
    drop: DropOption = None,
    ignore: IgnoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Only search: analyse and explore, without presets beside it, without the test split, without a bundle."""
    from edgehone import console_view
    from edgehone.pipeline import search as search_only

    request = asked(context)
    with console_view.live(console, request.budget_s) as show:
        found = search_only(request, out, show)
    if as_json:
        emit(found.model_dump(mode="json"))
        return
    console_view.print_found(screen(), found.standings, found.front, out)
    console_view.print_warnings(screen(), found.warnings)


def asked(context: typer.Context) -> Request:
    """What the options of ``run`` or ``search`` ask for."""
    from edgehone.request import Request
    from edgehone.space import load

    given = {name: value for name, value in context.params.items() if name not in ("out", "as_json")}
    paths, names = (_parts(given.pop(option)) for option in ("only", "leave_out"))
    scope = {name: given.pop(name) for name in ("searcher", "blind", "deterministic")}
    classes = selection(*(given.pop(name) for name in ("merge", "drop", "ignore")))
    named: dict[str, Json] = {
        "format": given.pop("data_format"),
        "budget_s": parse_duration(given.pop("budget")),
        "boards": given.pop("board") or ["cpu"],
        "objectives": given.pop("objective") or ["ap"],
        "latency": given.pop("latency") or [],
        "measured": [str(path) for path in given.pop("measured") or ()],
        "scope": {**scope, "fix": list(given.pop("fix") or ()), "only": paths, "leave_out": names},
        "selection": classes.model_dump(),
    }
    return load(Request, {**named, **given})  # what is left is called the same there


def _parts(texts: list[str] | None) -> list[str]:
    """What an option lists that may be repeated and takes several, with commas."""
    return [part.strip() for text in texts or () for part in text.split(",") if part.strip()]
