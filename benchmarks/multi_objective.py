"""Does the front of one search equal what a search for each of its places finds, at equal budget?

python benchmarks/multi_objective.py DATA [--budget 30m] [--limits 416 256 160] [--minutes 60]

Nothing that was learnt on the very set counts in any search. For each seed: one search for ``ap`` and ``latency`` on
``cpu``, and one search for ``ap`` alone under each limit. A limit is an input size, since latency on a board depends on
nothing else. Budgets are nominal compute (``--deterministic``), so that all searches train equally much however busy
the machine is. Then, for each search for ``ap`` alone, its winner is held against the member of the front that is best
on validation among those that are no slower: a paired bootstrap on the test split, by which nothing was chosen. That
knows pictures, not what another seed would have found: of several seeds their mean counts (Student's t). The front
*dominates or equals* where it is better or the interval holds zero.

What a search found is recorded when it ends, in ``recorded/front/DATA-BUDGET-SEARCH-SEED.json``, with the matches of
its detectors on the test split beside it, so that searches may be compared whose folders are gone; one that knew what
was learnt on the set is made again. Prints the core-hours that are planned, works for ``--minutes`` and goes on where
it was when it is given again; exit 3 while searches are left; exit 1 if the front is worse somewhere. ``--tiny`` tests
the machinery, with a few steps for a full training; it records into OUT.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from evidence import (
    DEFAULT_MODEL,
    RECORDED,
    Row,
    Slice,
    SliceOver,
    changed,
    of_model,
    over,
    points,
    record,
    recorded,
    stamp,
    stop,
)
from proof_record import provenance

import edgehone.search.calibration as calibration
import edgehone.search.plan as plan
from edgehone.cli import parse_duration
from edgehone.data import Dataset, read_dataset
from edgehone.evaluation import Matches, mean_ap, paired_difference
from edgehone.evaluation.matching import ClassMatches
from edgehone.files import read_json
from edgehone.pipeline import FOUND, Found, search
from edgehone.request import Request
from edgehone.results import judge
from edgehone.search.board_costs import Latencies
from edgehone.search.likeness import Identity
from edgehone.search.placement import WORKERS
from edgehone.search.progress import Status
from edgehone.search.scope import Scope
from edgehone.search.trial import load_outcome
from edgehone.search.verdict import Split, answers_on
from edgehone.space import load

BOARD = "cpu"
FIELDS = ("images", "hits", "alarms", "truths", "scores")


@dataclass(frozen=True)
class Point:
    """A detector that a search found: milliseconds, AP on validation, matches on the test split."""

    milliseconds: float
    ap: float
    matches: Matches


def request_of(given: argparse.Namespace, name: str, seed: int, limit: int | None) -> Request:
    """The search for the front, or for AP alone up to an input size, without what the set of this name taught."""
    return Request(
        data=given.data,
        model=given.model,
        boards=(BOARD,),
        budget_s=parse_duration(given.budget),
        proof="off",
        max_input=max(given.limits) if limit is None else limit,
        seed=seed,
        objectives=("ap", "latency") if limit is None else ("ap",),
        scope=Scope(deterministic=True, leave_out=(name,)),
        store="none",
    )


def condensed(folder: Path, name: str, dataset: Dataset) -> tuple[Row, list[Matches]]:
    """What a search found: every full training of its front, or its winner; and their matches on the test split."""
    found = load(Found, read_json(folder / FOUND))
    latencies = load(Latencies, read_json(folder / "latency.json"))
    milliseconds = latencies.middle(BOARD) if BOARD in latencies.boards else {}
    best = found.standings[0]
    chosen = [(point.trial, point.values["ap"]) for point in found.front] or [(best.name, best.values[0])]
    rows: list[Row] = []
    matches: list[Matches] = []
    for trial, ap in chosen:
        outcome = load_outcome(folder / "trials", trial)
        assert outcome is not None
        strategy = outcome.task.job.strategy
        rows.append({"strategy": changed(strategy), "size": strategy.input.size, "ap_validation": ap})
        matches.append(answers_on("test", outcome, Split(dataset, folder / "trials")).matches)
    steps = {"trials": found.trials, "seconds": found.seconds, "advice": provenance(folder, name)}
    speeds = {str(size): milliseconds[size] for size in milliseconds}
    return {"stamp": stamp(), **steps, "milliseconds": speeds, "points": rows}, matches


def save_matches(path: Path, matches: Sequence[Matches]) -> None:
    """Every field of every class of every detector, under its numbers."""
    arrays = {
        f"{k} {number} {name}": getattr(each, name)
        for k, found in enumerate(matches)
        for number, each in enumerate(found.classes)
        for name in FIELDS
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)


def load_matches(path: Path) -> list[Matches]:
    """What :func:`save_matches` wrote."""
    with np.load(path) as file:
        arrays: dict[str, Any] = dict(file)
    numbers = sorted({tuple(int(part) for part in name.split()[:2]) for name in arrays})
    found: list[Matches] = []
    for k in sorted({k for k, _ in numbers}):
        classes = tuple(
            ClassMatches(*(arrays[f"{k} {number} {name}"] for name in FIELDS))
            for other, number in numbers
            if other == k
        )
        found.append(Matches(classes, len(classes[0].truths)))
    return found


def points_of(path: Path, milliseconds: dict[int, float]) -> list[Point]:
    """The detectors of a recorded search, at the latencies that one board gave all of them."""
    content = recorded(path)
    assert content is not None
    matches = load_matches(path.with_suffix(".npz"))
    return [
        Point(milliseconds[row["size"]], row["ap_validation"], each)
        for row, each in zip(content["points"], matches, strict=True)
    ]


def compare(front: Sequence[Point], single: Point) -> Row:
    """The front at a winner's latency against the winner, on the test split."""
    as_fast = [point for point in front if point.milliseconds <= single.milliseconds]
    row: Row = {"milliseconds": round(single.milliseconds, 2), "ap_validation": round(single.ap, 4)}
    row["ap_test"] = round(mean_ap(single.matches)[0], 4)
    if not as_fast:
        return {**row, "front": None}
    chosen = max(as_fast, key=lambda point: point.ap)
    gain = judge(*paired_difference(chosen.matches, single.matches))
    mine = {"milliseconds": round(chosen.milliseconds, 2), "ap_validation": round(chosen.ap, 4)}
    return {
        **row,
        "front": {**mine, "ap_test": round(mean_ap(chosen.matches)[0], 4)},
        "gain": gain.model_dump(mode="json", exclude={"asked"}),
    }


def front_table(content: Row) -> list[str]:
    """A row for each search for AP alone, and whether the front is as good as they are."""
    lines = ["| seed | limit, px | AP alone | ms | front, as fast | ms | front over it [95 %] |", "|---" * 7 + "|"]
    for row in content["rows"]:
        single = f"| {row['seed']} | {row['limit']} | {row['ap_test']:.3f} | {row['milliseconds']} "
        front, gain = row["front"], row.get("gain")
        if front is None:
            lines.append(f"{single}| nothing as fast | | |")
        else:
            against = f"{points(gain['ap'], gain['interval95'])}, {gain['verdict']}"
            lines.append(f"{single}| {front['ap_test']:.3f} | {front['milliseconds']} | {against} |")
    lines += ["", *(f"- {text}" for _, text in verdicts(content["rows"]))]
    equals = all(equal for equal, _ in verdicts(content["rows"]))
    return [*lines, "", "The front dominates or equals the searches." if equals else "The front is worse somewhere."]


def verdicts(rows: Sequence[Row]) -> list[tuple[bool, str]]:
    """For each limit whether the front is as good, and why: by pictures if there is one seed, else by seeds."""
    found: list[tuple[bool, str]] = []
    for limit in dict.fromkeys(row["limit"] for row in rows):
        mine = [row for row in rows if row["limit"] == limit]
        if any(row["front"] is None for row in mine):
            found.append((False, f"up to {limit} px: the front has nothing as fast"))
            continue
        mean, interval = over([row["gain"]["ap"] for row in mine])
        low, high = interval or mine[0]["gain"]["interval95"]
        word = "better" if low > 0 else "worse" if high < 0 else "equal"
        by = f"over {len(mine)} seeds" if interval else "over pictures"
        found.append((word != "worse", f"up to {limit} px: {points(mean, (low, high))} {by}: {word}"))
    return found


def options() -> argparse.ArgumentParser:
    """Of this script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--out", type=Path, default=Path("runs/front"), help="folders of searches; may be lost")
    parser.add_argument("--recorded", type=Path, default=RECORDED)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--budget", default="30m", help="of each search, nominal")
    parser.add_argument("--limits", type=int, nargs="+", default=[416, 256, 160], help="input sizes, pixels")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--tiny", action="store_true")
    return parser


def main() -> None:
    """Search what is left within the slice, then compare."""
    given = options().parse_args()
    if given.tiny:
        plan.MIN_STEPS, plan.TRIAL_OVERHEAD_S, calibration.NOMINAL_SECONDS = 8, 0.1, 0.35
        given.recorded = given.out / "recorded"
    time, dataset = Slice(given.minutes), read_dataset(given.data)
    name = Identity.of(dataset).name
    data = dataset.name.partition("?")[0].replace(":", "-")
    stem = given.recorded / "front" / f"{data}{of_model(given.model)}-{given.budget}"
    names = {(s, limit): f"{limit or 'front'}-{s}" for s in given.seeds for limit in (None, *given.limits)}
    paths = {key: stem.with_name(f"{stem.name}-{which}.json") for key, which in names.items()}
    left = [key for key, path in paths.items() if "advice" not in (recorded(path) or {})]
    hours = len(left) * WORKERS * parse_duration(given.budget) / 3600
    print(f"planned: at most {hours:.1f} core-hours, {len(left)} searches of {given.budget}", flush=True)

    def show(status: Status) -> None:
        time.check()
        if status.event:
            print(f"  {status.message}", flush=True)

    try:
        for key in left:
            print(names[key], flush=True)
            folder = given.out / f"{stem.name}-{names[key]}"
            search(request_of(given, name, *key), folder, show)
            row, matches = condensed(folder, name, dataset)
            save_matches(paths[key].with_suffix(".npz"), matches)
            record(paths[key], row)
    except SliceOver:
        stop()
    content = {"stamp": stamp(), "data": dataset.name, "budget": given.budget, "rows": compared(given, paths)}
    record(stem.with_name(f"{stem.name}.json"), content)
    print("\n".join(front_table(content)))
    sys.exit(int(not all(equal for equal, _ in verdicts(content["rows"]))))


def compared(given: argparse.Namespace, paths: dict[tuple[int, int | None], Path]) -> list[Row]:
    """Every search for AP alone against the front of its seed; latencies are those that the front was searched with."""
    rows: list[Row] = []
    for seed in given.seeds:
        content = recorded(paths[seed, None])
        assert content is not None
        milliseconds = {int(size): value for size, value in content["milliseconds"].items()}
        front = points_of(paths[seed, None], milliseconds)
        for limit in given.limits:
            rows.append(
                {"seed": seed, "limit": limit, **compare(front, points_of(paths[seed, limit], milliseconds)[0])}
            )
    return rows


if __name__ == "__main__":
    main()
