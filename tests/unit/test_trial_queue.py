"""The queue of trials: none is lost, none is run twice at a time, and hundreds of workers stay busy."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehone.search.pool import LOSSES, LostTooOften, TrialQueue

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "worker_scaling.py"


def test_long_trials_go_first_and_equal_ones_in_order() -> None:
    queue = TrialQueue([("a", 1.0), ("b", 3.0), ("c", 1.0), ("d", 3.0)])
    taken = [queue.take() for _ in range(5)]
    assert [item and item[1] for item in taken] == ["b", "d", "a", "c", None]


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
@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=30), st.integers(0, 2**31), st.integers(1, 5))
def test_every_trial_ends_once_whatever_is_lost(costs: list[float], seed: int, workers: int) -> None:
    rng = np.random.default_rng(seed)
    queue = TrialQueue([(k, cost) for k, cost in enumerate(costs)])
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
    assert sorted(ended) == list(range(len(costs)))
    assert {item for item in range(len(costs)) if queue.lost(item)} == set(lost)


def test_a_lost_trial_goes_first_and_one_that_kills_its_workers_is_blamed() -> None:
    queue = TrialQueue([("big", 9.0), ("small", 1.0)])
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


@pytest.fixture(scope="module")
def scaling() -> ModuleType:
    spec = importlib.util.spec_from_file_location("worker_scaling", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_one_worker_takes_as_long_as_all_trials_together(scaling: ModuleType) -> None:
    found = scaling.simulate([(3.0, 1.0), (2.0, 1.0)], 1, scaling.Cluster())
    assert found.seconds == pytest.approx(5.0)
    assert found.efficiency == pytest.approx(1.0)


def test_long_trials_that_are_known_to_be_long_do_not_hold_up_the_end(scaling: ModuleType) -> None:
    durations = [1.0, 1.0, 1.0, 1.0, 4.0]
    known = scaling.simulate([(d, d) for d in durations], 2, scaling.Cluster())
    unknown = scaling.simulate([(d, 1.0) for d in durations], 2, scaling.Cluster())
    assert (known.seconds, unknown.seconds) == (pytest.approx(4.0), pytest.approx(6.0))


def test_hundreds_of_workers_stay_busy_even_where_some_are_lost(scaling: ModuleType) -> None:
    rng = np.random.default_rng(0)
    durations = 90 * rng.lognormal(0, 0.5, 10_000)
    for cluster in (scaling.Cluster(dispatch=0.01, startup=5.0), scaling.Cluster(dispatch=0.01, losses_an_hour=0.05)):
        found = scaling.simulate([(d, 1.0) for d in durations], 256, cluster)
        assert found.efficiency > 0.9
        assert found.trials == 10_000
