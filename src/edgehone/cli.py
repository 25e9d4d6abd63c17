"""Arguments in, pipeline out: every command parses, calls one function, prints."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from edgehone import __version__
from edgehone.errors import EdgehoneError, UsageError
from edgehone.types import Json

app = typer.Typer(
    name="edgehone",
    help="Find the learning strategy that gets the most out of a small detector, prove it, and deploy it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
console = Console(stderr=True, highlight=False)

DataArgument = Annotated[str, typer.Argument(help="a folder, a description file, or builtin:NAME", metavar="DATA")]
ModelArgument = Annotated[
    str, typer.Argument(help="a run folder, a .pt checkpoint, an .onnx file or A.cfg+A.weights", metavar="MODEL")
]
JsonOption = Annotated[bool, typer.Option("--json", help="print one JSON document on stdout and nothing else")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="change a setting: path=value", metavar="PATH=VALUE")
]
StrategyOption = Annotated[str, typer.Option(help="a preset (darknet, authors) or a strategy file")]


INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


def main() -> None:
    """The console script: errors meant for people become a message and an exit code."""
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


def fail(message: str, code: int) -> NoReturn:
    """Print an error for a person and leave."""
    console.print(f"[red]error:[/red] {_escape(message)}")
    sys.exit(code)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def emit(content: Json) -> None:
    """The one JSON document."""
    json.dump(content, sys.stdout, indent=2, allow_nan=False)
    sys.stdout.write("\n")


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
    data: DataArgument,
    out: Annotated[Path, typer.Option(help="folder of the run; an unfinished run in it goes on")],
    budget: Annotated[str, typer.Option(help="wall-clock for the whole run, like 30m, 2h, 90s")] = "30m",
    model: Annotated[str, typer.Option(help="a built-in detector, or a Darknet cfg")] = "yolov4-tiny",
    board: Annotated[list[str] | None, typer.Option(help="a board to deploy on; may be repeated")] = None,
    proof: Annotated[
        str, typer.Option(help="full: both presets trained as long as the winner; quick: the better one; off")
    ] = "full",
    max_input: Annotated[int, typer.Option(help="largest input size that is searched, pixels")] = 416,
    latency: Annotated[str | None, typer.Option(help="limit like cpu<=8ms (90th percentile)")] = None,
    compare: Annotated[
        str | None,
        typer.Option(help="evolution: also run the authors' genetic evolution, outside the budget"),
    ] = None,
    workers: Annotated[int, typer.Option(help="trainings side by side, one thread each")] = 2,
    seed: Annotated[int, typer.Option(help="of everything random")] = 0,
    as_json: JsonOption = False,
) -> None:
    """The whole job: analyse, explore, prove, deploy, explain."""
    from edgehone import console_view
    from edgehone.pipeline import Request
    from edgehone.pipeline import run as run_pipeline
    from edgehone.space import load

    request = load(
        Request,
        {
            "data": data,
            "model": model,
            "boards": board or ["cpu"],
            "budget_s": parse_duration(budget),
            "proof": proof,
            "max_input": max_input,
            "latency": latency,
            "compare": compare,
            "workers": workers,
            "seed": seed,
        },
    )
    with console_view.live(console, request.budget_s) as show:
        results = run_pipeline(request, out, show)
    if as_json:
        emit(results.to_json())
        return
    console_view.print_results(console_view.page(), results, out)


def parse_duration(text: str) -> float:
    """Seconds from ``90s``, ``30m``, ``2h``, ``1h30m``."""
    found = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?", text.strip())
    if not text.strip() or found is None:
        raise UsageError(f"a duration is given like 90s, 30m, 2h or 1h30m, got {text!r}")
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds


@app.command(epilog="Example: edgehone check data/mine")
def check(
    data: DataArgument,
    data_format: Annotated[str | None, typer.Option("--format", help="override the detected format")] = None,
    as_json: JsonOption = False,
) -> None:
    """Read a data set and say what is in it and what is wrong with it; exit 1 on errors."""
    from edgehone import console_view
    from edgehone.data import read_dataset

    dataset = read_dataset(data, format=data_format)
    if as_json:
        emit(console_view.dataset_summary(dataset))
    else:
        console_view.print_dataset(console_view.page(), dataset)
    if any(finding.severity == "error" for finding in dataset.findings):
        raise typer.Exit(1)


@app.command(epilog="Example: edgehone analyse data/mine --json")
def analyse(
    data: DataArgument,
    model: Annotated[str, typer.Option(help="a built-in detector, or a Darknet cfg")] = "yolov4-tiny",
    max_input: Annotated[int, typer.Option(help="largest input size considered, pixels")] = 416,
    as_json: JsonOption = False,
) -> None:
    """The three analyses: data space, capacity, knowledge projection; and what the rules make of them."""
    from edgehone import console_view
    from edgehone.pipeline import analyse_only

    profile, priors = analyse_only(data, model, max_input)
    if as_json:
        emit(console_view.analysis_summary(profile, priors))
    else:
        console_view.print_analysis(console_view.page(), profile, priors)


@app.command(epilog="Example: edgehone train data/mine --strategy s.json --steps 2000 --out runs/one")
def train(
    data: DataArgument,
    out: Annotated[Path, typer.Option(help="folder for detector.pt, model.onnx and curve.json")],
    strategy: StrategyOption = "authors",
    set_: SetOption = None,
    model: Annotated[str, typer.Option(help="a built-in detector, or a Darknet cfg")] = "yolov4-tiny",
    weights: Annotated[
        str | None, typer.Option(help="a .pt, a .weights or a partial file (yolov4-tiny.conv.29) to start from")
    ] = None,
    steps: Annotated[int, typer.Option(help="optimizer steps", min=1)] = 2000,
    seed: Annotated[int, typer.Option(help="of weights, batches and augmentation")] = 0,
    threads: Annotated[int, typer.Option(help="of torch", min=1)] = 2,
    precision: Annotated[str, typer.Option(help="bf16 or fp32")] = "bf16",
    as_json: JsonOption = False,
) -> None:
    """Train one strategy; an interrupted training goes on when the command is given again."""
    from edgehone import console_view
    from edgehone.single import train_one
    from edgehone.space import load, parse_assignments
    from edgehone.strategy import load_strategy
    from edgehone.training import Job

    chosen = parse_assignments(load_strategy(strategy), set_ or [])
    job = load(
        Job,
        {
            "model": model,
            "weights": weights,
            "strategy": chosen.model_dump(mode="json"),
            "steps": steps,
            "batch_size": chosen.optimisation.batch_size,
            "seed": seed,
            "precision": precision,
            "threads": threads,
        },
    )
    with console_view.training_bar(console) as watch:
        evaluation = train_one(job, data, out, watch)
    if as_json:
        emit(console_view.evaluation_summary(evaluation))
    else:
        console_view.print_evaluation(console_view.page(), evaluation, f"validation ({out})")


@app.command(epilog="Example: edgehone evaluate runs/mine data/mine --split test --json")
def evaluate(
    model: ModelArgument,
    data: DataArgument,
    split: Annotated[str, typer.Option(help="train, val or test")] = "test",
    as_json: JsonOption = False,
) -> None:
    """COCO metrics of a model on a split, with a 95 % interval over images."""
    from edgehone import console_view
    from edgehone.single import evaluate_model

    evaluation = evaluate_model(model, data, split)
    if as_json:
        emit(console_view.evaluation_summary(evaluation))
    else:
        console_view.print_evaluation(console_view.page(), evaluation, f"{split} split of {data}")


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
        console_view.print_detections(console_view.page(), found)


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
        console_view.print_diff(console_view.page(), first, second, changes)


@app.command(epilog="Example: edgehone boards")
def boards(as_json: JsonOption = False) -> None:
    """The boards that a detector can be deployed on, and what each can run."""
    from edgehone import console_view
    from edgehone.boards import BOARDS

    if as_json:
        emit({name: board.model_dump(mode="json") for name, board in BOARDS.items()})
    else:
        console_view.print_boards(console_view.page(), BOARDS)


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
