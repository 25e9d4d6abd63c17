"""The application, and what its commands share: arguments, options, and how they speak."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from edgehone.errors import UsageError
from edgehone.types import Json

if TYPE_CHECKING:
    from edgehone.data import Selection

ORDER = (
    *("check", "data", "analyse", "run", "search", "explain", "train", "evaluate", "detect"),
    *("boards", "deploy", "verify", "convert", "diff", "store"),
)
"""Commands as a user meets them: data, the whole job, its parts, boards, the rest."""


class InOrder(TyperGroup):
    """Lists the commands in :data:`ORDER`, whatever module declares them; one that is not named there comes last."""

    def list_commands(self, ctx: Any) -> list[str]:
        """See click."""
        there = super().list_commands(ctx)
        return sorted(there, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


app = typer.Typer(
    name="edgehone",
    cls=InOrder,
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
WeightsOption = Annotated[
    str | None, typer.Option(help="start from a checkpoint, a whole or partial .weights file, or a run's folder")
]
TeacherOption = Annotated[
    str | None, typer.Option(help="a trained model that may be learned from; it must know the data's classes by name")
]
ObjectiveOption = Annotated[
    list[str] | None,
    typer.Option(
        help="ap, ap50, recall@precision=0.9, an expression like 0.7*ap+0.3*ap[NAME]; any of them in a board's 8 bits, "
        "like ap@kneron-kl720; or, after one of them, latency; may be repeated: then a front is searched"
    ),
]
LatencyOption = Annotated[
    list[str] | None,
    typer.Option(
        help="limit like cpu<=8ms or jetson-xavier-nx:fp16@15W_2CORE<=8ms, on the upper end of the latency's interval; "
        "may be repeated: all of them hold"
    ),
]
MeasuredOption = Annotated[
    list[Path] | None,
    typer.Option(
        help="a measured.json that measure.py wrote on a board: takes the place of estimates; may be repeated"
    ),
]
SearcherOption = Annotated[
    str, typer.Option(help="informed, random, evolution, authors, or with the extra \\[optuna] tpe and gp")
]
BlindOption = Annotated[bool, typer.Option("--blind", help="search without the rules' advice")]
FixOption = Annotated[
    list[str] | None, typer.Option("--fix", help="do not search a setting: path=value", metavar="PATH=VALUE")
]
OnlyOption = Annotated[
    list[str] | None, typer.Option("--only", help="search nothing but these paths", metavar="PATH,...")
]
LeaveOutOption = Annotated[
    list[str] | None,
    typer.Option(
        "--leave-out",
        help="data sets by their names: what rules and the store learnt on them does not count, so that a "
        "search on one proves them",
        metavar="NAME,...",
    ),
]
DeterministicOption = Annotated[
    bool,
    typer.Option(
        "--deterministic", help="the same trials however often it is interrupted; the budget is nominal compute"
    ),
]
ProofOption = Annotated[
    str, typer.Option(help="full: both presets trained as long as the winner; quick: the better one; off")
]
CompareOption = Annotated[
    str | None, typer.Option(help="evolution: also run the authors' genetic evolution, outside the budget")
]
StoreOption = Annotated[
    str | None, typer.Option(help="a file of searches, or none; else EDGEHONE_STORE, else in the user's data folder")
]
SameDataOption = Annotated[
    bool, typer.Option("--same-data", help="start from earlier searches of the very same data, too")
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        help="trainings side by side, one thread each: 2, or on a GPU what its memory holds; 0 trains in this process"
    ),
]
RayOption = Annotated[str | None, typer.Option(help="train on a Ray cluster: its address, or auto")]
Int8Option = Annotated[
    bool, typer.Option("--int8", help="judge bundles in 8 bits, and repair what costs too much; takes minutes")
]
MaxDropOption = Annotated[float, typer.Option(help="AP points that 8 bits may cost", min=0.0, max=100.0)]
DeviceOption = Annotated[
    str, typer.Option(help="where trainings calculate: auto (a CUDA device, if there is one), cpu, cuda or cuda:NUMBER")
]
StudyOption = Annotated[
    str | None, typer.Option(help="keep the study in PostgreSQL: postgresql://USER@HOST:PORT/DATABASE (else in a file)")
]
FormatOption = Annotated[
    str | None, typer.Option("--format", help="coco, voc, darknet, yolo or csv, where the detected format is wrong")
]
MergeOption = Annotated[
    list[str] | None, typer.Option("--merge", help="join classes: vehicle=car,van; may be repeated", metavar="NEW=A,B")
]
DropOption = Annotated[
    list[str] | None, typer.Option("--drop", help="classes that do not count: background", metavar="NAME")
]
IgnoreOption = Annotated[
    list[str] | None, typer.Option("--ignore", help="classes that neither train nor count as errors", metavar="NAME")
]


def parse_duration(text: str) -> float:
    """Seconds from ``90s``, ``30m``, ``2h``, ``1h30m``; ``0`` needs no unit."""
    if text.strip() == "0":
        return 0.0
    found = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?", text.strip())
    if not text.strip() or found is None:
        raise UsageError(f"a duration is given like 90s, 30m, 2h or 1h30m, got {text!r}")
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds


def parse_share(text: str) -> float | None:
    """0.2 from ``20%``; None of what is no share."""
    if not text.strip().endswith("%"):
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", text.strip())
    if found is None or float(found[1]) > 100:
        raise UsageError(f"a share is given like 20%, from 0% to 100%, got {text!r}")
    return float(found[1]) / 100


def selection(merge: list[str] | None, drop: list[str] | None, ignore: list[str] | None) -> Selection:
    """The classes that are to count."""
    from edgehone.data import Selection

    return Selection.parse(merge or [], drop or [], ignore or [])


def screen() -> Console:
    """Standard output: as wide as the terminal, and wide enough for the tables elsewhere."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=120)


def emit(content: Json) -> None:
    """The one JSON document."""
    json.dump(content, sys.stdout, indent=2, allow_nan=False)
    sys.stdout.write("\n")


def fail(message: str, code: int) -> NoReturn:
    """Print an error for a person and leave."""
    console.print(f"[red]error:[/red] {escape(message)}")
    sys.exit(code)
