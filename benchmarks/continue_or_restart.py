"""A strategy goes up a rung: is it better trained anew, or on from what it has learnt, at equal total compute?

python benchmarks/continue_or_restart.py DATA [DATA ...] --out OUT [--steps 180] [--minutes 60]

Three strategies that the recorded trainings would promote (:data:`TRIALS`), some seeds each, at 160 px, bf16, one
thread. All arms spend the same: a sixth, a third and a whole training, one after another.

    anew       each stage starts afresh; what counts is the last (as searches do)
    continued  each stage, with its whole schedule, starts from the weights that the stage before left
    at once    one training as long as the three together: what a trial would reach that is only ever paused

Prints the core-hours that are planned, works for ``--minutes`` and goes on where it was when it is given again; exit 3
while trainings are left. AP is on validation. Writes ``continue_or_restart.json`` into OUT.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from recorded_trainings import BATCH, MODEL, UNFINISHED, drawn
from scipy.stats import t as student
from trainings import SliceOver, Table

from edgehone.data import read_dataset
from edgehone.files import write_json
from edgehone.search.plan import MIDDLE, SHORT
from edgehone.training import Job, StartWeights

TRIALS = (2, 3, 17)
"""The best of the recorded short trainings of bccd; trials 2 and 17 are among the best five of cards-640 as well."""

STAGES = (SHORT, MIDDLE, 1.0)
ARMS = ("anew", "continued", "at once")


@dataclass(frozen=True)
class Cell:
    """One strategy with one seed on one data set."""

    table: Table
    trial: int
    seed: int
    steps: int
    weights: Path

    def job(self, share: float, start: Path | None = None) -> Job:
        """A training of a share of the full length."""
        weights = None if start is None else StartWeights.of(str(start))
        steps = round(self.steps * share)
        return Job(
            model=MODEL, strategy=drawn(self.trial), steps=steps, batch_size=BATCH, seed=self.seed, precision="bf16",
            weights=weights,
        )  # fmt: skip

    def train(self) -> dict[str, float]:
        """AP of each arm at the end of its last training."""
        labels = {"study": "continue", "trial": self.trial}
        found: dict[str, float] = {}
        start: Path | None = None
        for stage, share in enumerate(STAGES):
            kept = self.weights / f"{self.table.dataset.name}-{self.trial}-{self.seed}-{stage}.pt"
            row = self.table.trained(self.job(share, start), keep=kept, arm="continued", stage=stage, **labels)
            found["continued"], start = row["ap"], kept
        found["anew"] = self.table.trained(self.job(1.0), arm="anew", **labels)["ap"]
        found["at once"] = self.table.trained(self.job(sum(STAGES)), arm="at once", **labels)["ap"]
        return found

    def planned(self) -> Iterator[Job]:
        """All trainings; those that continue are planned as if they did not, which costs the same."""
        for share in (*STAGES, 1.0, sum(STAGES)):
            yield self.job(share)


def over_cells(gains: Sequence[float]) -> dict[str, float | list[float]]:
    """The mean with its 95 % interval over cells (Student's t)."""
    mean = statistics.fmean(gains)
    found: dict[str, float | list[float]] = {"gain": round(mean, 4), "won": sum(gain > 0 for gain in gains)}
    if len(gains) > 1:
        half = float(student.ppf(0.975, len(gains) - 1)) * statistics.stdev(gains) / math.sqrt(len(gains))
        found["interval95"] = [round(mean - half, 4), round(mean + half, 4)]
    return found


def summary(rows: Sequence[dict[str, float]]) -> dict[str, object]:
    """Mean AP of each arm, and what it gains over training anew."""
    return {
        "cells": len(rows),
        **{arm: {"ap": round(statistics.fmean(row[arm] for row in rows), 4)} for arm in ARMS[:1]},
        **{
            arm: {
                "ap": round(statistics.fmean(row[arm] for row in rows), 4),
                **over_cells([row[arm] - row["anew"] for row in rows]),
            }
            for arm in ARMS[1:]
        },
    }


def main() -> None:
    """Do what is left within the slice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=180, help="of a full training")
    parser.add_argument("--trials", type=int, nargs="+", default=list(TRIALS))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=60.0)
    given = parser.parse_args()
    deadline = time.monotonic() + 60 * given.minutes
    tables = [Table(read_dataset(source), given.out, deadline) for source in given.data]
    cells = [
        Cell(table, trial, seed, given.steps, given.out / "weights")
        for seed in range(given.seeds)
        for trial in given.trials
        for table in tables
    ]
    left = sum(cell.table.hours(list(cell.planned())) for cell in cells)
    print(f"planned: {left:.2f} core-hours", flush=True)
    rows: dict[str, list[dict[str, float]]] = {table.dataset.name: [] for table in tables}
    try:
        for cell in cells:
            row = cell.train()
            rows[cell.table.dataset.name].append(row)
            print(f"{cell.table.dataset.name} trial {cell.trial} seed {cell.seed}: {row}", flush=True)
    except SliceOver:
        print("the slice is over; give the same command again")
        sys.exit(UNFINISHED)
    every = [row for found in rows.values() for row in found]
    content = {**{name: summary(found) for name, found in rows.items()}, "all": summary(every)}
    write_json(given.out / "continue_or_restart.json", content)
    for name, found in content.items():
        print(name, found)


if __name__ == "__main__":
    main()
