"""Real trainings of random strategies, recorded for studies of searchers and of scores that need no training.

python benchmarks/recorded_trainings.py DATA [DATA ...] [--trials 40] [--informed 20] [--minutes 60]
    [--out benchmarks/recorded]

Draws strategies over :data:`PATHS` (all else as in :data:`BASE`): ``--trials`` of them uniformly, no rule asked, trial
n the same on every data set; and ``--informed`` of them as the rules for the data set would have them drawn, because a
stand-in that has seen chance alone knows nothing of the corner that the rules lead to; and, with one seed, the changes
of the rules' strategy that ``one_change.py`` has trained in full. Trains each at the three lengths
of :data:`RUNGS`, its schedule compressed to the length, and writes AP on validation as a line of
``recorded/DATA.jsonl``. Prints the core-hours that are planned, works for ``--minutes`` and goes on where it was when
it is given again; exit 3 while trainings are left. One thread.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
from evidence import RECORDED, UNFINISHED, SliceOver
from trainings import Table, strategy_of

from edgehone.analysis.capacity_ladder import probe_strategy
from edgehone.data import Dataset, read_dataset
from edgehone.preparation import analyse_only
from edgehone.search.scope import TRUST
from edgehone.space import Prefer, SearchSpace, dimensions, fingerprint, flatten, replace
from edgehone.strategy import Strategy
from edgehone.training import Job
from edgehone.training.device import CPU, device_here

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


def published_kinds() -> Strategy:
    """The kinds at their defaults, all else as recorded."""
    flat = flatten(Strategy())
    return replace(BASE, {path: flat[path] for path in PATHS if path.endswith(".kind")})


def published() -> Strategy:
    """The searched dimensions at their defaults, as a run has what no rule speaks about; all else as recorded."""
    flat = flatten(Strategy())
    return replace(published_kinds(), {path: flat[path] for path in PATHS if not path.endswith(".kind")})


def space_of(priors: Sequence[Prefer], trust: float, base: Strategy | None = None) -> SearchSpace:
    """The recorded dimensions, with priors."""
    fixed = frozenset(d.path for d in dimensions(Strategy)) - frozenset(PATHS)
    return SearchSpace(base or published(), tuple(priors), fixed, trust)


def preferences(dataset: Dataset, leave_out: tuple[str, ...] = ()) -> list[Prefer]:
    """What the rules prefer for a data set, of the recorded dimensions; the last word on each counts.

    Args:
        dataset: to be learnt.
        leave_out: names of data sets; what was learnt on them does not count.
    """
    _, advice = analyse_only(dataset, MODEL, INPUT)
    priors = [prior.leave_out(leave_out) for prior in advice if isinstance(prior, Prefer)]
    found = {prior.path: prior for prior in priors if prior is not None and prior.path in PATHS}
    return list(found.values())


def drawn(trial: int) -> Strategy:
    """The strategy of a trial: uniform over the named dimensions."""
    return cast(Strategy, space_of((), 0.0, BASE).sample(np.random.default_rng([2026, trial])))


def guided(dataset: Dataset, count: int) -> list[Strategy]:
    """Strategies as the rules for a data set would have them drawn."""
    space = space_of(preferences(dataset) if count else (), TRUST)
    return [cast(Strategy, space.sample(np.random.default_rng([2027, trial]))) for trial in range(count)]


def changed(table: Table) -> list[Strategy]:
    """The strategies of ``one_change.py``, in the order of their trainings."""
    rows = [row for row in table.rows.values() if row["study"] == "change" and row["seed"] == 0]
    return list({fingerprint(strategy): strategy for strategy in map(strategy_of, rows)}.values())


def job_of(strategy: Strategy, trial: int, share: float, device: str = CPU) -> Job:
    """The training of a trial at a share of the full length."""
    steps = round(STEPS * share)
    return Job(
        model=MODEL, strategy=strategy, steps=steps, batch_size=BATCH, seed=trial, precision="bf16", device=device
    )  # fmt: skip


def main() -> None:
    """Do what is left within the slice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--informed", type=int, default=20)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--out", type=Path, default=RECORDED)
    given = parser.parse_args()
    device = device_here(given.device)
    deadline = time.monotonic() + 60 * given.minutes
    tables = [Table(read_dataset(source), given.out, deadline) for source in given.data]
    planned = {
        table: [("random", trial, drawn(trial)) for trial in range(given.trials)]
        + [("informed", trial, strategy) for trial, strategy in enumerate(guided(table.dataset, given.informed))]
        + [("change", 0, strategy) for strategy in changed(table)]
        for table in tables
    }
    jobs = {
        table: [job_of(s, n, share, device) for _, n, s in trials for share in RUNGS]
        for table, trials in planned.items()
    }
    print(f"planned: {sum(table.hours(each) for table, each in jobs.items()):.1f} core-hours", flush=True)
    try:
        for in_turn in itertools.zip_longest(*planned.values()):
            those = [each for each in zip(tables, in_turn, strict=True) if each[1] is not None]
            for (table, (study, trial, strategy)), share in itertools.product(those, RUNGS):
                row = table.trained(job_of(strategy, trial, share, device), study=study, trial=trial, share=share)
                print(f"{table.dataset.name} {study} {trial} share {share:.3f}: AP {row['ap']:.3f}", flush=True)
    except SliceOver:
        print(f"left: {sum(table.hours(each) for table, each in jobs.items()):.1f} core-hours")
        sys.exit(UNFINISHED)


if __name__ == "__main__":
    main()
