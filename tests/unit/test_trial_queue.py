"""The queue of trials: none is lost, none is run twice at a time, and hundreds of workers stay busy."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehone.search.pool import LOSSES, LostTooOften, TrialQueue

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "virtual_cluster.py"


def test_what_is_added_later_waits_behind_what_was_lost() -> None:
    queue: TrialQueue[str] = TrialQueue()
    assert not queue
    queue.add("a")
    first = queue.take()
    queue.add("b")
    assert first is not None
    queue.lose(first[0], "killed")
    assert [item and item[1] for item in (queue.take(), queue.take(), queue.take())] == ["a", "b", None]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 30), st.integers(0, 2**31), st.integers(1, 5))
def test_every_trial_ends_once_whatever_is_lost(trials: int, seed: int, workers: int) -> None:
    rng = np.random.default_rng(seed)
    queue = TrialQueue(range(trials))
    flying: dict[int, int] = {}
    ended: list[int] = []
    lost: dict[int, int] = {}
    while queue:
        while len(flying) < workers and (taken := queue.take()) is not None:
            assert taken[0] not in flying
            flying[taken[0]] = taken[1]
        number = list(flying)[int(rng.integers(len(flying)))]
        item = flying.pop(number)
        if rng.random() < 0.3 and lost.get(number, 0) < LOSSES - 1:
            lost[number] = lost.get(number, 0) + 1
            queue.lose(number, "killed")
        else:
            queue.finish(number)
            ended.append(item)
    assert sorted(ended) == list(range(trials))
    assert {item for item in range(trials) if queue.lost(item)} == set(lost)


def test_a_lost_trial_goes_first_and_one_that_kills_its_workers_is_blamed() -> None:
    queue = TrialQueue(["big", "small"])
    first = queue.take()
    assert first is not None
    for _ in range(LOSSES - 1):
        queue.lose(first[0], "killed")
        assert queue.take() == first
    with pytest.raises(LostTooOften, match=r"lost 3 .the last one: killed"):
        queue.lose(first[0], "killed")
    second = queue.take()
    assert second is not None
    queue.finish(second[0])
    assert not queue, "it waits no more"


@dataclass
class Listed:
    """Trials that are known beforehand: seconds of each, and what it takes to decide on one."""

    durations: Sequence[float]
    deciding: float = 0.0
    after: Mapping[int, int] = field(default_factory=dict[int, int])
    """Number of a trial to that of another one, which must have ended before."""
    told: list[int] = field(default_factory=list[int])
    asked: int = 0

    def ask(self) -> tuple[int | None, float]:
        if self.asked == len(self.durations) or self.after.get(self.asked, -1) not in {-1, *self.told}:
            return None, 0.0
        self.asked += 1
        return self.asked - 1, self.deciding

    def tell(self, trial: int) -> float:
        self.told.append(trial)
        return 0.0

    def seconds(self, trial: int) -> float:
        return self.durations[trial]


@pytest.fixture(scope="module")
def cluster() -> ModuleType:
    spec = importlib.util.spec_from_file_location("virtual_cluster", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_one_worker_takes_as_long_as_all_trials_together(cluster: ModuleType) -> None:
    found = cluster.Simulation(Listed([3.0, 2.0]), cluster.Cluster(1)).run()
    assert (found.clock, found.trials) == (pytest.approx(5.0), 2)
    assert found.efficiency(1) == pytest.approx(1.0)


def test_a_search_serves_one_worker_after_another(cluster: ModuleType) -> None:
    found = cluster.Simulation(Listed([4.0, 4.0], deciding=1.0), cluster.Cluster(2, startup=10.0)).run()
    assert found.clock == pytest.approx(10.0 + 1.0 + 1.0 + 4.0)
    assert found.deciding == pytest.approx(2.0)


def test_workers_idle_while_the_search_waits(cluster: ModuleType) -> None:
    found = cluster.Simulation(Listed([5.0, 1.0, 2.0], after={2: 0}), cluster.Cluster(2)).run()
    assert found.clock == pytest.approx(7.0)
    assert found.efficiency(2) == pytest.approx(8.0 / 14.0)


def test_hundreds_of_workers_stay_busy_even_where_some_are_lost(cluster: ModuleType) -> None:
    rng = np.random.default_rng(0)
    durations = (90 * rng.lognormal(0, 0.5, 10_000)).tolist()
    for losses in (0.0, 0.05):
        listed = Listed(durations, deciding=0.01)
        found = cluster.Simulation(listed, cluster.Cluster(256, startup=5.0, losses_an_hour=losses)).run()
        assert found.efficiency(256) > 0.9
        assert (found.lost > 0) == (losses > 0)
        assert sorted(listed.told) == list(range(10_000))
