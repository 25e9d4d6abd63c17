"""Trials on the nodes of a Ray cluster: one worker for each of its processors, lost ones made up for.

Nodes need edgehone of the same version. Pictures that a node cannot see at their place are sent there once; trials
whose folder it cannot see are trained in a folder of the node's own, and their files are sent back.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2

from edgehone.data import Dataset, Sample
from edgehone.data.picture import FileImage
from edgehone.errors import EdgehoneError, UsageError
from edgehone.files import write_bytes
from edgehone.interruption import stop_if_asked
from edgehone.search.pool import AGAIN, LostTooOften, TrialQueue, give_up
from edgehone.search.processes import out_of_memory
from edgehone.search.trial import RESULT, Outcome, Task, load_outcome, save_outcome
from edgehone.search.workers import calibrate_job, run_task, seldom
from edgehone.training import Job

POLL_SECONDS = 0.5
NOTE_SECONDS = 1.0
"""How often a trial says how far it is: it goes over the network."""

KNOCK_SECONDS = 5.0
PATIENCE_SECONDS = 120.0
"""How long a cluster without a single node is waited for."""

PARCEL = 64
"""Pictures that are sent at once."""

Tick = Callable[[dict[str, float]], None]
Fetch = Callable[[Sequence[Path]], Mapping[Path, bytes]]
"""Bytes of picture files of the machine that searches."""

Trained = tuple[Outcome, dict[str, bytes] | None]


def ray_library() -> Any:
    """The ray package.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return importlib.import_module("ray")
    except ModuleNotFoundError:
        raise UsageError("--ray needs the ray package: pip install 'edgehone[ray]'") from None


@dataclass(frozen=True)
class Shipment:
    """What a node needs: the data, and how to tell what of it the node can see.

    Attributes:
        dataset: with the pictures' places on the machine that searches.
        folder: of the trials on the machine that searches.
        marker: a file in it that only who shares that folder can see.
        pictures: fingerprint of the picture files.
        version: of edgehone.
    """

    dataset: Dataset
    folder: Path
    marker: Path
    pictures: str
    version: str

    def arrive(self, fetch: Fetch) -> tuple[Dataset, Path]:
        """The data as this node can read it, and where its trials are kept.

        Raises:
            EdgehoneError: this node has another version.
        """
        here = version("edgehone")
        if here != self.version:
            raise EdgehoneError(
                f"all nodes need the same edgehone: the search runs {self.version}, {socket.gethostname()} {here}; "
                f"install {self.version} there"
            )
        folder = self.folder if self.marker.is_file() else own_folder(self.marker.name)
        places = picture_places(self.dataset)
        if all(place.is_file() for place in places):
            return self.dataset, folder
        own = own_folder(self.pictures)
        moved = {place: own / f"{k}{place.suffix}" for k, place in enumerate(places)}
        missing = [place for place, path in moved.items() if not path.is_file()]
        for start in range(0, len(missing), PARCEL):
            for place, content in fetch(missing[start : start + PARCEL]).items():
                write_bytes(moved[place], content)
        return relocated(self.dataset, moved), folder


def picture_places(dataset: Dataset) -> list[Path]:
    """The picture files of training and validation, each once; trials read no others."""
    sources = [sample.source for split in (dataset.train, dataset.val) for sample in split]
    return list(dict.fromkeys(source.path for source in sources if isinstance(source, FileImage)))


def relocated(dataset: Dataset, moved: Mapping[Path, Path]) -> Dataset:
    """The data set with its picture files at other places."""

    def there(sample: Sample) -> Sample:
        source = sample.source
        return replace(sample, source=FileImage(moved[source.path])) if isinstance(source, FileImage) else sample

    train, val = (tuple(there(sample) for sample in split) for split in (dataset.train, dataset.val))
    return replace(dataset, train=train, val=val)


def own_folder(name: str) -> Path:
    """A folder of this user on this node."""
    folder = Path(tempfile.gettempdir()) / f"edgehone-{os.getuid()}-{name}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def train_here(task: Task, shipment: Shipment, fetch: Fetch, note: Callable[[str, float], None]) -> Trained:
    """On a node: train; the outcome and, where the trials' folder is not shared, the files that it left."""
    cv2.setNumThreads(1)
    dataset, folder = shipment.arrive(fetch)
    outcome = run_task(task, dataset, folder, seldom(lambda share: note(task.name, share), NOTE_SECONDS))
    if folder == shipment.folder:
        return outcome, None
    home = folder / task.name
    files = {path.name: path.read_bytes() for path in home.iterdir() if path.name != RESULT}
    shutil.rmtree(home)
    return outcome, files


class Home:
    """An actor on the machine that searches: hears how far trials are, and hands out pictures."""

    def __init__(self) -> None:
        self.shares: dict[str, float] = {}

    def note(self, name: str, share: float) -> None:
        """A trial is so far."""
        self.shares[name] = share

    def all(self) -> dict[str, float]:
        """How far each is."""
        return self.shares

    def pictures(self, places: Sequence[Path]) -> dict[Path, bytes]:
        """The bytes of picture files."""
        return {place: place.read_bytes() for place in places}


def _train(task: Task, shipment: Shipment, home: Any) -> Trained:
    ray = ray_library()
    return train_here(
        task,
        shipment,
        lambda places: ray.get(home.pictures.remote(places)),
        lambda name, share: home.note.remote(name, share),
    )


def _time(job: Job, shipment: Shipment, home: Any) -> float:
    ray = ray_library()
    return calibrate_job(job, shipment.arrive(lambda places: ray.get(home.pictures.remote(places)))[0])


@dataclass(frozen=True)
class _Calls:
    """How a name that is given out starts, who listens, what it is worth if it cannot end, what a lost worker left."""

    start: Callable[[str], Any]
    listen: Callable[[], None]
    given_up: Callable[[str, LostTooOften], Any]
    kept: Callable[[str], Any] = lambda name: None


class RayWorkers:
    """The cluster as a pool, see :class:`~edgehone.search.pool.Pool`.

    Attributes:
        count: processors of the cluster when the search began.
    """

    def __init__(self, ray: Any, shipment: Shipment) -> None:
        self.ray = ray
        self.shipment: Any = ray.put(shipment)
        self.folder = shipment.folder
        self.count = processors(ray)
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        self.home: Any = ray.remote(num_cpus=0, scheduling_strategy=here)(Home).remote()
        self.train: Any = ray.remote(num_cpus=1, max_retries=0)(_train)
        self.time: Any = ray.remote(num_cpus=1, max_retries=0)(_time)

    def calibrate(self, job: Job) -> float:
        """Seconds per step while all workers do the same."""
        names = iter([f"timing {k}" for k in range(self.count)])
        calls = _Calls(lambda _: self.time.remote(job, self.shipment, self.home), _deaf, _needed)
        return max(self._drain(names, TrialQueue(), calls))

    def run(self, tasks: Iterable[Task | None], tick: Tick) -> Iterator[Outcome]:
        """Outcomes as they come; a trial whose node is lost is trained again elsewhere.

        Args:
            tasks: taken one at a time, whenever a worker is free; None says that nothing can be done before the next
                outcome.
            tick: told about twice a second how far running tasks are.
        """
        by_name: dict[str, Task] = {}
        queue: TrialQueue[str] = TrialQueue()
        done: set[str] = set()

        def start(name: str) -> Any:
            return self.train.remote(by_name[name], self.shipment, self.home)

        def listen() -> None:
            running = set(queue.running.values())
            shares = {name: share for name, share in self._shares().items() if name in running}
            tick(shares | dict.fromkeys(done, 1.0))

        def given_up(name: str, error: LostTooOften) -> Trained:
            return give_up(by_name[name], self.folder, error), None

        def kept(name: str) -> Trained | None:
            outcome = load_outcome(self.folder, name)  # a node may be lost between its last word on disk and that to us
            return None if outcome is None else (outcome, None)

        for outcome, files in self._drain(_names(tasks, by_name), queue, _Calls(start, listen, given_up, kept)):
            name = outcome.task.name
            lost = queue.lost(name) and outcome.status != "failed"
            if lost:
                outcome = outcome.model_copy(update={"message": f"{outcome.message} {AGAIN}".strip()})
            if files is not None:
                for file, content in files.items():
                    write_bytes(self.folder / name / file, content)
            if lost or files is not None:
                save_outcome(outcome, self.folder)
            done.add(name)
            yield outcome

    def _drain(self, names: Iterator[str | None], queue: TrialQueue[str], calls: _Calls) -> Iterator[Any]:
        """Give out what was lost, then what is new, as many as there are processors; yield results."""
        ray, flying = self.ray, dict[Any, int]()
        alone_since: float | None = None
        try:
            while True:
                stop_if_asked()
                while len(flying) < max(processors(ray), 1):
                    if not queue.waiting and (fresh := next(names, None)) is not None:
                        queue.add(fresh)
                    taken = queue.take()
                    if taken is None:
                        break
                    flying[calls.start(taken[1])] = taken[0]
                if not flying:
                    return
                ready, _ = ray.wait(list(flying), num_returns=1, timeout=POLL_SECONDS)
                for reference in ready:
                    number = flying.pop(reference)
                    try:
                        value = ray.get(reference)
                    except Exception as error:
                        if not _lost(ray, error):
                            raise
                        value = calls.kept(queue.items[number])
                        if value is None:
                            try:
                                queue.lose(number, type(error).__name__)
                            except LostTooOften as blamed:
                                yield calls.given_up(queue.items[number], blamed)
                            continue
                    queue.finish(number)
                    yield value
                alone_since = _still_there(ray, alone_since)
                calls.listen()
        finally:
            for reference in flying:
                ray.cancel(reference, force=True)

    def _shares(self) -> dict[str, float]:
        """What running trials say; nothing where the node that collects it is slow or lost."""
        try:
            return self.ray.get(self.home.all.remote(), timeout=POLL_SECONDS)
        except self.ray.exceptions.RayError:
            return {}


def _names(tasks: Iterable[Task | None], by_name: dict[str, Task]) -> Iterator[str | None]:
    """Of tasks as they are taken, each noted."""
    for task in tasks:
        if task is not None:
            by_name[task.name] = task
        yield None if task is None else task.name


def _deaf() -> None:
    """Nobody asks how far a timing is."""


def _needed(name: str, error: LostTooOften) -> Any:
    """Nothing can be planned without a timing."""
    raise error


def processors(ray: Any) -> int:
    """Of all nodes that are alive."""
    return int(sum(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]))


def _lost(ray: Any, error: Exception) -> bool:
    """Whether a worker, its node or its memory is gone, rather than the trial wrong."""
    names = ("WorkerCrashedError", "NodeDiedError", "OutOfMemoryError", "ObjectLostError", "LocalRayletDiedError")
    return out_of_memory(error) or isinstance(error, tuple(getattr(ray.exceptions, name) for name in names))


def _still_there(ray: Any, alone_since: float | None) -> float | None:
    """Since when the cluster has no processor left.

    Raises:
        EdgehoneError: for too long.
    """
    if processors(ray):
        return None
    now = time.monotonic()
    if alone_since is not None and now - alone_since > PATIENCE_SECONDS:
        raise EdgehoneError(
            f"a search needs a node, but the cluster has had none for {PATIENCE_SECONDS:.0f} s; finished trials are "
            "kept: start nodes, then give the same command again to go on"
        )
    return now if alone_since is None else alone_since


def check_address(address: str) -> None:
    """Knock before Ray does: it takes minutes to give up, and then ends the process.

    Raises:
        UsageError: not an address, or nobody answers.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise UsageError(f"--ray takes HOST:PORT of a cluster, or auto on one of its machines; got {address!r}")
    try:
        socket.create_connection((host, int(port)), KNOCK_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise UsageError(f"--ray names a running cluster, but at {address} there is none: {error}") from None


def _shipment(dataset: Dataset, folder: Path, marker: str) -> Shipment:
    sent = replace(dataset, test=(), seen={})
    stamps = [f"{place} {FileImage(place).stamp()}" for place in picture_places(sent)]
    pictures = hashlib.sha256("\n".join(stamps).encode()).hexdigest()[:16]
    return Shipment(sent, folder, folder / marker, pictures, version("edgehone"))


@contextmanager
def start_ray_workers(address: str, dataset: Dataset, folder: Path) -> Generator[RayWorkers]:
    """Join the cluster at ``address`` (``auto`` for the one on this machine) until the block is left.

    Raises:
        UsageError: ray is not installed, or there is no cluster.
    """
    ray = ray_library()
    check_address(address)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", namespace="edgehone")
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UsageError(f"--ray names a running cluster, but {address} answers: {error}") from None
    if not processors(ray):
        ray.shutdown()
        raise UsageError(f"--ray needs a cluster with processors; {address} has none: ray start --address=...")
    marker = folder / f"node-{os.getpid()}-{time.time_ns()}"
    marker.touch()
    try:
        yield RayWorkers(ray, _shipment(dataset, folder.resolve(), marker.name))
    finally:
        marker.unlink(missing_ok=True)
        ray.shutdown()
