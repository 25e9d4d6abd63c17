"""A table of recorded trainings, shared by the studies: what was trained once is not trained again.

One file of JSON lines for each data set. A line is written when its training is finished, so a study that is stopped
loses at most the training it was in. Studies take a :class:`Table` and ask :meth:`Table.trained` for what they need.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evidence import RECORDED, SliceOver

from edgehone.data import Dataset
from edgehone.evaluation import evaluate_detections
from edgehone.inference import Detector, TorchRuntime, save_detector
from edgehone.space import diff, replace
from edgehone.strategy import Strategy
from edgehone.training import Diverged, Job, Progress, image_flops, train

SECONDS_PER_GFLOP = 0.018
"""Forward FLOPs to seconds of training on one core with bf16, where nothing has been recorded yet."""

Row = dict[str, Any]


class Table:
    """The trainings of one data set.

    Args:
        dataset: trained on its training split, judged on its validation split.
        folder: of the table's file.
        deadline: of the slice, by ``time.monotonic``.
    """

    def __init__(self, dataset: Dataset, folder: Path = RECORDED, deadline: float = float("inf")) -> None:
        self.dataset = dataset
        self.path = folder / f"{dataset.name}.jsonl"
        self.deadline = deadline
        self.rows: dict[str, Row] = {row["key"]: row for row in read_rows(self.path)}

    def has(self, job: Job) -> bool:
        """Whether a training is recorded."""
        return key_of(job) in self.rows

    def recorded(self, job: Job) -> Row | None:
        """The row of a training, if there is one."""
        return self.rows.get(key_of(job))

    def trained(self, job: Job, keep: Path | None = None, **labels: Any) -> Row:
        """The row of a training, which is run where it is not recorded, or where its detector is wanted and gone.

        Args:
            job: the training.
            keep: where its detector is to be.
            labels: kept in the row: which study, trial and rung it belongs to.

        Raises:
            SliceOver: there is no time left.
        """
        key = key_of(job)
        if key not in self.rows or (keep is not None and not keep.is_file()):
            self.add({"key": key, **labels, **described(job), **run(job, self.dataset, self.watch, keep)})
        return self.rows[key]

    def watch(self, progress: Progress) -> None:
        """Stop in the middle of a training when the slice is over."""
        if time.monotonic() > self.deadline and progress.step < progress.steps:
            raise SliceOver

    def add(self, row: Row) -> None:
        """Append a row, whole."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.rows[row["key"]] = row

    def hours(self, jobs: list[Job]) -> float:
        """Core-hours that are left of these trainings, by what the recorded ones took."""
        classes = len(self.dataset.class_names)
        spent = sum(row["gflops"] for row in self.rows.values())
        seconds = sum(row["seconds"] for row in self.rows.values())
        rate = seconds / spent if spent else SECONDS_PER_GFLOP
        return sum(gflops(job, classes) for job in jobs if not self.has(job)) * rate / 3600


def read_rows(path: Path) -> list[Row]:
    """The rows of a file, in order; a last line that was not finished is not one."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def described(job: Job) -> Row:
    """What a training is, short: its strategy as what differs from the defaults.

    A setting that is added later, with a default that changes nothing, leaves this as it was.
    """
    changed = {path: value for path, (_, value) in diff(Strategy(), job.strategy).items()}
    named: Row = {"model": job.model, "steps": job.steps, "batch": job.batch_size, "seed": job.seed}
    start = {} if job.weights is None else {"weights": job.weights.digest}
    return {**named, "precision": job.precision, "strategy": changed, **start}


def strategy_of(row: Row) -> Strategy:
    """The strategy of a recorded training; None stands for a setting that its kind does not have."""
    return replace(Strategy(), {path: value for path, value in row["strategy"].items() if value is not None})


def key_of(job: Job) -> str:
    """Sixteen hex digits that name a training."""
    return hashlib.sha256(json.dumps(described(job), sort_keys=True).encode()).hexdigest()[:16]


def gflops(job: Job, classes: int) -> float:
    """Forward cost of all pictures that a training sees."""
    return job.steps * job.batch_size * image_flops(job.model, classes, job.strategy.input.size) / 1e9


def run(job: Job, dataset: Dataset, watch: Callable[[Progress], None], keep: Path | None = None) -> Row:
    """Train, judge on validation, keep the detector if that is wanted; a training that diverged is worth nothing."""
    started = time.monotonic()
    row: Row = {"gflops": round(gflops(job, len(dataset.class_names)), 2)}
    try:
        trained = train(job, dataset.class_names, dataset.train, watch=watch)
    except Diverged:
        return {**row, "diverged": True, "ap": 0.0, "ap50": 0.0, "seconds": round(time.monotonic() - started, 1)}
    if keep is not None:
        keep.parent.mkdir(parents=True, exist_ok=True)
        save_detector(trained.network, trained.info, keep)
    detector = Detector(trained.info, TorchRuntime(trained.network, job.precision))
    detections = list(detector.detect(sample.source.read() for sample in dataset.val))
    found = evaluate_detections([sample.truth() for sample in dataset.val], detections, dataset.class_names, samples=0)
    judged = {"ap": round(found.ap, 4), "ap50": round(found.ap50, 4)}
    per_class = {name: None if ap is None else round(ap, 4) for name, ap in found.per_class.items()}
    return {**row, **judged, "per_class": per_class, "seconds": round(time.monotonic() - started, 1)}
