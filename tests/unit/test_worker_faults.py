"""Faults at the worst instants: between a result and its report, within a word, under a driver that is gone."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from edgehone.data import Dataset, read_dataset
from edgehone.search import workers
from edgehone.search.pool import LOSSES
from edgehone.search.processes import Crew, Said
from edgehone.search.trial import Outcome, Task, finished, save_outcome
from edgehone.search.workers import start_workers
from edgehone.strategy import AUTHORS
from edgehone.training import Job

DATA = "builtin:digits?train=8&val=4&test=4&width=96&height=96&min_px=30&max_px=60&max_objects=3"
PARENT = """
import time
from pathlib import Path
from edgehone.search.processes import Crew

def nothing():
    pass

def busy(note):
    note("busy")
    time.sleep(600)

if __name__ == "__main__":
    crew = Crew(1, nothing, ())
    crew.begin(0, busy)
    heard = []
    while not heard:  # listening goes on after a note, for as long as it was asked to
        heard = crew.listen(0.5)
    print(heard[0].value, flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return read_dataset(DATA)


def task(name: str) -> Task:
    job = Job(model="yolov4-tiny", strategy=AUTHORS, steps=1, batch_size=2)
    return Task(name=name, rung="short", job=job, gflops=1.0, origin="test", expendable=True)


def outcome(of: Task) -> Outcome:
    return Outcome(task=of, status="done", ap=0.25, validation=None, curve=[], seconds=1.0, message=str(os.getpid()))


def setup() -> None:
    """Nothing is needed."""


def written_then_dead(note: object, of: Task) -> Outcome:
    """Instead of a training: its result is whole on disk, and nobody is told."""
    assert workers._here is not None
    save_outcome(outcome(of), workers._here.folder)
    os._exit(9)


def told_then_dead(note: Any, of: Task) -> Outcome:
    """The whole report is on its way when the process goes."""
    assert workers._here is not None
    found = outcome(of)
    save_outcome(found, workers._here.folder)
    pipe = note.__closure__[0].cell_contents
    pipe.send(("result", found))
    os._exit(9)


def half_a_word(note: Any) -> None:
    """The length of a message and its first bytes."""
    pipe = note.__closure__[0].cell_contents
    os.write(pipe.fileno(), struct.pack("!i", 1000) + b"\x80\x04half")
    os._exit(9)


@pytest.mark.parametrize("fault", [written_then_dead, told_then_dead])
def test_what_is_on_disk_is_told_once_and_trained_once(
    fault: Any, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_run", fault)
    tasks = [task(f"short-0{k}") for k in range(LOSSES + 1)]
    with start_workers(2, dataset, tmp_path) as pool:
        found = list(pool.run(tasks, lambda shares: None))
    assert sorted(each.task.name for each in found) == [each.name for each in tasks]
    assert {each.task.name: each for each in found} == finished(tmp_path)
    trained_by = [each.message for each in found]
    assert len(set(trained_by)) == len(tasks), "each by one process, none again by another"


def test_half_a_word_is_a_loss_and_no_result() -> None:
    crew = Crew(1, setup, ())
    try:
        crew.begin(7, half_a_word)
        heard: list[Said] = []
        while not heard:
            heard = crew.listen(5.0)
        assert heard == [Said(7, "lost", "ended with exit status 9")]
        crew.begin(8, isinstance, object)
        heard = []
        while not heard:
            heard = crew.listen(5.0)
        assert heard == [Said(8, "result", True)], "another process takes its place"
    finally:
        crew.end(at_once=True)


def test_busy_workers_end_with_a_killed_driver_so_that_the_next_one_is_alone(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "busy\n"
    children = psutil.Process(parent.pid).children(recursive=True)
    assert children
    parent.kill()
    parent.wait()
    parent.stdout.close()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
