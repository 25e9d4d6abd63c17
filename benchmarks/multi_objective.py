"""Does the front of one search equal what a search for each of its places finds, at equal budget?

python benchmarks/multi_objective.py DATA --out OUT [--budget 30m] [--limits 416 256 160] [--minutes 60]

For each seed: one search for ``ap`` and ``latency`` on ``cpu``, and one search for ``ap`` alone under each limit. A
limit is an input size, since latency on a board depends on nothing else. Budgets are nominal compute
(``--deterministic``), so that all searches train equally much however busy the machine is. Then, for each search for
``ap`` alone, its winner is held against the member of the front that is best on validation among those that are no
slower: a paired bootstrap on the test split, by which nothing was chosen. The front *dominates or equals* where it is
better or the interval holds zero.

Prints the core-hours that are planned, works for ``--minutes`` and goes on where it was when it is given again; exit 3
while searches are left. Writes ``multi_objective.json`` into OUT; exit 1 if the front is worse somewhere. ``--tiny``
tests the machinery, with a few steps for a full training.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainings import SliceOver

import edgehone.search.calibration as calibration
import edgehone.search.plan as plan
from edgehone.cli import parse_duration
from edgehone.data import Dataset, read_dataset
from edgehone.evaluation import Matches, match, mean_ap, paired_difference
from edgehone.files import read_json, write_json
from edgehone.inference import open_detector
from edgehone.pipeline import FOUND, Found, search
from edgehone.request import WORKERS, Request
from edgehone.results import judge
from edgehone.search.board_costs import Latencies
from edgehone.search.progress import Status
from edgehone.search.scope import Scope
from edgehone.space import load

BOARD = "cpu"
UNFINISHED = 3


@dataclass(frozen=True)
class Point:
    """A detector that a search found: its folder, milliseconds, AP on validation."""

    folder: Path
    milliseconds: float
    ap: float

    def on_test(self, dataset: Dataset) -> Matches:
        """Its answers on the test split."""
        detections = list(open_detector(str(self.folder)).detect(sample.read().image for sample in dataset.test))
        return match([sample.truth() for sample in dataset.test], detections, len(dataset.class_names))


def request_of(given: argparse.Namespace, seed: int, limit: int | None) -> Request:
    """The search for the front, or for AP alone up to an input size."""
    return Request(
        data=given.data,
        model=given.model,
        boards=(BOARD,),
        budget_s=parse_duration(given.budget),
        proof="off",
        max_input=max(given.limits) if limit is None else limit,
        seed=seed,
        objectives=("ap", "latency") if limit is None else ("ap",),
        scope=Scope(deterministic=True),
        store="none",
    )


def front_of(folder: Path, milliseconds: dict[int, float]) -> list[Point]:
    """Every full training of the front."""
    found = load(Found, read_json(folder / FOUND))
    return [
        Point(folder / "trials" / point.trial, milliseconds[point.strategy.input.size], point.values["ap"])
        for point in found.front
    ]


def winner_of(folder: Path, milliseconds: dict[int, float]) -> Point:
    """What a search for AP alone found."""
    found = load(Found, read_json(folder / FOUND))
    best = found.standings[0]
    return Point(folder / "trials" / best.name, milliseconds[found.strategy.input.size], best.values[0])


def compare(front: Sequence[Point], single: Point, dataset: Dataset) -> dict[str, Any]:
    """The front at a winner's latency against the winner, on the test split."""
    as_fast = [point for point in front if point.milliseconds <= single.milliseconds]
    row: dict[str, Any] = {"milliseconds": round(single.milliseconds, 2), "ap_validation": round(single.ap, 4)}
    if not as_fast:
        return {**row, "front": None, "equals": False}
    chosen = max(as_fast, key=lambda point: point.ap)
    sides = chosen.on_test(dataset), single.on_test(dataset)
    gain = judge(*paired_difference(*sides))
    mine = {"milliseconds": round(chosen.milliseconds, 2), "ap_validation": round(chosen.ap, 4)}
    return {
        **row,
        "ap_test": round(mean_ap(sides[1])[0], 4),
        "front": {**mine, "ap_test": round(mean_ap(sides[0])[0], 4)},
        "gain": gain.model_dump(mode="json", exclude={"asked"}),
        "equals": gain.verdict != "worse",
    }


def main() -> None:
    """Search what is left within the slice, then compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="yolov4-tiny")
    parser.add_argument("--budget", default="30m", help="of each search, nominal")
    parser.add_argument("--limits", type=int, nargs="+", default=[416, 256, 160], help="input sizes, pixels")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args()
    if given.tiny:
        plan.MIN_STEPS, plan.TRIAL_OVERHEAD_S, calibration.NOMINAL_SECONDS = 8, 0.1, 0.35
    deadline = time.monotonic() + 60 * given.minutes
    searches = {
        (seed, limit): given.out / f"{'front' if limit is None else f'ap-{limit}'}-{seed}"
        for seed in given.seeds
        for limit in (None, *given.limits)
    }
    left = [key for key, folder in searches.items() if not (folder / FOUND).is_file()]
    hours = len(left) * WORKERS * parse_duration(given.budget) / 3600
    print(f"planned: at most {hours:.1f} core-hours, {len(left)} searches of {given.budget}", flush=True)

    def show(status: Status) -> None:
        if time.monotonic() > deadline:
            raise SliceOver
        if status.event:
            print(f"  {status.message}", flush=True)

    try:
        for seed, limit in left:
            print(searches[seed, limit].name, flush=True)
            search(request_of(given, seed, limit), searches[seed, limit], show)
    except SliceOver:
        print("the slice is over; give the same command again")
        sys.exit(UNFINISHED)
    dataset, rows = read_dataset(given.data), list[dict[str, Any]]()
    for seed in given.seeds:
        folder = searches[seed, None]
        milliseconds = load(Latencies, read_json(folder / "latency.json")).middle(BOARD)
        front = front_of(folder, milliseconds)
        for limit in given.limits:
            row = compare(front, winner_of(searches[seed, limit], milliseconds), dataset)
            rows.append({"seed": seed, "limit": limit, **row})
            print(rows[-1], flush=True)
    equals = all(row["equals"] for row in rows)
    write_json(given.out / "multi_objective.json", {"budget": given.budget, "rows": rows, "front_equals": equals})
    print("the front dominates or equals every single search" if equals else "the front is worse somewhere")
    sys.exit(int(not equals))


if __name__ == "__main__":
    main()
