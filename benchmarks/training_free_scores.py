"""Which scores that need no or little training rank strategies as full training does?

python benchmarks/training_free_scores.py DATA [DATA ...] [--minutes 60] [--least-ap 0.02]

Takes the strategies that ``recorded_trainings.py`` has trained in full, gives each its scores (the ceiling and what is
lost before training, positives per object, alignment of the features before training and after a few steps, AP of the
recorded short trainings), keeps them in ``recorded/scores-DATA.jsonl``, and prints Spearman's rank correlation of each
with the AP of the full training on validation, with a 95 % bootstrap interval over strategies: over all, and over those
that learned anything. Goes on where it was when it is given again; exit 3 while scores are left. One thread.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recorded_trainings import BASE, MODEL, RUNGS, drawn
from scipy.stats import spearmanr
from trainings import RECORDED, Row, Table, read_rows

from edgehone.analysis.alignment import alignment_scores
from edgehone.analysis.projection import Candidate, projection_facts
from edgehone.data import Dataset, read_dataset
from edgehone.strategy import Strategy

DRAWS = 4000
UNFINISHED = 3
ALIGNED_STEPS = (0, 20)


def scores_of(strategy: Strategy, dataset: Dataset) -> dict[str, float]:
    """Every score of a strategy that does not need its training."""
    started = time.monotonic()
    facts = projection_facts(Candidate("trial", strategy), BASE, MODEL, dataset.class_names, dataset.train)
    seconds = {"projection": round(time.monotonic() - started, 2)}
    started = time.monotonic()
    aligned = alignment_scores(strategy, MODEL, dataset, steps=ALIGNED_STEPS, seed=0)
    seconds["alignment"] = round(time.monotonic() - started, 2)
    analytic = {
        "ceiling AP": facts.ceiling_ap,
        "not lost": 1 - facts.lost_fraction,
        "positives per object": facts.positives_per_object,
    }
    return {**analytic, **aligned, **{f"seconds of {name}": value for name, value in seconds.items()}}


def kept_scores(table: Table, deadline: float) -> tuple[dict[int, Row], bool]:
    """Trial to its scores, from the file or made; whether all are there."""
    path = table.path.with_name(f"scores-{table.dataset.name}.jsonl")
    kept = {row["trial"]: row for row in read_rows(path)}
    wanted = sorted(row["trial"] for row in table.rows.values() if row["study"] == "random" and row["share"] == 1)
    for trial in wanted:
        if trial in kept:
            continue
        if time.monotonic() > deadline:
            return kept, False
        kept[trial] = {"trial": trial, **scores_of(drawn(trial), table.dataset)}
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(kept[trial]) + "\n")
        print(table.dataset.name, kept[trial], flush=True)
    return kept, True


def columns(table: Table, scores: Mapping[int, Row]) -> dict[str, Any]:
    """Name of a score to its values, a trial each, in one order; ``full`` is the AP of the full training."""
    random = [row for row in table.rows.values() if row["study"] == "random"]
    trained = {(row["trial"], row["share"]): row["ap"] for row in random}
    trials = [t for t in sorted(scores) if all((t, share) in trained for share in RUNGS)]
    names = [name for name in scores[trials[0]] if name != "trial" and not name.startswith("seconds")]
    found = {name: np.array([scores[t][name] for t in trials]) for name in names}
    for share in RUNGS[:-1]:
        found[f"AP after {share:.3f} of the steps"] = np.array([trained[t, share] for t in trials])
    return {**found, "full": np.array([trained[t, 1.0] for t in trials])}


def correlation(values: Any, full: Any) -> tuple[float, float, float]:
    """Spearman's rank correlation with its bootstrap interval."""
    rng = np.random.default_rng(0)
    rho = float(spearmanr(values, full).statistic) if np.ptp(values) else 0.0
    draws = []
    for _ in range(DRAWS):
        rows = rng.integers(len(full), size=len(full))
        if np.ptp(values[rows]) and np.ptp(full[rows]):
            draws.append(float(spearmanr(values[rows], full[rows]).statistic))
    low, high = np.quantile(draws, [0.025, 0.975]) if draws else (0.0, 0.0)
    return rho, float(low), float(high)


def show(name: str, table: Mapping[str, Any], least_ap: float) -> None:
    """One row for each score."""
    working = table["full"] >= least_ap
    for score, values in table.items():
        if score == "full":
            continue
        cells = []
        for chosen in (np.ones_like(working), working):
            rho, low, high = correlation(values[chosen], table["full"][chosen])
            cells.append(f"{rho:+.2f} [{low:+.2f}, {high:+.2f}] (n = {int(chosen.sum())})")
        print(f"| {name} | {score} | {' | '.join(cells)} |")


def main(arguments: Sequence[str] | None = None) -> None:
    """Score what is not scored within the slice, then print the correlations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--least-ap", type=float, default=0.02)
    parser.add_argument("--out", type=Path, default=RECORDED)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    deadline = time.monotonic() + 60 * given.minutes
    complete = True
    print("| data | score | all strategies | those that learned |\n|---|---|---|---|")
    for source in given.data:
        table = Table(read_dataset(source), given.out)
        scores, finished = kept_scores(table, deadline)
        complete = complete and finished
        show(table.dataset.name, columns(table, scores), given.least_ap)
    if not complete:
        sys.exit(UNFINISHED)


if __name__ == "__main__":
    main()
