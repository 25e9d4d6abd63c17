"""Arguments in, pipeline out: every command parses, calls one function, prints."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from edgehone import __version__, cli_boards
from edgehone.cli_data import group
from edgehone.cli_explain import store_group
from edgehone.cli_options import (
    BlindOption,
    CompareOption,
    DataArgument,
    DeterministicOption,
    DeviceOption,
    DropOption,
    FixOption,
    FormatOption,
    IgnoreOption,
    Int8Option,
    JsonOption,
    LatencyOption,
    LeaveOutOption,
    MaxDropOption,
    MeasuredOption,
    MergeOption,
    ModelArgument,
    ObjectiveOption,
    OnlyOption,
    ProofOption,
    RayOption,
    SameDataOption,
    SearcherOption,
    SetOption,
    StoreOption,
    StrategyOption,
    StudyOption,
    TeacherOption,
    WeightsOption,
    WorkersOption,
    app,
    console,
    emit,
    fail,
    parse_duration,
    screen,
    selection,
)
from edgehone.cli_search import asked
from edgehone.errors import EdgehoneError
from edgehone.interruption import heed

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


def main() -> None:
    """The console script: errors meant for people become a message and an exit code."""
    heed()
    try:
        # Without standalone mode the code of an Exit is returned; typer makes an interruption one, too.
        code = app(standalone_mode=False)
    except EdgehoneError as error:
        fail(str(error), error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except Exception as error:
        show = getattr(error, "format_message", None)
        if show is None:
            raise
        fail(str(show()), 2)
    if code == INTERRUPTED:
        fail("interrupted; give the same command again to go on", INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def version(wanted: bool) -> None:
    """Print the version and leave."""
    if wanted:
        typer.echo(f"edgehone {__version__}")
        raise typer.Exit


@app.callback()
def root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Find the learning strategy that gets the most out of a small detector, prove it, and deploy it."""


@app.command(epilog="Example: edgehone run data/mine --board cpu --budget 30m --out runs/mine")
def run(
    context: typer.Context,
    data: DataArgument,
    out: Annotated[Path, typer.Option(help="folder of the run; an unfinished run in it goes on")],
    budget: Annotated[str, typer.Option(help="wall-clock for the whole run, like 30m, 2h, 90s")] = "30m",
    model: Annotated[str, typer.Option(help="a built-in detector, or a Darknet cfg")] = "yolov4-tiny",
    board: Annotated[list[str] | None, typer.Option(help="a board to deploy on; may be repeated")] = None,
    int8: Int8Option = False,
    max_drop: MaxDropOption = 0.5,
    proof: ProofOption = "full",
    max_input: Annotated[int, typer.Option(help="largest input size that is searched, pixels")] = 416,
    latency: LatencyOption = None,
    measured: MeasuredOption = None,
    weights: WeightsOption = None,
    compare: CompareOption = None,
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
    """The whole job: analyse, explore, prove, deploy, explain."""
    from edgehone import console_view
    from edgehone.pipeline import run as run_pipeline

    request = asked(context)
    with console_view.live(console, request.budget_s) as show:
        results = run_pipeline(request, out, show)
    if as_json:
        emit(results.to_json())
        return
    console_view.print_results(screen(), results, out)


app.add_typer(group, name="data")
app.add_typer(store_group, name="store")


@app.command(epilog="Example: edgehone analyse data/mine --probe-budget 2m --json")
def analyse(
    data: DataArgument,
    model: Annotated[str, typer.Option(help="a built-in detector, or a Darknet cfg")] = "yolov4-tiny",
    max_input: Annotated[int, typer.Option(help="largest input size considered, pixels")] = 416,
    probe_budget: Annotated[
        str, typer.Option(help="time for measuring capacity and alignment with a little training, like 2m; 0 for none")
    ] = "0",
    data_format: FormatOption = None,
    merge: MergeOption = None,
    drop: DropOption = None,
    ignore: IgnoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """The three analyses: data space, capacity, knowledge projection; and what the rules make of them."""
    from edgehone import console_analysis
    from edgehone.data import read_dataset
    from edgehone.preparation import analyse_only

    budget_s = parse_duration(probe_budget)
    dataset = read_dataset(data, format=data_format, selection=selection(merge, drop, ignore))
    profile, priors = analyse_only(dataset, model, max_input, budget_s, console.print)
    if as_json:
        emit(console_analysis.analysis_summary(profile, priors))
    else:
        console_analysis.print_analysis(screen(), profile, priors)


@app.command(epilog="Example: edgehone train data/mine --strategy s.json --steps 2000 --out runs/one")
def train(
    data: DataArgument,
    out: Annotated[Path, typer.Option(help="folder for detector.pt, model.onnx and curve.json")],
    strategy: StrategyOption = "authors",
    set_: SetOption = None,
    model: Annotated[str, typer.Option(help="a built-in detector, or a Darknet cfg")] = "yolov4-tiny",
    weights: WeightsOption = None,
    steps: Annotated[int, typer.Option(help="optimizer steps", min=1)] = 2000,
    seed: Annotated[int, typer.Option(help="of weights, batches and augmentation")] = 0,
    threads: Annotated[int, typer.Option(help="of torch", min=1)] = 2,
    precision: Annotated[str, typer.Option(help="bf16 or fp32")] = "bf16",
    device: DeviceOption = "auto",
    teacher: TeacherOption = None,
    data_format: FormatOption = None,
    merge: MergeOption = None,
    drop: DropOption = None,
    ignore: IgnoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train one strategy; an interrupted training goes on when the command is given again."""
    from edgehone import console_view
    from edgehone.single import TrainRequest, train_one, with_teacher
    from edgehone.space import load, parse_assignments
    from edgehone.strategy import load_strategy
    from edgehone.training import Job, StartWeights
    from edgehone.training.device import device_here

    chosen = with_teacher(parse_assignments(load_strategy(strategy), set_ or []), teacher)
    job = load(
        Job,
        {
            "model": model,
            "strategy": chosen.model_dump(mode="json"),
            "steps": steps,
            "batch_size": chosen.optimisation.batch_size,
            "seed": seed,
            "precision": precision,
            "threads": threads,
            "device": device_here(device),
            "weights": None if weights is None else StartWeights.of(weights).model_dump(),
            "teacher": teacher,
        },
    )
    with console_view.training_bar(console) as watch:
        request = TrainRequest(data=data, format=data_format, selection=selection(merge, drop, ignore), job=job)
        evaluation = train_one(request, out, watch)
    if as_json:
        emit(console_view.evaluation_summary(evaluation))
    else:
        console_view.print_evaluation(screen(), evaluation, f"validation ({out})")


@app.command(epilog="Example: edgehone evaluate runs/mine data/mine --split test --json")
def evaluate(
    model: ModelArgument,
    data: DataArgument,
    split: Annotated[str, typer.Option(help="train, val or test")] = "test",
    integer: Annotated[
        str | None, typer.Option(help="in 8 bits, as this board calculates, and repaired where that costs too much")
    ] = None,
    max_drop: MaxDropOption = 0.5,
    data_format: FormatOption = None,
    merge: MergeOption = None,
    drop: DropOption = None,
    ignore: IgnoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """COCO metrics of a model on a split, with a 95 % interval over images."""
    from edgehone import console_view
    from edgehone.data import read_dataset
    from edgehone.single import evaluate_integer, evaluate_model

    dataset = read_dataset(data, format=data_format, selection=selection(merge, drop, ignore))
    if integer is not None:
        found, lines = evaluate_integer(model, dataset, split, integer, max_drop / 100)
        if as_json:
            emit(found)
        else:
            typer.echo("\n".join(lines))
        return
    evaluation = evaluate_model(model, dataset, split)
    if as_json:
        emit(console_view.evaluation_summary(evaluation))
    else:
        console_view.print_evaluation(screen(), evaluation, f"{split} split of {data}")


@app.command(epilog="Example: edgehone detect runs/mine photo.jpg --threshold 0.3 --json")
def detect(
    model: ModelArgument,
    pictures: Annotated[list[Path], typer.Argument(help="image files or folders of them")],
    threshold: Annotated[float, typer.Option(help="least score", min=0.0, max=1.0)] = 0.25,
    out: Annotated[Path | None, typer.Option(help="folder for the pictures with boxes drawn")] = None,
    letterbox: Annotated[
        bool | None, typer.Option("--letterbox/--stretch", help="of a Darknet pair only; else as its cfg says")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find objects in pictures."""
    from edgehone import console_view
    from edgehone.single import detect_in

    found = detect_in(model, pictures, threshold, out, letterbox)
    if as_json:
        emit({"images": found})
    else:
        console_view.print_detections(screen(), found)


@app.command(epilog="Example: edgehone diff darknet runs/mine/strategy.json")
def diff(
    first: Annotated[str, typer.Argument(help="a preset or a strategy file")],
    second: Annotated[str, typer.Argument(help="a preset or a strategy file")],
    as_json: JsonOption = False,
) -> None:
    """What differs between two strategies."""
    from edgehone import console_view
    from edgehone.space import diff as difference
    from edgehone.strategy import load_strategy

    changes = difference(load_strategy(first), load_strategy(second))
    if as_json:
        emit({path: list(values) for path, values in changes.items()})
    else:
        console_view.print_diff(screen(), first, second, changes)


@app.command(epilog="Example: edgehone convert yolov4-tiny.cfg yolov4-tiny.weights yolov4-tiny.onnx")
def convert(
    files: Annotated[
        list[str],
        typer.Argument(help="A.cfg A.weights A.onnx, or MODEL A.onnx, or MODEL A.cfg A.weights", metavar="FILES"),
    ],
    opset: Annotated[int, typer.Option(help="of ONNX: 13 or 11")] = 13,
    letterbox: Annotated[
        bool | None, typer.Option("--letterbox/--stretch", help="of a Darknet pair; else as its cfg says")
    ] = None,
    names: Annotated[Path | None, typer.Option(help="class names of a Darknet pair, one a line")] = None,
    as_json: JsonOption = False,
) -> None:
    """Darknet's cfg and weights to ONNX, and any detector to Darknet's form."""
    from edgehone.deploy.convert import Conversion, convert_files

    written = [str(path) for path in convert_files(files, Conversion(opset, letterbox, names))]
    if as_json:
        emit({"written": written})
    else:
        typer.echo("\n".join(written))


__all__ = ["app", "cli_boards", "main", "parse_duration"]
