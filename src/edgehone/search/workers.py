"""Trials as processes of one thread each, side by side; everything they know is on disk.

A worker that is lost, killed or out of memory, is replaced, and its trial goes on from its last saved state. A worker
ends by itself when the process that started it is gone, so that a killed run leaves nothing behind.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import torch

from edgehone.data import Dataset
from edgehone.deploy.integer.accuracy import as_trained
from edgehone.evaluation import Evaluation, evaluate_detections
from edgehone.inference import CHECKPOINT, Detector, TorchRuntime, save_detector
from edgehone.search.objective import NOTHING
from edgehone.search.pool import AGAIN, LostTooOften, TrialQueue, give_up
from edgehone.search.processes import Crew, Note, Said
from edgehone.search.trial import STATE, Outcome, Task, load_outcome, save_outcome
from edgehone.training import Diverged, Job, Progress, Trained, train

POLL_SECONDS = 0.5
NOTE_SECONDS = 0.5
"""How often a trial says how far it is."""

T = TypeVar("T")


@dataclass
class _Worker:
    """What each worker process holds."""

    dataset: Dataset
    folder: Path


_here: _Worker | None = None


def _start(dataset: Dataset, folder: Path) -> None:
    global _here
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    _here = _Worker(dataset, folder)


def _run(note: Note, task: Task) -> Outcome:
    assert _here is not None
    return run_task(task, _here.dataset, _here.folder, seldom(note))


def seldom(note: Callable[[float], None], every: float = NOTE_SECONDS) -> Callable[[Progress], None]:
    """Tells the share done, now and then."""
    said = 0.0

    def watch(progress: Progress) -> None:
        nonlocal said
        if time.monotonic() - said >= every:
            said = time.monotonic()
            note(progress.step / progress.steps)

    return watch


def run_task(task: Task, dataset: Dataset, folder: Path, watch: Callable[[Progress], None] | None = None) -> Outcome:
    """Train, evaluate on validation, write the outcome. Goes on from the trial's saved state if there is one."""
    home = folder / task.name
    home.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    try:
        trained = train(task.job, dataset.class_names, dataset.train, checkpoint=home / STATE, watch=watch)
    except Diverged as error:
        outcome = Outcome(
            task=task,
            status="diverged",
            ap=0.0,
            validation=None,
            curve=[],
            seconds=time.monotonic() - started,
            message=str(error),
        )
    else:
        if task.keep:
            save_detector(trained.network, trained.info, home / CHECKPOINT)
        detector = Detector(trained.info, TorchRuntime(trained.network, task.job.precision, task.job.device))
        validation = evaluate_split(detector, dataset, "val")
        integer = {board: evaluate_integers(trained, dataset, board) for board in task.integer}
        outcome = Outcome(
            task=task,
            status="done",
            ap=validation.ap,
            validation=validation,
            integer=integer,
            curve=trained.curve,
            seconds=trained.seconds,
        )
    save_outcome(outcome, folder)
    (home / STATE).unlink(missing_ok=True)
    return outcome


def evaluate_split(detector: Detector, dataset: Dataset, split: str, samples: int = 0) -> Evaluation:
    """COCO metrics of a detector on a split; ``samples`` bootstrap draws for the interval."""
    pictures = dataset.splits[split]
    truths = [s.truth() for s in pictures]
    detections = list(detector.detect(s.read().image for s in pictures))
    return evaluate_detections(truths, detections, dataset.class_names, samples=samples)


def evaluate_integers(trained: Trained, dataset: Dataset, board: str) -> Evaluation:
    """COCO metrics on validation in a board's integer arithmetic."""
    try:
        runtime = as_trained(trained.network, trained.info, dataset, board)
    except ValueError:  # numbers that are none have no range
        return NOTHING
    return evaluate_split(Detector(trained.info, runtime), dataset, "val")


def calibrate_job(job: Job, dataset: Dataset) -> float:
    """Seconds per step of a job, without its first two steps."""
    times: list[float] = []
    train(job, dataset.class_names, dataset.train, watch=lambda progress: times.append(progress.seconds))
    return (times[-1] - times[1]) / (len(times) - 2)


def _calibrate(note: Note, job: Job) -> float:
    assert _here is not None
    return calibrate_job(job, _here.dataset)


def _measure(note: Note, job: Job) -> tuple[int, int]:
    """Bytes of device memory that are left after a training, and that torch has reserved for it."""
    assert _here is not None
    train(job, _here.dataset.class_names, _here.dataset.train)
    return int(torch.cuda.mem_get_info(job.device)[0]), int(torch.cuda.max_memory_reserved(job.device))


class Workers:
    """Worker processes of this machine as a pool, see :class:`~edgehone.search.pool.Pool`."""

    def __init__(self, crew: Crew, folder: Path) -> None:
        self.crew = crew
        self.folder = folder

    @property
    def count(self) -> int:
        """Of processes."""
        return self.crew.count

    def calibrate(self, job: Job) -> float:
        """Seconds per step while all workers do the same."""
        return max(self._all(_calibrate, job, self.count))

    def device_bytes(self, job: Job, free_bytes: int) -> int:
        """Memory of a CUDA device that one training takes, what every process needs there included."""
        left, reserved = self._all(_measure, job, 1)[0]
        return max(free_bytes - left, reserved)

    def _all(self, call: Callable[[Note, Job], T], job: Job, count: int) -> list[T]:
        queue: TrialQueue[str] = TrialQueue([f"timing {k}" for k in range(count)])
        found: list[T] = []
        while queue:
            while self.crew.free and (taken := queue.take()) is not None:
                self.crew.begin(taken[0], call, job)
            for said in self.crew.listen(POLL_SECONDS):
                if said.kind == "result":
                    queue.finish(said.number)
                    found.append(said.value)
                elif said.kind == "lost":
                    queue.lose(said.number, said.value)
        return found

    def run(self, tasks: Iterable[Task | None], tick: Callable[[dict[str, float]], None]) -> Iterator[Outcome]:
        """Outcomes as they come; a trial whose worker is lost is given out again, first of all.

        Args:
            tasks: taken one at a time, whenever a worker is free, so that each may depend on the outcomes so far;
                None says that nothing can be done before the next outcome.
            tick: called about twice a second with each running task's share done.
        """
        waiting = iter(tasks)
        queue: TrialQueue[Task] = TrialQueue()
        shares: dict[str, float] = {}
        while True:
            while self.crew.free:
                if not queue.waiting and (fresh := next(waiting, None)) is not None:
                    queue.add(fresh)
                taken = queue.take()
                if taken is None:
                    break
                self.crew.begin(taken[0], _run, taken[1])
            if not queue.running:
                return
            for said in self.crew.listen(POLL_SECONDS):
                name = queue.items[said.number].name
                if said.kind == "note":
                    shares[name] = max(shares.get(name, 0.0), said.value)  # a lost trial catches up first
                    continue
                outcome = self._outcome(said, queue)
                if outcome is not None:
                    shares[name] = 1.0
                    yield outcome
            tick(shares)

    def _outcome(self, said: Said, queue: TrialQueue[Task]) -> Outcome | None:
        """Of a trial that has ended; None where it waits again."""
        task = queue.items[said.number]
        # A worker may be lost between its last word on disk and that to us.
        outcome = said.value if said.kind == "result" else load_outcome(self.folder, task.name)
        if outcome is None:
            try:
                queue.lose(said.number, said.value)
            except LostTooOften as error:
                return give_up(task, self.folder, error)
            return None
        queue.finish(said.number)
        if said.number in queue.losses:
            outcome = outcome.model_copy(update={"message": f"{outcome.message} {AGAIN}".strip()})
            save_outcome(outcome, self.folder)
        return outcome


@contextmanager
def start_workers(count: int, dataset: Dataset, folder: Path) -> Generator[Workers]:
    """``count`` processes, ended (not waited for) when the block is left by an error."""
    crew = Crew(count, _start, (dataset, folder))
    try:
        yield Workers(crew, folder)
    except BaseException:
        crew.end(at_once=True)
        raise
    crew.end(at_once=False)
