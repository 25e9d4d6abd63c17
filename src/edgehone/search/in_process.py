"""Trials in this process, one after another: what a debugger follows, with no other process beside it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import torch

from edgehone.data import Dataset
from edgehone.errors import EdgehoneError
from edgehone.search.pool import give_up
from edgehone.search.processes import out_of_memory
from edgehone.search.trial import Outcome, Task
from edgehone.search.workers import calibrate_job, run_task, seldom
from edgehone.training import Job


@dataclass(frozen=True)
class InProcess:
    """This process as a pool of one, see :class:`~edgehone.search.pool.Pool`.

    Attributes:
        dataset: that is trained on.
        folder: of the trials.
        count: of trainings side by side.
    """

    dataset: Dataset
    folder: Path
    count: int = 1

    def calibrate(self, job: Job) -> float:
        """Seconds per step."""
        return calibrate_job(job, self.dataset)

    def run(self, tasks: Iterable[Task | None], tick: Callable[[dict[str, float]], None]) -> Iterator[Outcome]:
        """Outcomes as they come; nothing runs between them, so that a None among the tasks is the end."""
        for task in tasks:
            if task is None:
                return
            yield self._run(task, tick)

    def _run(self, task: Task, tick: Callable[[dict[str, float]], None]) -> Outcome:
        try:
            return run_task(task, self.dataset, self.folder, seldom(lambda share: tick({task.name: share})))
        except Exception as error:
            if not out_of_memory(error):
                raise
            reason = f"memory ran out ({str(error).splitlines()[0]}): give smaller inputs"
            return give_up(task, self.folder, EdgehoneError(reason))


@contextmanager
def in_this_process(dataset: Dataset, folder: Path) -> Generator[InProcess]:
    """One thread, as a worker process has: two would sum in another order."""
    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield InProcess(dataset, folder)
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])
