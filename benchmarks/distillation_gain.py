"""What does a student gain from the better of two runs, and from its own average, over learning from labels alone?

    python benchmarks/distillation_gain.py DATA --out runs/distil --strategy runs/bccd/strategy.json

Trains two teachers (two seeds, ``--teacher-steps`` each) and takes the one that is better on validation; then students
of ``--steps`` steps with every seed: ``labels`` alone, ``teacher`` (``projection.distillation.kind=teacher``) and
``average``. Compares AP on the test split with paired bootstrap intervals over its images. Each training is kept in OUT
and goes on where it was interrupted. One thread.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from arms import held_against, over_seeds, trained

from edgehone.data import Dataset, read_dataset
from edgehone.evaluation import evaluate_detections
from edgehone.files import write_json
from edgehone.inference import open_detector
from edgehone.space import replace
from edgehone.strategy import load_strategy
from edgehone.training import Job

KIND = "projection.distillation.kind"
ARMS = {"labels": "off", "teacher": "teacher", "average": "average"}


def on_validation(folder: str, dataset: Dataset) -> float:
    """AP of a training."""
    truths = [sample.truth() for sample in dataset.val]
    found = list(open_detector(folder).detect(sample.read().image for sample in dataset.val))
    return evaluate_detections(truths, found, dataset.class_names, samples=0).ap


def main() -> None:
    """Train the teachers, then every arm with every seed, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--strategy", default="authors")
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--teacher-steps", type=int, default=1200)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    wanted = parser.parse_args()
    plain = replace(load_strategy(wanted.strategy), {"input.size": wanted.size, KIND: "off"})
    dataset = read_dataset(wanted.data)

    def job(steps: int, seed: int, kind: str, teacher: str | None = None) -> Job:
        return Job(
            model="yolov4-tiny", strategy=replace(plain, {KIND: kind}), steps=steps, batch_size=wanted.batch,
            seed=seed, precision="bf16", teacher=teacher,
        )  # fmt: skip

    teachers = [
        trained(wanted.data, job(wanted.teacher_steps, 100 + k, "off"), wanted.out / f"teacher-{k}") for k in range(2)
    ]
    known = {folder: on_validation(folder, dataset) for folder in teachers}
    best = max(known, key=lambda folder: known[folder])
    print("teachers on validation:", {Path(folder).name: round(ap, 4) for folder, ap in known.items()}, flush=True)
    rows = []
    for seed in range(wanted.seeds):
        folders = {}
        for name, kind in ARMS.items():
            one = job(wanted.steps, seed, kind, best if kind == "teacher" else None)
            folders[name] = trained(wanted.data, one, wanted.out / f"student-{name}-{seed}")
        rows.append({"seed": seed, **held_against("labels", {**folders, "the teacher": best}, dataset)})
    total = {arm: over_seeds(rows, arm) for arm in ("teacher", "average")}
    print(total)
    write_json(wanted.out / "distillation.json", {"teachers": list(known.values()), "seeds": rows, **total})


if __name__ == "__main__":
    main()
