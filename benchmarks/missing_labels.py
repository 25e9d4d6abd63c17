"""How much of the accuracy that missing labels cost do excuses and pseudo-labels win back?

python benchmarks/missing_labels.py DATA --out runs/missing [--steps 1500] [--size 224] [--batch 16] [--seeds 0 1 2]
    [--missing 0.3] [--arms clean plain excuse pseudo_label] [--excuse-from 0.3] [--teach-from 0.5] [--set PATH=VALUE]
    [--weights FILE] [--teacher RUN] [--minutes 60] [--plan]

Removes a share of the training boxes at random, the same for each seed's arms, and trains: `clean` with all boxes;
`plain` without them, unmarked; `excuse` and `pseudo_label` likewise, where the strategy leaves alone or teaches what
the run's own average (or the teacher) surely sees. Evaluates on validation, whose labels are whole. Prints the planned
core-hours first, trains on one thread, and stops after so many minutes; the same command goes on. Writes
OUT/missing_labels.json: AP, AP50 and unlabelled objects seen of every training, the mean of every arm, and the share
of the lost AP that is won back.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgehone.data import Dataset, Sample, read_dataset
from edgehone.files import write_json
from edgehone.run_folder import open_run
from edgehone.search.trial import Outcome, Task, finished
from edgehone.search.workers import calibrate_job, run_task
from edgehone.space import Settings, parse_assignments, replace
from edgehone.strategy import load_strategy
from edgehone.training import Job, Progress, StartWeights

ARMS = ("clean", "plain", "excuse", "pseudo_label")
TIMED_STEPS = 6


class Request(Settings):
    """What a folder of trainings was made for; with more seeds or arms it goes on."""

    data: str
    missing: float
    excuse_from: float
    teach_from: float
    job: Job

    def task(self, arm: str, seed: int) -> Task:
        """An arm's training by its number."""
        threshold = {"excuse": self.excuse_from, "pseudo_label": self.teach_from}.get(arm)
        path = "projection.missing"
        changes = {} if threshold is None else {f"{path}.kind": arm, f"{path}.threshold": threshold}
        strategy = replace(self.job.strategy, changes)
        job = self.job.model_copy(update={"strategy": strategy, "seed": seed})
        return Task(name=f"{arm}-{seed}", rung="missing", job=job, gflops=0.0, origin=arm)


class SliceOver(Exception):
    """The minutes of this slice are over."""


def main() -> None:
    options = parsed()
    strategy = replace(load_strategy(options.strategy), {"input.size": options.size})
    strategy = parse_assignments(strategy, options.set)
    job = Job(
        model=options.model,
        strategy=strategy,
        steps=options.steps,
        batch_size=options.batch,
        precision=options.precision,
        weights=StartWeights.of(options.weights) if options.weights else None,
        teacher=options.teacher,
    )
    cv2.setNumThreads(1)
    dataset = read_dataset(options.data)
    thresholds = {"excuse_from": options.excuse_from, "teach_from": options.teach_from}
    request = Request(data=options.data, missing=options.missing, job=job, **thresholds)
    with open_run(options.out, request):
        done = finished(options.out)
        tasks = [request.task(arm, seed) for seed in options.seeds for arm in options.arms]
        left = [task for task in tasks if task.name not in done]
        plan(options, dataset, [task.job for task in left])
        if options.plan:
            return
        until = time.monotonic() + 60 * options.minutes
        try:
            for task in left:
                share = 0.0 if task.origin == "clean" else options.missing
                data = dataclasses.replace(dataset, train=thinned(dataset.train, share, task.job.seed))
                outcome = run_task(task, data, options.out, watch=lambda progress: stop_after(until, progress))
                print(f"{task.name}: {outcome.status}, AP {outcome.ap:.4f}, {outcome.seconds:.0f} s", flush=True)
        except SliceOver:
            print(f"stopped after {options.minutes:g} minutes; give the same command again to go on")
        conclude(options, finished(options.out))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="yolov4-tiny")
    parser.add_argument("--strategy", default="authors")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser.add_argument("--missing", type=float, default=0.3, help="share of the training boxes")
    parser.add_argument("--excuse-from", type=float, default=0.3, help="least score of what is excused")
    parser.add_argument("--teach-from", type=float, default=0.5, help="least score of what is taught")
    parser.add_argument("--weights", help="start from this file, as edgehone train does")
    parser.add_argument("--teacher", help="a trained model that is asked instead of the run's own average")
    parser.add_argument("--minutes", type=float, default=60.0, help="of this slice")
    parser.add_argument("--plan", action="store_true", help="print the planned core-hours only")
    return parser.parse_args()


def thinned(samples: Any, share: float, seed: int) -> list[Sample]:
    """The samples without this share of their boxes, drawn at random over the whole split."""
    starts = np.cumsum([0, *(len(sample.classes) for sample in samples)])
    gone = np.random.default_rng((seed, 30)).permutation(starts[-1])[: round(share * starts[-1])]
    keep = np.ones(starts[-1], bool)
    keep[gone] = False
    return [
        dataclasses.replace(sample, boxes_xyxy=sample.boxes_xyxy[keep[a:b]], classes=sample.classes[keep[a:b]])
        for sample, a, b in zip(samples, starts[:-1], starts[1:], strict=True)
    ]


def plan(options: argparse.Namespace, dataset: Dataset, jobs: list[Job]) -> None:
    """Print what the trainings that are left will take, from a few timed steps of each kind."""
    timed: dict[str, float] = {}
    for job in jobs:
        kind = job.strategy.projection.missing.kind
        if kind not in timed:
            changes = {} if kind == "punish" else {"projection.missing.start": 0.0}
            short = {"steps": TIMED_STEPS, "strategy": replace(job.strategy, changes)}
            timed[kind] = calibrate_job(job.model_copy(update=short), dataset)
    hours = sum(timed[job.strategy.projection.missing.kind] * job.steps for job in jobs) / 3600
    print(
        f"{len(jobs)} trainings of {options.steps} steps of {options.batch} at {options.size} px are left: "
        f"{hours:.2f} core-hours on one thread, validation not counted",
        flush=True,
    )


def stop_after(until: float, progress: Progress) -> None:
    """End the slice between two steps; what came after the last saved state is done again."""
    del progress
    if time.monotonic() > until:
        raise SliceOver


def unlabelled_per_image(outcome: Outcome) -> float | None:
    """Objects without a label that were seen in a picture, in the mean over the last tenth of a training."""
    tail = outcome.curve[-max(1, len(outcome.curve) // 10) :]
    found = [point["unlabelled"] for point in tail if "unlabelled" in point]
    return round(statistics.mean(found), 3) if found else None


def conclude(options: argparse.Namespace, outcomes: dict[str, Outcome]) -> None:
    """Print and write the table of what is finished."""
    rows = [
        {
            "arm": outcome.task.origin,
            "seed": outcome.task.job.seed,
            "ap": round(outcome.ap, 5),
            "ap50": None if outcome.validation is None else round(outcome.validation.ap50, 5),
            "unlabelled_per_image": unlabelled_per_image(outcome),
            "seconds": round(outcome.seconds, 1),
        }
        for outcome in outcomes.values()
    ]
    means: dict[str, float] = {}
    for arm in ARMS:
        found = [row["ap"] for row in rows if row["arm"] == arm]
        if found:
            means[arm] = statistics.mean(found)
            spread = statistics.stdev(found) if len(found) > 1 else float("nan")
            print(f"{arm:14} AP {means[arm]:.4f}  standard deviation {spread:.4f}  over {len(found)} seeds")
    plain = means.get("plain", 0.0)
    lost = means.get("clean", 0.0) - plain if "plain" in means else 0.0
    won = {arm: (means[arm] - plain) / lost for arm in ("excuse", "pseudo_label") if arm in means and lost > 0}
    for arm, share in won.items():
        print(f"{arm:14} wins back {100 * share:.0f} % of the {100 * lost:.2f} points of AP that were lost")
    table = {
        "data": options.data,
        "missing": options.missing,
        "excuse_from": options.excuse_from,
        "teach_from": options.teach_from,
        "steps": options.steps,
        "batch": options.batch,
        "input": options.size,
        "weights": options.weights,
        "teacher": options.teacher,
        "trainings": rows,
        "mean_ap": {arm: round(ap, 5) for arm, ap in means.items()},
        "won_back": {arm: round(share, 3) for arm, share in won.items()},
    }
    write_json(options.out / "missing_labels.json", table)


if __name__ == "__main__":
    main()
