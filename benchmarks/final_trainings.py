"""Final trainings with further seeds: from scratch, judged on the test split; one thread each, several side by side."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from evidence import Row, SliceOver, pool
from proof_record import judged

from edgehone.data import read_dataset
from edgehone.evaluation import match
from edgehone.inference import Detector, TorchRuntime
from edgehone.space import fingerprint
from edgehone.training import Diverged, Job, Progress, train
from edgehone.types import Detections, no_boxes


@dataclass(frozen=True)
class Final:
    """One training.

    Attributes:
        source: of the data.
        job: what to train.
        states: folder for the states of trainings that are interrupted.
        end: of the slice, by ``time.monotonic``.
    """

    source: str
    job: Job
    states: Path
    end: float

    def row(self) -> Row | None:
        """AP on the test split and seconds; None where the slice ended first."""
        torch.set_num_threads(self.job.threads)
        dataset = read_dataset(self.source)
        folder = self.states / fingerprint(self.job)
        folder.mkdir(parents=True, exist_ok=True)
        truths = [sample.truth() for sample in dataset.test]
        try:
            trained = train(
                self.job, dataset.class_names, dataset.train, checkpoint=folder / "state.pt", watch=self.watch
            )
        except SliceOver:
            return None
        except Diverged:
            silence = [Detections(no_boxes(), np.zeros(0, np.float32), np.zeros(0, np.int64))] * len(truths)
            return {**judged(match(truths, silence, len(dataset.class_names))), "diverged": True, "seconds": 0.0}
        detector = Detector(trained.info, TorchRuntime(trained.network))
        found = match(truths, list(detector.detect(s.read().image for s in dataset.test)), len(dataset.class_names))
        shutil.rmtree(folder)
        return {**judged(found), "seconds": round(trained.seconds, 1)}

    def watch(self, progress: Progress) -> None:
        """Stop in the midst of a training when the slice is over."""
        if time.monotonic() > self.end and progress.step < progress.steps:
            raise SliceOver


def side_by_side(finals: Iterable[Final], workers: int) -> Iterator[tuple[Final, Row]]:
    """Each training with its row as it ends.

    Raises:
        SliceOver: some were not begun or not finished.
    """
    over = False
    with pool(workers) as processes:
        running = {processes.submit(_row, final): final for final in finals}
        for future in as_completed(running):
            row = future.result()
            over = over or row is None
            if row is not None:
                yield running[future], row
    if over:
        raise SliceOver


def _row(final: Final) -> Row | None:
    return None if time.monotonic() > final.end else final.row()
