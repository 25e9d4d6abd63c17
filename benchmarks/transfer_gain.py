"""What does starting from another data set's detector gain over starting afresh, at equal steps?

    python benchmarks/transfer_gain.py SOURCE TARGET --out runs/transfer --strategy runs/bccd/strategy.json

Trains on SOURCE, then on TARGET afresh and from those weights, two seeds each, and compares AP on TARGET's test split
with paired bootstrap intervals over its images. Each training is kept in OUT and goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from edgehone.data import Dataset, read_dataset
from edgehone.evaluation import evaluate_detections, match, paired_difference
from edgehone.files import write_json
from edgehone.inference import CHECKPOINT, open_detector
from edgehone.single import TrainRequest, train_one
from edgehone.space import replace
from edgehone.strategy import Strategy, load_strategy
from edgehone.training import Job, StartWeights


def trained(data: str, strategy: Strategy, steps: int, out: Path, seed: int, weights: str | None) -> Path:
    """A checkpoint, trained unless it is there."""
    start = None if weights is None else StartWeights.of(weights)
    job = Job(
        model="yolov4-tiny", strategy=strategy, steps=steps, batch_size=16, seed=seed, precision="bf16", threads=2,
        weights=start,
    )  # fmt: skip
    if not (out / CHECKPOINT).is_file():
        print(f"training {out.name}: {steps} steps", flush=True)
        train_one(TrainRequest(data=data, job=job), out, lambda progress: None)
    return out / CHECKPOINT


def answers(model: Path, dataset: Dataset):
    """Detections on the test split."""
    return list(open_detector(str(model)).detect(sample.read().image for sample in dataset.test))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--strategy", default="authors")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--source-steps", type=int, default=800)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=2)
    wanted = parser.parse_args()
    strategy = replace(load_strategy(wanted.strategy), {"input.size": wanted.size})
    source = trained(wanted.source, strategy, wanted.source_steps, wanted.out / "source", 0, None)
    dataset = read_dataset(wanted.target)
    truths = [sample.truth() for sample in dataset.test]
    rows = []
    for seed in range(wanted.seeds):
        found = {}
        for name, weights in (("afresh", None), ("transfer", str(source))):
            place = wanted.out / f"{name}-{seed}"
            found[name] = answers(trained(wanted.target, strategy, wanted.steps, place, seed, weights), dataset)
        aps = {k: evaluate_detections(truths, v, dataset.class_names, samples=0).ap for k, v in found.items()}
        sides = [match(truths, found[name], len(dataset.class_names)) for name in ("transfer", "afresh")]
        gain, interval = paired_difference(*sides)
        rows.append({"seed": seed, **aps, "gain": gain, "interval95": list(interval)})
        print(json.dumps(rows[-1]), flush=True)
    write_json(wanted.out / "transfer.json", rows)


if __name__ == "__main__":
    main()
