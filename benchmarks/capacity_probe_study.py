"""Does the capacity probe rank strengths of augmentation as full training does?

python benchmarks/capacity_probe_study.py DATA [DATA ...] --out OUT [--steps 2000] [--minutes 60] [--seeds 0 1 2]

For each data set and seed: one probe of four strengths, and a training of ``--steps`` steps with each of them, judged
by AP on the validation split. Every finished piece is a file in OUT; the command works for ``--minutes``, ends, and
goes on when it is given again. Prints the core-hours that are left, and Kendall's tau between the probe's F1
and the AP, with a 95 % interval over data sets and seeds, as soon as there is more than one pair. Exit 3 while pieces
are left.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from edgehone.analysis.capacity_ladder import probe_strategy
from edgehone.analysis.capacity_probe import LADDERS, ProbePlan, probe_input, probe_pictures, run_probe
from edgehone.data import Dataset, read_dataset
from edgehone.evaluation import evaluate_detections
from edgehone.files import read_json, write_json
from edgehone.inference import Detector, TorchRuntime
from edgehone.space import fingerprint
from edgehone.training import Job, Progress, image_flops, train

MODEL = "yolov4-tiny"
BATCH = 16
PROBE_STEPS, PROBE_BATCH, PROBE_PICTURES = 200, 8, 32
DRAWS = 2000
UNFINISHED = 3


class OutOfTime(Exception):
    """The slice is over; the checkpoint stays."""


def main() -> None:
    """Do what is left within the slice, then print what is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + 60 * given.minutes
    rows: list[dict[str, Any]] = []
    left = 0.0
    for source, seed in itertools.product(given.data, given.seeds):
        row, gflops = one_pair(read_dataset(source), seed, given, deadline)
        left += gflops
        if row is not None:
            rows.append(row | {"data": Path(source).name, "seed": seed})
    show(rows)
    if left:
        print(f"left: {left:.0f} image-GFLOPs of training, about {left * 0.03 / 3600:.1f} core-hours at 0.03 s each")
        sys.exit(UNFINISHED)


def one_pair(
    dataset: Dataset, seed: int, given: argparse.Namespace, deadline: float
) -> tuple[dict[str, Any] | None, float]:
    """The F1 of the probe and the APs of one data set and seed, and the compute that is left."""
    pictures = probe_pictures(dataset.train, seed)
    plan = ProbePlan(
        model=MODEL,
        strengths=LADDERS[0],
        steps=PROBE_STEPS,
        batch_size=min(PROBE_BATCH, len(pictures)),
        pictures=len(pictures),
        input_size=probe_input(pictures),
        precision="bf16",
        seed=seed,
        seconds=0.0,
    )
    found = run_probe(plan, dataset.class_names, dataset.train, deadline=deadline, folder=given.out)
    jobs = [full_job(plan, len(dataset.class_names), strength, given.steps) for strength in plan.strengths]
    aps = [full_training(job, dataset, given.out, deadline) for job in jobs]
    cost = image_flops(MODEL, len(dataset.class_names), plan.input_size) / 1e9
    missing = sum(ap is None for ap in aps) * given.steps * BATCH
    missing += (len(plan.strengths) - len(found.rungs)) * plan.steps * plan.batch_size
    if missing:
        return None, 3 * cost * missing
    return {"f1": [rung.f1 for rung in found.rungs], "ap": aps}, 0.0


def full_job(plan: ProbePlan, classes: int, strength: float, steps: int) -> Job:
    """The same strategy, trained long on all pictures."""
    strategy = probe_strategy(plan.input_size, classes, strength)
    return Job(model=MODEL, strategy=strategy, steps=steps, batch_size=BATCH, seed=plan.seed, precision="bf16")


def full_training(job: Job, dataset: Dataset, out: Path, deadline: float) -> float | None:
    """AP on the validation split; None where the slice ended before."""
    name = f"full-{fingerprint(job)}-{dataset.fingerprint()}"
    done, state = out / f"{name}.json", out / f"{name}.state"
    if done.is_file():
        return float(read_json(done)["ap"])

    def watch(progress: Progress) -> None:
        if time.monotonic() > deadline and progress.step < progress.steps:
            raise OutOfTime

    if time.monotonic() > deadline:
        return None
    try:
        trained = train(job, dataset.class_names, dataset.train, checkpoint=state, watch=watch)
    except OutOfTime:
        return None
    detector = Detector(trained.info, TorchRuntime(trained.network, job.precision))
    detections = list(detector.detect(sample.source.read() for sample in dataset.val))
    truths = [sample.truth() for sample in dataset.val]
    ap = evaluate_detections(truths, detections, dataset.class_names).ap
    write_json(done, {"ap": ap, "job": job.model_dump(mode="json"), "curve": trained.curve})
    state.unlink(missing_ok=True)
    return ap


def show(rows: Sequence[dict[str, Any]]) -> None:
    """The table and the rank correlation."""
    for row in rows:
        shares, aps = (" ".join(f"{value:.3f}" for value in row[key]) for key in ("f1", "ap"))
        print(f"{row['data']:<16} seed {row['seed']}  probe F1 {shares}  AP {aps}")
    taus = np.array([float(kendalltau(row["f1"], row["ap"])[0]) for row in rows])
    taus = taus[np.isfinite(taus)]
    if len(taus) > 1:
        rng = np.random.default_rng(0)
        means = taus[rng.integers(len(taus), size=(DRAWS, len(taus)))].mean(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        print(f"Kendall's tau {taus.mean():.2f} [{low:.2f}, {high:.2f}] over {len(taus)} pairs of data set and seed")


if __name__ == "__main__":
    main()
