"""Which learning rate does AdamW want in a short training? The rules' strategy at several, each seed against the same.

python benchmarks/learning_rate.py DATA [DATA ...] [--rates 0.001 0.002 0.003] [--seeds 2 3 4 5] [--minutes 60]
    [--table] [--out benchmarks/recorded]

The strategy of the rules without what they learnt on the set, within the dimensions of ``recorded_trainings.py`` and as
long as a full training there, at each rate; AP on validation. Gains are over the first rate, their intervals of a mean
over seeds by Student's t. Seeds 0 and 1 are those of ``one_change.py``. The stand-in of the replays does not know these
trainings. Prints the core-hours that are planned, works for ``--minutes`` and goes on where it was when it is given
again; exit 3 while trainings are left. ``--table`` trains nothing. One thread.
"""

from __future__ import annotations

import argparse
import functools
import time
from pathlib import Path
from typing import cast

from arms import over_seeds
from evidence import RECORDED, SliceOver, points, stop
from recorded_trainings import job_of, preferences, space_of
from trainings import Table

from edgehone.data import Dataset, read_dataset
from edgehone.search.likeness import Identity
from edgehone.space import replace
from edgehone.strategy import Strategy
from edgehone.training import Job


@functools.cache
def base_of(source: str) -> Strategy:
    """The strategy of the rules for a data set, without what they learnt on it: analysed once."""
    dataset = read_dataset(source)
    return cast(Strategy, space_of(preferences(dataset, (Identity.of(dataset).name,)), 0.0).preferred())


def jobs(dataset: Dataset, rate: float, seeds: list[int]) -> list[Job]:
    """The trainings at a rate, a seed each."""
    strategy = replace(base_of(dataset.source), {"optimisation.optimizer.lr": rate})
    return [job_of(strategy, seed, 1.0) for seed in seeds]


def rows(table: Table, rates: list[float], seeds: list[int]) -> list[str]:
    """A row for each rate: AP, and the gain over the first where a seed has both."""
    found = [[table.recorded(job) for job in jobs(table.dataset, rate, seeds)] for rate in rates]
    lines: list[str] = []
    for rate, known in zip(rates, found, strict=True):
        both = [(a["ap"], b["ap"]) for a, b in zip(known, found[0], strict=True) if a and b]
        if not both:
            continue
        gain = over_seeds([{"": {"gain": a - b}} for a, b in both], "")
        told = points(gain["gain"], gain["interval95"]) if rate != rates[0] and "interval95" in gain else ""
        lines.append(
            f"| {table.dataset.name} | {rate:g} | {len(both)} | {sum(a for a, _ in both) / len(both):.3f} | {told} |"
        )
    return lines


def main() -> None:
    """Do what is left within the slice, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.001, 0.002, 0.003])
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 3, 4, 5])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--out", type=Path, default=RECORDED)
    given = parser.parse_args()
    deadline = time.monotonic() + 60 * given.minutes
    tables = [Table(read_dataset(source), given.out, deadline) for source in given.data]
    planned = [
        (table, job)
        for seed in given.seeds
        for table in tables
        for rate in given.rates
        for job in jobs(table.dataset, rate, [seed])
    ]
    if not given.table:
        print(f"planned: {sum(table.hours([job]) for table, job in planned):.1f} core-hours", flush=True)
        try:
            for table, job in planned:
                row = table.trained(job, study="rate")
                rate = job.strategy.optimisation.optimizer.lr
                print(
                    f"{table.dataset.name} {rate:g} seed {job.seed}: AP {row['ap']:.3f} ({row['seconds']:.0f} s)",
                    flush=True,
                )
        except SliceOver:
            stop()
    print("| data | learning rate | seeds | AP | gain in AP points [95 %] |\n|---|---|---|---|---|")
    print("\n".join(line for table in tables for line in rows(table, given.rates, given.seeds)))


if __name__ == "__main__":
    main()
