"""Trainings that differ in one thing, held against each other on the test split of a data set."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgehone.data import Dataset
from edgehone.evaluation import evaluate_detections, match, paired_difference
from edgehone.inference import open_detector
from edgehone.single import TrainRequest, train_one
from edgehone.training import Job

STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571}
"""0.975 quantiles of Student's t for so many seeds."""


def trained(data: str, job: Job, out: Path) -> str:
    """The folder of a training, which goes on where it was interrupted and is not repeated."""
    print(f"{out.name}: {job.steps} steps", flush=True)
    train_one(TrainRequest(data=data, job=job), out, lambda progress: None)  # a folder of another job is refused
    return str(out)


def held_against(base: str, folders: Mapping[str, str], dataset: Dataset) -> dict[str, Any]:
    """AP of every arm on the test split, and its gain over the base with a paired 95 % interval over images.

    Args:
        base: name of the arm that the others are held against.
        folders: name of an arm to its training, of one seed.
        dataset: whose test split counts.
    """
    truths = [sample.truth() for sample in dataset.test]
    pictures = [sample.read().image for sample in dataset.test]
    found = {name: list(open_detector(folder).detect(pictures)) for name, folder in folders.items()}
    sides = {name: match(truths, answers, len(dataset.class_names)) for name, answers in found.items()}
    row: dict[str, Any] = {}
    for name, answers in found.items():
        ap = evaluate_detections(truths, answers, dataset.class_names, samples=0).ap
        row[name] = {"ap": round(ap, 4)}
        if name != base:
            gain, interval = paired_difference(sides[name], sides[base])
            row[name] |= {"gain": round(gain, 4), "interval95": [round(end, 4) for end in interval]}
    print(json.dumps(row), flush=True)
    return row


def over_seeds(rows: Sequence[Mapping[str, Any]], arm: str) -> dict[str, Any]:
    """The mean gain of an arm with a 95 % interval over seeds (Student's t)."""
    gains = [row[arm]["gain"] for row in rows]
    mean = statistics.fmean(gains)
    if len(gains) not in STUDENT:
        return {"gain": round(mean, 4), "seeds": len(gains)}
    half = STUDENT[len(gains)] * statistics.stdev(gains) / math.sqrt(len(gains))
    return {"gain": round(mean, 4), "interval95": [round(mean - half, 4), round(mean + half, 4)], "seeds": len(gains)}
