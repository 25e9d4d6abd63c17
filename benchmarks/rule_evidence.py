"""What do recorded trainings of random strategies say of the rules' choices, each set by itself?

python benchmarks/rule_evidence.py DATA [DATA ...]

Of the strategies that ``recorded_trainings.py`` drew uniformly, no rule asked: for each choice that a rule prefers on
the data set, the share of pairs in which a full training with that choice beats one with another (area under the ROC
curve), with a 95 % bootstrap interval over strategies. A half says nothing. One choice at a time: what the others did
to the same strategies is not taken out. Trains nothing.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray
from recorded_trainings import drawn, preferences
from sklearn.metrics import roc_auc_score
from trainings import Table

from edgehone.data import read_dataset
from edgehone.space import flatten

DRAWS = 4000


def beats(follows: NDArray[np.bool_], ap: NDArray[np.float64]) -> float:
    """Share of pairs in which a follower beats a departer; a half where nobody follows, or everybody does."""
    return float(roc_auc_score(follows, ap)) if 0 < follows.sum() < len(follows) else 0.5


def main() -> None:
    """A row for each set and rule."""
    print("| data | rule | followers | share of pairs won [95 %] |\n|---|---|---|---|")
    for source in sys.argv[1:]:
        table = Table(read_dataset(source))
        full = {r["trial"]: r["ap"] for r in table.rows.values() if r["study"] == "random" and r["share"] == 1.0}
        flat = [flatten(drawn(trial)) for trial in full]
        ap = np.array(list(full.values()))
        rng = np.random.default_rng(0)
        samples = rng.integers(0, len(ap), (DRAWS, len(ap)))
        for prior in preferences(table.dataset):
            if not isinstance(prior.value, str):
                continue
            follows = np.array([values.get(prior.path) == prior.value for values in flat])
            low, high = np.quantile([beats(follows[k], ap[k]) for k in samples], [0.025, 0.975])
            share = f"{beats(follows, ap):.2f} [{low:.2f}, {high:.2f}]"
            print(f"| {table.dataset.name} | {prior.path}={prior.value} | {follows.sum()} of {len(ap)} | {share} |")


if __name__ == "__main__":
    main()
