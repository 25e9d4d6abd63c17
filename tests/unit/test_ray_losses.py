"""A cluster that loses workers, made up: what is lost is given out again, and what kills its workers is given up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from edgehone.search.pool import LOSSES, LostTooOften, TrialQueue
from edgehone.search.ray_workers import RayWorkers, _Calls, _needed
from edgehone.search.trial import Outcome, Task, save_outcome
from edgehone.strategy import AUTHORS
from edgehone.training import Job


class Crashed(Exception):
    """A worker is gone."""


class Cluster:
    """Two processors; a reference is what gives its value."""

    names = ("WorkerCrashedError", "NodeDiedError", "OutOfMemoryError", "ObjectLostError", "LocalRayletDiedError")
    exceptions: ClassVar[Any] = SimpleNamespace(**dict.fromkeys(names, Crashed))

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": {"CPU": 2.0}}]

    def wait(self, references: Sequence[Any], **_: object) -> tuple[Sequence[Any], Sequence[Any]]:
        return references[:1], references[1:]

    def get(self, reference: Callable[[], str]) -> str:
        return reference()

    def cancel(self, reference: object, *, force: bool) -> None:
        """Nothing runs."""


def drained(
    deadly: dict[str, int],
    given_up: Callable[[str, LostTooOften], Any],
    kept: Callable[[str], Any] = lambda name: None,
    loss: Exception | None = None,
) -> list[str]:
    """Three trials, some of which take so many workers with them."""
    left = dict(deadly)

    def start(name: str) -> Callable[[], str]:
        def end() -> str:
            if left.get(name, 0):
                left[name] -= 1
                raise loss or Crashed
            return f"{name} done"

        return end

    workers = object.__new__(RayWorkers)
    workers.ray = Cluster()
    queue: TrialQueue[str] = TrialQueue()
    return list(workers._drain(iter(["a", "b", "c"]), queue, _Calls(start, lambda: None, given_up, kept)))


def test_what_is_lost_is_given_out_again() -> None:
    assert sorted(drained({"a": LOSSES - 1, "c": 1}, _needed)) == ["a done", "b done", "c done"]


def test_what_kills_its_workers_is_given_up_and_the_others_go_on() -> None:
    found = drained({"b": LOSSES}, lambda name, error: f"{name} failed: {error}")
    assert sorted(found)[0] == "a done"
    assert sorted(found)[2] == "c done"
    assert "the last one: Crashed" in sorted(found)[1]


def test_a_result_on_a_shared_disk_counts_though_its_node_was_lost_before_it_said_so() -> None:
    found = drained({"a": LOSSES, "c": 1}, _needed, lambda name: f"{name} kept" if name == "a" else None)
    assert sorted(found) == ["a kept", "b done", "c done"], "it is neither trained again nor there twice"


@pytest.mark.parametrize("loss", [MemoryError("full"), RuntimeError("[enforce fail] DefaultCPUAllocator: no memory")])
def test_a_worker_whose_memory_is_full_is_lost_and_another_error_ends_the_search(loss: Exception) -> None:
    assert sorted(drained({"a": 1}, _needed, loss=loss)) == ["a done", "b done", "c done"]
    with pytest.raises(RuntimeError, match="a bug"):
        drained({"a": 1}, _needed, loss=RuntimeError("a bug"))


def test_what_a_lost_node_left_on_a_shared_disk_is_found(tmp_path: Path) -> None:
    job = Job(model="yolov4-tiny", strategy=AUTHORS, steps=1, batch_size=1)
    task = Task(name="short-00", rung="short", job=job, gflops=1.0, origin="test")
    outcome = Outcome(task=task, status="done", ap=0.3, validation=None, curve=[], seconds=1.0)

    def remote(*_: object) -> Callable[[], Any]:
        def end() -> Any:
            save_outcome(outcome, tmp_path)
            raise Crashed

        return end

    workers = object.__new__(RayWorkers)
    workers.ray, workers.folder = Cluster(), tmp_path
    workers.shipment = workers.home = None
    workers.train = SimpleNamespace(remote=remote)
    workers._shares = dict  # type: ignore[method-assign]
    assert list(workers.run([task], lambda shares: None)) == [outcome]


def test_nothing_is_planned_without_a_timing() -> None:
    with pytest.raises(LostTooOften, match="Crashed"):
        drained({"a": LOSSES}, _needed)
