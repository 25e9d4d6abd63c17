"""Worker processes: one that dies is replaced, what was finished is kept, the rest is run again to the same bit."""

from __future__ import annotations

import multiprocessing
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from edgehone.data import Dataset, read_dataset
from edgehone.errors import EdgehoneError, UsageError
from edgehone.inference import CHECKPOINT, open_network
from edgehone.run_folder import RunFolder
from edgehone.search import pool, processes
from edgehone.search.pool import AGAIN, LOSSES, LostTooOften, TrialQueue, give_up
from edgehone.search.processes import Crew, Said
from edgehone.search.progress import Monitor, Status
from edgehone.search.trial import Task, finished
from edgehone.search.workers import Workers, run_task, start_workers
from edgehone.space import replace
from edgehone.strategy import AUTHORS
from edgehone.training import Job

DATA = "builtin:digits?train=8&val=4&test=4&width=96&height=96&min_px=30&max_px=60&max_objects=3"


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return read_dataset(DATA)


LOST = """
import os, signal
from pathlib import Path
from edgehone.data import read_dataset
from edgehone.interruption import heed
from edgehone.search.workers import start_workers
from edgehone.strategy import AUTHORS
from edgehone.training import Job, train

class Careless:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs have it ignored
    heed()
    dataset = read_dataset("{data}")
    Careless()  # Python ignores what a destructor raises
    job = Job(model="yolov4-tiny", strategy=AUTHORS, steps=1, batch_size=2, precision="fp32", seed=0)
    try:
        {work}
    except KeyboardInterrupt:
        print("stopped")
"""


@pytest.mark.parametrize(
    "work",
    [
        "train(job, dataset.class_names, dataset.train)",
        "with start_workers(1, dataset, Path('.')) as workers: workers.calibrate(job)",
    ],
)
def test_an_interruption_that_a_library_swallows_still_stops_long_work(work: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(LOST.format(data=DATA, work=work))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert "Exception ignored" in done.stderr
    assert done.stdout.split() == ["stopped"], done.stderr


def task(name: str, steps: int, **changes: object) -> Task:
    strategy = replace(AUTHORS, {"input.size": 128, **changes})
    job = Job(model="yolov4-tiny", strategy=strategy, steps=steps, batch_size=4)
    return Task(name=name, rung="short", job=job, gflops=float(steps), origin="test")


def kill_a_worker(rng: random.Random) -> int:
    """Kill one of this process's workers; how many that were."""
    alive = multiprocessing.active_children()
    if alive:
        rng.choice(alive).kill()
    return min(len(alive), 1)


def weights(folder: Path, name: str) -> dict[str, torch.Tensor]:
    return open_network(folder / name / CHECKPOINT)[0].state_dict()


def test_trials_of_killed_workers_are_trained_again_to_the_same_bit(dataset: Dataset, tmp_path: Path) -> None:
    tasks = [task(f"short-0{k}", steps).model_copy(update={"keep": True}) for k, steps in enumerate((2, 24, 8))]
    folder = RunFolder(tmp_path)
    said: list[Status] = []
    monitor = Monitor(folder, said.append)
    rng = random.Random(0)
    kills: list[float] = []

    def kill_now_and_then(status: Status) -> None:
        said.append(status)
        running = len(monitor.running_gflops)
        if running and len(kills) < LOSSES - 1 and (folder.trials / "short-02" / "result.json").is_file():
            kills.extend([time.monotonic()] * kill_a_worker(rng))

    monitor.show = kill_now_and_then
    monitor.total_gflops = 34.0
    with start_workers(2, dataset, folder.trials) as workers:
        disturbed = monitor.run(workers, tasks)
    assert len(kills) == LOSSES - 1
    assert sorted(finished(folder.trials)) == [each.name for each in tasks]
    assert any(AGAIN in outcome.message for outcome in disturbed)
    for each, outcome in zip(tasks, disturbed, strict=True):
        calm = run_task(each, dataset, tmp_path / "calm")
        assert (outcome.validation, outcome.curve) == (calm.validation, calm.curve)
        left, right = weights(folder.trials, each.name), weights(tmp_path / "calm", each.name)
        assert all(torch.equal(left[key], right[key]) for key in left)


def test_a_trial_that_kills_its_workers_fails_with_its_reason_and_the_others_go_on(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "LOSSES", 2)
    endless = task("short-00", 100_000).model_copy(update={"expendable": True})
    rng = random.Random(0)

    def kill_when_it_trains(shares: dict[str, float]) -> None:
        if "short-00" in shares:
            shares.clear()  # heard of again when the next worker trains it
            kill_a_worker(rng)

    with start_workers(1, dataset, tmp_path) as workers:
        found = list(workers.run(iter([endless, task("short-01", 2)]), kill_when_it_trains))
    assert (found[0].task.name, found[0].status, found[0].ap) == ("short-00", "failed", 0.0)
    assert "killed by SIGKILL" in found[0].message
    assert finished(tmp_path) == {o.task.name: o for o in found}
    assert found[1].status == "done"
    assert not list(tmp_path.glob("*/state.pt"))


def test_what_a_proof_needs_is_never_counted_as_nothing(tmp_path: Path) -> None:
    error = LostTooOften("lost")
    with pytest.raises(EdgehoneError, match="final-darknet: lost; finished trials are kept"):
        give_up(task("final-darknet", 2), tmp_path, error)
    assert not finished(tmp_path)


def test_a_result_on_disk_counts_though_its_worker_died_before_it_said_so(dataset: Dataset, tmp_path: Path) -> None:
    queue = TrialQueue([task("short-00", 2)])
    taken = queue.take()
    assert taken is not None
    outcome = run_task(taken[1], dataset, tmp_path)
    workers = Workers(Crew(1, _setup, ()), tmp_path)
    assert workers._outcome(Said(taken[0], "lost", "killed by SIGKILL"), queue) == outcome
    assert not queue


def _setup() -> None:
    """Nothing is needed."""


def _die() -> None:
    os._exit(3)


def _raise(note: object, text: str) -> None:
    raise UsageError(text)


def _exhaust(note: object) -> None:
    raise torch.OutOfMemoryError("device memory is full")


def listened(crew: Crew) -> list[Said]:
    heard: list[Said] = []
    while not any(said.kind != "note" for said in heard):
        heard += crew.listen(5.0)
    return heard


def test_processes_that_cannot_start_are_told_of_rather_than_started_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processes, "STILLBORN", 2)
    crew = Crew(1, _die, ())
    crew.begin(0, _raise, "never")
    assert [said.kind for said in listened(crew)] == ["lost"]
    crew.begin(1, _raise, "never")
    with pytest.raises(EdgehoneError, match=r"2 in a row .*exit status 3"):
        listened(crew)
    crew.end(at_once=True)


def test_errors_of_a_call_are_raised_here_and_full_memory_costs_the_process() -> None:
    crew = Crew(1, _setup, ())
    try:
        crew.begin(0, _raise, "no such thing")
        with pytest.raises(UsageError, match="no such thing"):
            listened(crew)
        crew.begin(1, _exhaust)
        assert listened(crew) == [Said(1, "lost", "out of memory: device memory is full")]
        assert not crew.hands
    finally:
        crew.end(at_once=True)


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
        "        workers.crew.begin(0, isinstance, object)\n"
        "        assert workers.crew.listen(600)[0].value is True\n"
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
