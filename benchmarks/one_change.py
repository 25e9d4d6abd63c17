"""What is one change worth to the strategy that the rules prefer? Each change trained, each seed against the same seed.

python benchmarks/one_change.py DATA [DATA ...] [--seeds 0 1] [--minutes 60] [--table] [--out benchmarks/recorded]

The strategy of the rules, within the dimensions of ``recorded_trainings.py``, and one by one the changes of
:data:`CHANGES`, trained in full there; AP on validation. The gain of a change is its mean difference to the unchanged
strategy; its interval is that of a mean over seeds, with the noise between seeds that the searches assume. Prints the
core-hours that are planned, works for ``--minutes`` and goes on where it was when it is given again; exit 3 while
trainings are left. ``--table`` trains nothing. One thread.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
from evidence import RECORDED, UNFINISHED, SliceOver
from recorded_trainings import job_of, preferences, published_kinds, space_of
from trainings import Table

from edgehone.data import read_dataset
from edgehone.search.finalists import SEED_NOISE
from edgehone.space import flatten, replace
from edgehone.strategy import Strategy

CHANGES: tuple[dict[str, Any], ...] = (
    {"projection.vote": "object"},
    {"projection.vote": "positive"},
    {"projection.classification.weight": 2.0},
    {"projection.classification.weight": 0.5},
    {"projection.box_loss.weight": 0.05},
    {"optimisation.optimizer.lr": 0.002},
    {"projection.coding.kind": "exp"},
    {"projection.coding.kind": "distances"},
    {"projection.assigner.kind": "ratio_match", "projection.objectness.target": "iou"},
    {"projection.assigner.kind": "sim_ota"},
    {"projection.anchors.kind": "official"},
    {"augmentation.mosaic.probability": 0.5},
    {"augmentation.affine.scale": 0.3},
)


def arms(table: Table) -> dict[str, Strategy]:
    """The rules' strategy under the name of nothing, and what each change makes of it, by its text."""
    base = cast(Strategy, space_of(preferences(table.dataset), 0.0, published_kinds()).preferred())
    flat = flatten(base)
    changes = [each for each in CHANGES if any(flat[path] != value for path, value in each.items())]
    return {"": base, **{told(each): replace(base, each) for each in changes}}


def told(change: dict[str, Any]) -> str:
    """A change in one line."""
    return ", ".join(f"{path} = {value}" for path, value in change.items())


def show(table: Table, seeds: list[int]) -> None:
    """A row for each change of which any seed is there."""
    found = {
        text: {seed: row["ap"] for seed in seeds if (row := table.recorded(job_of(strategy, seed, 1.0)))}
        for text, strategy in arms(table).items()
    }
    base = found.pop("")
    if base:
        mean = np.mean(list(base.values()))
        print(f"| {table.dataset.name} | the rules' strategy: AP {mean:.3f} ({len(base)} seeds) | |")
    for text, aps in found.items():
        gains = [100 * (ap - base[seed]) for seed, ap in aps.items() if seed in base]
        if gains:
            half = 196 * SEED_NOISE * np.sqrt(2 / len(gains))
            mean = float(np.mean(gains))
            print(f"| {table.dataset.name} | {text} | {mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}] |")


def main() -> None:
    """Do what is left within the slice, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--out", type=Path, default=RECORDED)
    given = parser.parse_args()
    deadline = time.monotonic() + 60 * given.minutes
    tables = [Table(read_dataset(source), given.out, deadline) for source in given.data]
    left = []
    if not given.table:
        jobs = [(table, job_of(s, seed, 1.0)) for seed in given.seeds for table in tables for s in arms(table).values()]
        hours = sum(table.hours([job]) for table, job in jobs)
        print(f"planned: {hours:.1f} core-hours", flush=True)
        try:
            for table, job in jobs:
                row = table.trained(job, study="change")
                print(f"{table.dataset.name} seed {job.seed}: AP {row['ap']:.3f} ({row['seconds']:.0f} s)", flush=True)
        except SliceOver:
            left = [job for table, job in jobs if not table.has(job)]
    print("| data | change | gain in AP points [95 %] |\n|---|---|---|")
    for table in tables:
        show(table, given.seeds)
    if left:
        print(f"left: {len(left)} trainings")
        sys.exit(UNFINISHED)


if __name__ == "__main__":
    main()
