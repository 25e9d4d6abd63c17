"""Where a run trains: the device that is asked for, and as many trainings as its memory holds."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgehone import equipment
from edgehone.data import Dataset, read_dataset
from edgehone.errors import UsageError
from edgehone.request import Request, check
from edgehone.run_folder import RunFolder
from edgehone.search.calibration import calibrate
from edgehone.search.placement import LARGER, MOST, WORKERS, Placement, fitting, heaviest_job, place, still_here
from edgehone.search.scope import Scope
from edgehone.search.trial import Task
from edgehone.search.workers import run_task
from edgehone.space import load, replace
from edgehone.strategy import AUTHORS
from edgehone.training import Job, train
from edgehone.training.device import Accelerator, accelerators, choose_device

GIB = 1 << 30
DATA = "builtin:digits?train=8&val=4&test=4&width=96&height=96&min_px=30&max_px=60&max_objects=3"
TWO = (Accelerator("cuda:0", "Small", 8 * GIB), Accelerator("cuda:1", "Large", 80 * GIB))

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return read_dataset(DATA)


def unasked(chosen: Accelerator) -> int:
    raise AssertionError("the processor's memory is not measured")


def test_the_device_is_what_is_asked_for() -> None:
    assert choose_device("auto", ()) is None
    assert choose_device("cpu", TWO) is None
    assert choose_device("auto", TWO) == choose_device("cuda", TWO) == TWO[0]
    assert choose_device("cuda:1", TWO) == TWO[1]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [("cuda:2", "here there is cuda:0, cuda:1"), ("gpu", "is auto, cpu, cuda"), ("cuda:", "is auto, cpu, cuda")],
)
def test_what_is_not_here_is_told(wanted: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        choose_device(wanted, TWO)
    with pytest.raises(UsageError, match="none that torch can use"):
        choose_device("cuda", ())


def test_on_the_processor_nothing_is_measured_and_the_workers_are_as_many_as_asked() -> None:
    assert place("auto", 3, (), unasked) == place("cpu", 3, TWO, unasked) == Placement(workers=3)


def test_workers_are_as_many_as_the_measured_memory_holds_but_no_more_than_asked() -> None:
    few = place("cuda", 16, TWO, lambda chosen: 2 * GIB)
    assert (few.device, few.name, few.workers, few.training_bytes) == ("cuda:0", "Small", 2, 2 * GIB)
    assert place("cuda:1", 16, TWO, lambda chosen: 2 * GIB).workers == 16
    assert place("cuda", 16, TWO, lambda chosen: 20 * GIB).workers == 1, "one is tried"


def test_unless_it_is_said_the_processor_takes_two_and_a_gpu_what_fits_up_to_a_bound() -> None:
    assert place("cpu", None, TWO, unasked) == Placement(workers=WORKERS)
    assert place("cpu", 0, TWO, unasked) == Placement(workers=1)
    assert place("cuda:0", None, TWO, lambda chosen: GIB).workers == 5, "8 GiB with half as much again to spare"
    assert place("cuda:1", None, TWO, lambda chosen: GIB).workers == MOST
    assert place("cuda:1", 40, TWO, lambda chosen: GIB).workers == 40


@pytest.mark.parametrize("workers", [0, 1])
def test_one_training_is_placed_without_a_measurement(workers: int) -> None:
    assert place("cuda:1", workers, TWO, unasked) == Placement(device="cuda:1", name="Large", workers=1)


@given(st.integers(0, 1 << 40), st.integers(1, 1 << 38))
def test_what_fits_fits(free: int, taken: int) -> None:
    count = fitting(free, taken)
    assert count == 1 or count * taken * LARGER <= free
    assert (count + 2) * taken * LARGER > 0.9 * free


def test_a_run_goes_on_only_where_its_device_is() -> None:
    begun = place("auto", 2, TWO, lambda chosen: GIB)
    assert still_here(begun, TWO) == begun
    with pytest.raises(UsageError, match="none that torch can use"):
        still_here(begun, ())


def test_what_must_repeat_to_the_bit_is_not_promised_elsewhere() -> None:
    request = Request(data="d", budget_s=60, device="cuda", scope=Scope(deterministic=True))
    with pytest.raises(UsageError, match="repeats to the bit"):
        check(request)
    check(request.model_copy(update={"device": "auto"}))
    with pytest.raises(UsageError, match="auto, cpu, cuda"):
        check(Request(data="d", budget_s=60, device="tpu"))


def test_what_contradicts_a_cluster_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    with pytest.raises(UsageError, match="on this machine alone; got --device cuda"):
        check(Request(data="d", budget_s=60, ray="auto", device="cuda"))
    with pytest.raises(UsageError, match="--workers 0 in this process"):
        check(Request(data="d", budget_s=60, ray="auto", workers=0))


def test_speed_is_measured_where_the_run_trains() -> None:
    class Timed:
        count = 4
        jobs: list[Job] = []  # noqa: RUF012

        def calibrate(self, job: Job) -> float:
            self.jobs.append(job)
            return 0.5 if job.precision == "bf16" else 1.0

    pool = Timed()
    where = Placement(device="cuda:1", name="Large", workers=4)
    found = calibrate(pool, "yolov4-tiny", 3, where)  # type: ignore[arg-type]
    assert {job.device for job in pool.jobs} == {"cuda:1"}
    assert (found.device, found.workers, found.precision) == ("cuda:1", 4, "bf16")
    assert found.hardware.startswith("Large (cuda:1), ")
    assert heaviest_job("yolov4-tiny", 320, "cuda:1").strategy.input.size == 320


def test_a_run_is_placed_once_and_only_where_it_may(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dataset: Dataset
) -> None:
    measured: list[Job] = []

    class Alone:
        def device_bytes(self, job: Job, free_bytes: int) -> int:
            measured.append(job)
            assert free_bytes == 8 * GIB
            return GIB

    monkeypatch.setattr(equipment, "accelerators", lambda: list(TWO))
    monkeypatch.setattr(equipment, "start_workers", lambda *_: contextlib.nullcontext(Alone()))
    (tmp_path / "gpu").mkdir()
    (tmp_path / "cpu").mkdir()
    request = Request(data=DATA, budget_s=60, max_input=160, workers=3)
    placed = [equipment.place_run(request, dataset, RunFolder(tmp_path / "gpu")) for _ in range(2)]
    assert placed[0] == placed[1] == Placement(device="cuda:0", name="Small", workers=3, training_bytes=GIB)
    assert [(job.device, job.strategy.input.size, job.batch_size) for job in measured] == [("cuda:0", 160, 64)]
    exact = request.model_copy(update={"scope": Scope(deterministic=True)})
    assert equipment.place_run(exact, dataset, RunFolder(tmp_path / "cpu")) == Placement(workers=3)
    assert len(measured) == 1


def test_trainings_written_before_there_were_devices_are_of_the_processor() -> None:
    job = Job(model="yolov4-tiny", strategy=AUTHORS, steps=1, batch_size=1)
    content = json.loads(job.model_dump_json())
    del content["device"]
    assert load(Job, content) == job


@needs_cuda
def test_a_cuda_device_trains_what_the_processor_trains(dataset: Dataset, tmp_path: Path) -> None:
    """A few steps: nearly the same losses, an evaluation, a detector that opens without the device."""
    device = accelerators()[0].device
    strategy = replace(AUTHORS, {"input.size": 128, "augmentation.mosaic.probability": 0.0})
    job = Job(model="yolov4-tiny", strategy=strategy, steps=4, batch_size=4, painter="torch")
    here = train(job, dataset.class_names, dataset.train)
    there = train(job.model_copy(update={"device": device}), dataset.class_names, dataset.train)
    assert all(not parameter.is_cuda for parameter in there.network.parameters())
    assert there.curve[0]["total"] == pytest.approx(here.curve[0]["total"], rel=1e-2)
    fast = job.model_copy(update={"device": device, "precision": "bf16"})
    task = Task(name="short-00", rung="short", job=fast, gflops=1.0, keep=True, origin="test")
    assert run_task(task, dataset, tmp_path).status == "done"
