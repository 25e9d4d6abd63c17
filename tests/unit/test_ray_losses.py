"""A cluster that loses workers, made up: what is lost is given out again, and what kills its workers is given up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from edgehone.search.pool import LOSSES, LostTooOften, TrialQueue
from edgehone.search.ray_workers import RayWorkers, _Calls, _needed


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


def drained(deadly: dict[str, int], given_up: Callable[[str, LostTooOften], Any]) -> list[str]:
    """Three trials, some of which take so many workers with them."""
    left = dict(deadly)

    def start(name: str) -> Callable[[], str]:
        def end() -> str:
            if left.get(name, 0):
                left[name] -= 1
                raise Crashed
            return f"{name} done"

        return end

    workers = object.__new__(RayWorkers)
    workers.ray = Cluster()
    queue: TrialQueue[str] = TrialQueue()
    return list(workers._drain(iter(["a", "b", "c"]), queue, _Calls(start, lambda: None, given_up)))


def test_what_is_lost_is_given_out_again() -> None:
    assert sorted(drained({"a": LOSSES - 1, "c": 1}, _needed)) == ["a done", "b done", "c done"]


def test_what_kills_its_workers_is_given_up_and_the_others_go_on() -> None:
    found = drained({"b": LOSSES}, lambda name, error: f"{name} failed: {error}")
    assert sorted(found)[0] == "a done"
    assert sorted(found)[2] == "c done"
    assert "the last one: Crashed" in sorted(found)[1]


def test_nothing_is_planned_without_a_timing() -> None:
    with pytest.raises(LostTooOften, match="Crashed"):
        drained({"a": LOSSES}, _needed)
