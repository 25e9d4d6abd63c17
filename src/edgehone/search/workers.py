"""Trials as processes of one thread each, side by side; everything they know is on disk.

A worker ends by itself when the process that started it is gone, so that a killed run leaves nothing behind.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty
from typing import Any

import cv2
import torch

from edgehone.data import Dataset
from edgehone.deploy.integer.accuracy import as_trained
from edgehone.errors import EdgehoneError
from edgehone.evaluation import Evaluation, evaluate_detections
from edgehone.inference import CHECKPOINT, Detector, TorchRuntime, save_detector
from edgehone.search.objective import NOTHING
from edgehone.search.trial import STATE, Outcome, Task, save_outcome
from edgehone.training import Diverged, Job, Progress, Trained, train

WATCH_SECONDS = 1.0
ORPHANED = 70
"""Exit code of a worker whose parent is gone."""


@dataclass
class _Worker:
    """What each worker process holds."""

    dataset: Dataset
    folder: Path
    reports: Any


_here: _Worker | None = None


def _start(dataset: Dataset, folder: Path, parent: int, reports: Any) -> None:
    global _here
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _here = _Worker(dataset, folder, reports)


def _end_with(parent: int) -> None:
    """End this process, busy or idle, soon after the one that started it."""
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os._exit(ORPHANED)


def _run(task: Task) -> Outcome:
    assert _here is not None
    return run_task(task, _here.dataset, _here.folder, watch=_watch(task.name, _here))


def _watch(name: str, worker: _Worker) -> Callable[[Progress], None]:
    def watch(progress: Progress) -> None:
        worker.reports.put((name, progress.step / progress.steps))

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
        detector = Detector(trained.info, TorchRuntime(trained.network, task.job.precision))
        validation = evaluate_split(detector, dataset, "val")
        integer = {board: evaluate_integers(trained, dataset, board) for board in task.integer}
        if task.keep:
            save_detector(trained.network, trained.info, home / CHECKPOINT)
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


def _calibrate(job: Job) -> float:
    assert _here is not None
    return calibrate_job(job, _here.dataset)


class Workers:
    """A pool of worker processes."""

    def __init__(self, pool: ProcessPoolExecutor, reports: Any, count: int) -> None:
        self.pool = pool
        self.reports = reports
        self.count = count

    def calibrate(self, job: Job) -> float:
        """Seconds per step while all workers do the same."""
        futures = [self.pool.submit(_calibrate, job) for _ in range(self.count)]
        return max(future.result() for future in futures)

    def run(self, tasks: Iterable[Task | None], tick: Callable[[dict[str, float]], None]) -> Iterator[Outcome]:
        """Outcomes as they come.

        Args:
            tasks: taken one at a time, whenever a worker is free, so that each may depend on the outcomes so far;
                None says that nothing can be done before the next outcome.
            tick: called about twice a second with each running task's share done.
        """
        waiting = iter(tasks)
        pending: set[Future[Outcome]] = set()
        shares: dict[str, float] = {}
        try:
            while True:
                while len(pending) < self.count and (task := next(waiting, None)) is not None:
                    pending.add(self.pool.submit(_run, task))
                if not pending:
                    return
                done, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
                self._read_reports(shares)
                for future in done:
                    outcome = future.result()
                    shares[outcome.task.name] = 1.0
                    yield outcome
                tick(shares)
        except BrokenProcessPool:
            raise EdgehoneError(
                "a worker process ended without a result (out of memory, or killed); finished trials are "
                "kept: give the same command again to go on"
            ) from None

    def _read_reports(self, shares: dict[str, float]) -> None:
        while True:
            try:
                name, share = self.reports.get_nowait()
            except Empty:
                return
            shares[name] = share


@contextmanager
def start_workers(count: int, dataset: Dataset, folder: Path) -> Generator[Workers]:
    """``count`` processes, ended (not waited for) when the block is left by an error."""
    context = multiprocessing.get_context("spawn")
    reports = context.Queue()
    arguments = (dataset, folder, os.getpid(), reports)
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_start, initargs=arguments)
    try:
        yield Workers(pool, reports, count)
    except BaseException:
        for process in list((pool._processes or {}).values()):  # pyright: ignore[reportPrivateUsage]
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
