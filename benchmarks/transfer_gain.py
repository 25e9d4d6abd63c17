"""What does starting from another data set's detector gain over starting afresh, at equal steps?

    python benchmarks/transfer_gain.py SOURCE TARGET --out runs/transfer --strategy runs/bccd/strategy.json

Trains on SOURCE, then on TARGET afresh and from those weights, some seeds each, and compares AP on TARGET's test split
with paired bootstrap intervals over its images. Each training is kept in OUT and goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from arms import held_against, over_seeds, trained

from edgehone.data import read_dataset
from edgehone.files import write_json
from edgehone.inference import CHECKPOINT
from edgehone.space import replace
from edgehone.strategy import load_strategy
from edgehone.training import Job, StartWeights


def main() -> None:
    """Train both arms with every seed, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--strategy", default="authors")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--source-steps", type=int, default=800)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=3)
    wanted = parser.parse_args()
    strategy = replace(load_strategy(wanted.strategy), {"input.size": wanted.size})

    def job(steps: int, seed: int, weights: StartWeights | None = None) -> Job:
        return Job(
            model="yolov4-tiny", strategy=strategy, steps=steps, batch_size=wanted.batch, seed=seed, precision="bf16",
            weights=weights,
        )  # fmt: skip

    source = trained(wanted.source, job(wanted.source_steps, 0), wanted.out / "source")
    weights = StartWeights.of(str(Path(source) / CHECKPOINT))
    dataset = read_dataset(wanted.target)
    rows = []
    for seed in range(wanted.seeds):
        starts = {"afresh": None, "transfer": weights}
        folders = {
            name: trained(wanted.target, job(wanted.steps, seed, start), wanted.out / f"{name}-{seed}")
            for name, start in starts.items()
        }
        rows.append({"seed": seed, **held_against("afresh", folders, dataset)})
    total = over_seeds(rows, "transfer")
    print(total)
    write_json(wanted.out / "transfer.json", {"seeds": rows, "transfer": total})


if __name__ == "__main__":
    main()
