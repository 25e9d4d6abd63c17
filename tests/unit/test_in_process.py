"""Trials in this process: the same trials as in a worker's, and no process beside it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
import torch

from edgehone.data import Dataset, read_dataset
from edgehone.equipment import start_pool
from edgehone.errors import EdgehoneError
from edgehone.inference import CHECKPOINT, open_network
from edgehone.request import Request
from edgehone.run_folder import RunFolder
from edgehone.search import in_process
from edgehone.search.progress import Monitor, Status
from edgehone.search.trial import Outcome, Task, finished
from edgehone.space import replace
from edgehone.strategy import AUTHORS
from edgehone.training import Job

DATA = "builtin:digits?train=8&val=4&test=4&width=96&height=96&min_px=30&max_px=60&max_objects=3"
HERE = Request(data=DATA, budget_s=60, workers=0)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return read_dataset(DATA)


def task(name: str, steps: int) -> Task:
    job = Job(model="yolov4-tiny", strategy=replace(AUTHORS, {"input.size": 128}), steps=steps, batch_size=4)
    return Task(name=name, rung="short", job=job, gflops=float(steps), keep=True, expendable=True, origin="test")


def deaf(shares: dict[str, float]) -> None:
    """Nobody asks how far it is."""


def test_it_trains_what_a_worker_process_trains_to_the_bit(dataset: Dataset, tmp_path: Path) -> None:
    tasks = [task("short-00", 3), task("short-01", 5)]
    found: dict[str, list[Outcome]] = {}
    for name, request in (("here", HERE), ("there", HERE.model_copy(update={"workers": 1}))):
        folder, said = RunFolder(tmp_path / name), list[Status]()
        folder.path.mkdir()
        with start_pool(request, 1, dataset, folder.trials) as pool:
            found[name] = Monitor(folder, said.append).run(pool, tasks)
            assert bool(multiprocessing.active_children()) == (name == "there")
    for here, there in zip(found["here"], found["there"], strict=True):
        assert (here.validation, here.curve) == (there.validation, there.curve)
        left, right = (open_network(tmp_path / w / "trials" / here.task.name / CHECKPOINT)[0] for w in found)
        weights = right.state_dict()
        assert all(torch.equal(tensor, weights[key]) for key, tensor in left.state_dict().items())


def test_tasks_may_depend_on_outcomes_and_threads_are_given_back(dataset: Dataset, tmp_path: Path) -> None:
    threads = torch.get_num_threads(), cv2.getNumThreads()
    ended: list[str] = []

    def tasks() -> Iterator[Task | None]:
        yield task("short-00", 2)
        yield task(f"after-{ended[-1]}", 2)
        yield None
        pytest.fail("nothing runs, so that nothing can come any more")

    with start_pool(HERE, 1, dataset, tmp_path) as pool:
        assert (torch.get_num_threads(), cv2.getNumThreads(), pool.count) == (1, 1, 1)
        for outcome in pool.run(tasks(), deaf):
            ended.append(outcome.task.name)
        assert pool.calibrate(task("timing", 4).job) > 0
    assert ended == ["short-00", "after-short-00"]
    assert (torch.get_num_threads(), cv2.getNumThreads()) == threads


def test_an_error_is_raised_where_a_debugger_stands_and_full_memory_costs_the_trial_alone(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: dict[str, Exception] = {"short-00": MemoryError("none left\nat all"), "short-01": RuntimeError("a bug")}

    def broken(task: Task, *_: object) -> Outcome:
        raise errors[task.name]

    monkeypatch.setattr(in_process, "run_task", broken)
    with start_pool(HERE, 1, dataset, tmp_path) as pool:
        outcomes = pool.run([task("short-00", 2), task("short-01", 2)], deaf)
        failed = next(outcomes)
        assert (failed.status, failed.message) == ("failed", "memory ran out (none left): give smaller inputs")
        with pytest.raises(RuntimeError, match="a bug"):
            next(outcomes)
        assert list(finished(tmp_path)) == ["short-00"], "so that the same command does not try it again"
        needed = task("short-00", 2).model_copy(update={"expendable": False})
        with pytest.raises(EdgehoneError, match="memory ran out"):
            next(pool.run([needed], deaf))
