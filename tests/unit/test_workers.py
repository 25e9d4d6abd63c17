"""Worker processes: a death is told, what was finished is kept, the rest is run again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from edgehone.data import Dataset, read_dataset
from edgehone.errors import EdgehoneError
from edgehone.run_folder import RunFolder
from edgehone.search.progress import Monitor, Status
from edgehone.search.trial import Task, finished
from edgehone.search.workers import start_workers
from edgehone.space import replace
from edgehone.strategy import AUTHORS
from edgehone.training import Job

DATA = "builtin:digits?train=8&val=4&test=4&width=96&height=96&min_px=30&max_px=60&max_objects=3"


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return read_dataset(DATA)


def task(name: str, steps: int, **changes: object) -> Task:
    strategy = replace(AUTHORS, {"input.size": 128, **changes})
    job = Job(model="yolov4-tiny", strategy=strategy, steps=steps, batch_size=4)
    return Task(name=name, rung="short", job=job, gflops=float(steps), origin="test")


def test_a_killed_worker_is_told_and_finished_trials_are_kept(dataset: Dataset, tmp_path: Path) -> None:
    tasks = [task("short-00", 2), task("short-01", 400)]
    done: list[str] = []

    def kill_when_one_is_done(shares: dict[str, float]) -> None:
        if done:
            for child in psutil.Process().children(recursive=True):
                if "spawn_main" in " ".join(child.cmdline()):
                    os.kill(child.pid, signal.SIGKILL)

    def work() -> None:
        with start_workers(2, dataset, tmp_path) as workers:
            for outcome in workers.run(tasks, kill_when_one_is_done):
                done.append(outcome.task.name)

    with pytest.raises(EdgehoneError, match="a worker process ended"):
        work()
    assert list(finished(tmp_path)) == ["short-00"]


def test_only_what_is_missing_is_run_and_divergence_counts_as_nothing(dataset: Dataset, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    said: list[Status] = []
    monitor = Monitor(folder, said.append)
    wild = {"optimisation.optimizer.lr": 1e30}
    tasks = [task("short-00", 2), task("short-01", 4, **wild)]
    with start_workers(1, dataset, folder.trials) as workers:
        first = monitor.run(workers, tasks)
        stamps = {p: p.stat().st_mtime_ns for p in folder.trials.glob("*/result.json")}
        again = monitor.run(workers, tasks)
    assert again == first
    assert stamps == {p: p.stat().st_mtime_ns for p in folder.trials.glob("*/result.json")}
    assert [o.status for o in first] == ["done", "diverged"]
    assert (first[1].ap, first[1].validation) == (0.0, None)
    assert "must stay finite" in first[1].message
    assert any("diverged" in status.message for status in said if status.event)
    assert not list(folder.trials.glob("*/state.pt"))


def test_idle_workers_end_when_their_parent_is_gone(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import time\n"
        "from pathlib import Path\n"
        "from edgehone.data import read_dataset\n"
        "from edgehone.search.workers import start_workers\n"
        "if __name__ == '__main__':\n"
        f"    with start_workers(1, read_dataset({DATA!r}), Path({str(tmp_path)!r})) as workers:\n"
        "        workers.pool.submit(time.sleep, 0).result()\n"
        "        print('idle', flush=True)\n"
        "        time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "idle\n"
    children = psutil.Process(parent.pid).children(recursive=True)
    assert children
    parent.kill()
    parent.wait()
    parent.stdout.close()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
