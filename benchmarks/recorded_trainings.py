"""Real trainings of random strategies, recorded for studies of searchers and of scores that need no training.

python benchmarks/recorded_trainings.py DATA [DATA ...] [--trials 60] [--minutes 60] [--out benchmarks/recorded]

Draws strategies uniformly over :data:`PATHS` (all else as in :data:`BASE`), no rule is asked; trains each at the three
lengths of :data:`RUNGS`, each with its schedule compressed to its length, and writes AP on validation as a line of
``recorded/DATA.jsonl``. Trial n of every data set is the same strategy. Prints the core-hours that are planned, works
for ``--minutes`` and goes on where it was when it is given again; exit 3 while trainings are left. One thread.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from pathlib import Path
from typing import cast

import numpy as np
from trainings import RECORDED, SliceOver, Table

from edgehone.analysis.capacity_ladder import probe_strategy
from edgehone.data import read_dataset
from edgehone.space import SearchSpace, dimensions, replace
from edgehone.strategy import Strategy
from edgehone.training import Job

MODEL = "yolov4-tiny"
INPUT = 160
STEPS, BATCH = 400, 8
RUNGS = (1 / 8, 1 / 4, 1.0)
PATHS = (
    "projection.anchors.kind",
    "projection.coding.kind",
    "projection.assigner.kind",
    "projection.box_loss.kind",
    "projection.box_loss.weight",
    "projection.objectness.target",
    "projection.classification.weight",
    "projection.vote",
    "augmentation.mosaic.probability",
    "augmentation.affine.scale",
    "optimisation.optimizer.kind",
    "optimisation.optimizer.lr",
)
BASE = replace(
    probe_strategy(INPUT, 3, 0.5),
    {"augmentation.mixup.probability": 0.0, "optimisation.batch_size": BATCH},
)
UNFINISHED = 3


def drawn(trial: int) -> Strategy:
    """The strategy of a trial: uniform over the named dimensions."""
    fixed = frozenset(d.path for d in dimensions(Strategy)) - frozenset(PATHS)
    return cast(Strategy, SearchSpace(BASE, (), fixed).sample(np.random.default_rng([2026, trial])))


def job_of(trial: int, share: float) -> Job:
    """The training of a trial at a share of the full length."""
    steps = round(STEPS * share)
    return Job(model=MODEL, strategy=drawn(trial), steps=steps, batch_size=BATCH, seed=trial, precision="bf16")


def main() -> None:
    """Do what is left within the slice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--out", type=Path, default=RECORDED)
    given = parser.parse_args()
    deadline = time.monotonic() + 60 * given.minutes
    tables = [Table(read_dataset(source), given.out, deadline) for source in given.data]
    trials = [(trial, share) for trial in range(given.trials) for share in RUNGS]
    jobs = [job_of(trial, share) for trial, share in trials]
    print(f"planned: {sum(table.hours(jobs) for table in tables):.1f} core-hours", flush=True)
    try:
        for (trial, share), table in itertools.product(trials, tables):
            row = table.trained(job_of(trial, share), study="random", trial=trial, share=share)
            print(f"{table.dataset.name} trial {trial} share {share:.3f}: AP {row['ap']:.3f}", flush=True)
    except SliceOver:
        print(f"left: {sum(table.hours(jobs) for table in tables):.1f} core-hours")
        sys.exit(UNFINISHED)


if __name__ == "__main__":
    main()
