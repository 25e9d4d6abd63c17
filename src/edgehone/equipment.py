"""What a run works with, as it was asked for: a device, workers, a journal."""

from __future__ import annotations

import uuid
from contextlib import AbstractContextManager
from pathlib import Path

from edgehone.boards import Measured, read_measurements
from edgehone.data import Dataset
from edgehone.errors import UsageError
from edgehone.request import Request
from edgehone.run_folder import RunFolder
from edgehone.search.in_process import in_this_process
from edgehone.search.journal import AnyJournal, Journal
from edgehone.search.placement import Placement, check_placement, heaviest_job, place, still_here
from edgehone.search.pool import Pool
from edgehone.search.postgres_journal import PostgresJournal
from edgehone.search.ray_workers import start_ray_workers
from edgehone.search.scope import STUDY
from edgehone.search.workers import start_workers
from edgehone.space import Settings
from edgehone.training.device import CPU, Accelerator, accelerators


class StudyName(Settings):
    """What a study is called in a database of many."""

    name: str


class Measurements(Settings):
    """What boards handed back, frozen."""

    files: tuple[Measured, ...] = ()


def measurements(request: Request, folder: RunFolder) -> tuple[Measured, ...]:
    """What was measured on boards, as it was when the run began.

    Raises:
        UsageError: a file has changed since.
    """
    if not request.measured:
        return ()
    found = folder.stage("measured", Measurements, lambda: Measurements(files=read_measurements(request.measured)))
    for path, known in zip(request.measured, found.files, strict=True):
        if Path(path).is_file() and read_measurements([path]) != (known,):
            raise UsageError(
                f"a run keeps the measurements that it began with, and {path} has changed since: put it back, or "
                "choose another --out"
            )
    return found.files


def start_pool(request: Request, workers: int, dataset: Dataset, trials: Path) -> AbstractContextManager[Pool]:
    """What trains: this process, processes of this machine, or the nodes of a cluster."""
    if request.ray is not None:
        return start_ray_workers(request.ray, dataset, trials)
    return in_this_process(dataset, trials) if request.workers == 0 else start_workers(workers, dataset, trials)


def place_run(request: Request, dataset: Dataset, folder: RunFolder) -> Placement:
    """The device and how many trainings it holds, decided once; what must repeat to the bit stays on the processor."""
    wanted = CPU if request.scope.deterministic or request.ray is not None else request.device
    found = [] if wanted == CPU else accelerators()

    def measure(chosen: Accelerator) -> int:
        with start_workers(1, dataset, folder.trials) as one:
            return one.device_bytes(heaviest_job(request.model, request.max_input, chosen.device), chosen.free_bytes)

    return still_here(folder.stage("device", Placement, lambda: place(wanted, request.workers, found, measure)), found)


def check_trains_here(device: str, *, cluster: bool) -> None:
    """Whether what was trained on a device can be compared with further trainings.

    Raises:
        UsageError: the device is not on this machine, or a cluster is to stand in for it.
    """
    check_placement(device, deterministic=False, cluster=cluster)
    if device != CPU and device not in {accelerator.device for accelerator in accelerators()}:
        raise UsageError(
            f"the run was trained on {device}, which is not here: explain it where it was run, or give --budget 0% for "
            "what its trials tell by themselves"
        )


def open_journal(request: Request, folder: RunFolder) -> AbstractContextManager[AnyJournal]:
    """Where the study is kept: a file in the run's folder, or a database, under a name of the folder's own."""
    if request.study is None:
        return Journal(folder.path / STUDY)
    fresh = f"{folder.path.resolve().name}-{uuid.uuid4().hex[:12]}"
    name = folder.stage("study", StudyName, lambda: StudyName(name=fresh)).name
    return PostgresJournal(request.study, name)
