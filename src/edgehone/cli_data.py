"""Commands that look at data: check, and the group ``data``. None of them needs torch, but for ``--model``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgehone.cli_options import (
    DataArgument,
    DropOption,
    FormatOption,
    IgnoreOption,
    JsonOption,
    MergeOption,
    SetOption,
    StrategyOption,
    app,
    console,
    emit,
    screen,
    selection,
)

if TYPE_CHECKING:
    from edgehone.analysis.label_review import Review
    from edgehone.data import Dataset

group = typer.Typer(help="Convert, measure and show data sets.", no_args_is_help=True)

EVERY_FINDING = 1 << 40

INPUT_SIZES = (160, 224, 288, 352, 416, 512, 608)
STRIDES = (8, 16, 32)
"""Those of every YOLO; what a given detector makes of the data is for ``analyse``."""


@app.command(epilog="Example: edgehone check data/mine --page check.html")
def check(
    data: DataArgument,
    data_format: FormatOption = None,
    merge: MergeOption = None,
    drop: DropOption = None,
    ignore: IgnoreOption = None,
    repair: Annotated[Path | None, typer.Option(help="write a clean copy and a ledger of every change here")] = None,
    to: Annotated[str, typer.Option(help="format of the clean copy: coco or yolo")] = "coco",
    model: Annotated[
        str | None, typer.Option(help="a run (or model) trained on this data: which labels does it contradict?")
    ] = None,
    page: Annotated[Path | None, typer.Option(help="write a page with pictures of every kind of finding")] = None,
    as_json: JsonOption = False,
) -> None:
    """Read a data set and say what is in it and what is wrong with it; exit 1 on errors."""
    from edgehone import console_data
    from edgehone.data.checks import LIMIT
    from edgehone.data.doctor import examine
    from edgehone.data.doctor.repair import repair as write_repaired
    from edgehone.data.reading import Source

    source = Source(data, data_format, selection(merge, drop, ignore))
    with console_data.progress(console, "pictures") as watch:
        checkup = examine(source, watch=watch, limit=EVERY_FINDING if repair else LIMIT)
    done = None if repair is None else write_repaired(checkup, to, repair)
    review = None if model is None else _review(model, checkup.dataset)
    if page is not None:
        from edgehone.report.check_page import write_check_page

        write_check_page(checkup, page, review)
    if as_json:
        emit(console_data.checkup_summary(checkup, done, review))
    else:
        console_data.print_checkup(screen(), checkup, done)
        console_data.print_review(screen(), review)
        if page is not None:
            screen().print(f"page: {page}", soft_wrap=True)
    if not checkup.clean:
        raise typer.Exit(1)


def _review(model: str, dataset: Dataset) -> Review:
    """What the detectors of a run say about the labels."""
    from edgehone.console_data import progress
    from edgehone.review import review_run

    with progress(console, "pictures asked about") as watch:
        return review_run(model, dataset, watch=watch)


@group.command(epilog="Example: edgehone data convert data/mine data/mine-coco --to coco")
def convert(
    data: DataArgument,
    out: Annotated[Path, typer.Argument(help="a new folder")],
    to: Annotated[str, typer.Option(help="coco or yolo")] = "coco",
    data_format: FormatOption = None,
    merge: MergeOption = None,
    drop: DropOption = None,
    ignore: IgnoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a data set, with its pictures and splits, in another format."""
    from edgehone import console_data
    from edgehone.data import read_dataset
    from edgehone.data.writing import write_dataset

    with console_data.progress(console, "pictures") as watch:
        dataset = read_dataset(data, format=data_format, selection=selection(merge, drop, ignore), watch=watch)
    written = write_dataset(dataset, to, out)
    if as_json:
        emit({"description": str(written.description), "pictures": written.names, "lost": list(written.lost)})
        return
    shown = screen()
    console_data.print_dataset(shown, dataset)
    for text in written.lost:
        shown.print(f"lost: {text}")
    shown.print(f"written: {written.description}", soft_wrap=True)


@group.command(epilog="Example: edgehone data profile data/mine --json")
def profile(
    data: DataArgument,
    data_format: FormatOption = None,
    merge: MergeOption = None,
    drop: DropOption = None,
    ignore: IgnoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure what is in a data set: sizes at every input size, classes, crowding, pictures, shift between splits."""
    from edgehone import console_data
    from edgehone.analysis.data_space import data_profile
    from edgehone.data.reading import Source, open_source

    source = Source(data, data_format, selection(merge, drop, ignore))
    with console_data.progress(console, "pictures") as watch:
        dataset = open_source(source, watch=watch).dataset
    found = data_profile(dataset, INPUT_SIZES, STRIDES)
    if as_json:
        emit(found.model_dump(mode="json"))
        return
    shown = screen()
    console_data.print_dataset(shown, dataset)
    console_data.print_profile(shown, found)


@group.command(epilog="Example: edgehone data show data/mine --strategy runs/mine/strategy.json --out sheet.jpg")
def show(
    data: DataArgument,
    out: Annotated[Path, typer.Option(help="the picture to write: .jpg or .png")],
    strategy: StrategyOption = "authors",
    set_: SetOption = None,
    rows: Annotated[int, typer.Option(help="pictures that are shown", min=1, max=50)] = 4,
    columns: Annotated[int, typer.Option(help="augmented samples of each", min=1, max=20)] = 6,
    seed: Annotated[int, typer.Option(help="of the choice and of the augmentation")] = 0,
    data_format: FormatOption = None,
    merge: MergeOption = None,
    drop: DropOption = None,
    ignore: IgnoreOption = None,
) -> None:
    """A contact sheet of what training sees: augmented pictures with their boxes."""
    from edgehone.augment import Frame, contact_sheet
    from edgehone.data import read_dataset
    from edgehone.data.picture import write_image
    from edgehone.space import parse_assignments
    from edgehone.strategy import load_strategy

    chosen = parse_assignments(load_strategy(strategy), set_ or [])
    dataset = read_dataset(data, format=data_format, selection=selection(merge, drop, ignore))
    pictures = [sample.read() for sample in dataset.train[: max(64, rows)]]
    frame = Frame(chosen.input.shape, chosen.input.fit)
    sheet = contact_sheet(pictures, chosen.augmentation, frame, seed, dataset.class_names, (rows, columns))
    write_image(out, sheet)
    screen().print(f"written: {out}", soft_wrap=True)
