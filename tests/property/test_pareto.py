"""Fronts and volumes against plain definitions and against Optuna's."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehone.search.pareto import best_first, crowding, front, front_ranks, hypervolume

needs_optuna = pytest.mark.skipif(
    importlib.util.find_spec("optuna") is None, reason="Optuna is not installed: the extra [optuna]"
)

WHOLE = st.integers(0, 6).map(float)
TABLES = st.integers(1, 4).flatmap(lambda k: st.lists(st.tuples(*[WHOLE] * k), min_size=1, max_size=24))


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(a >= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)


def ranks_by_definition(values: Sequence[Sequence[float]]) -> list[int]:
    left, ranks, rank = set(range(len(values))), [0] * len(values), 0
    while left:
        first = {i for i in left if not any(dominates(values[j], values[i]) for j in left)}
        for i in first:
            ranks[i] = rank
        left, rank = left - first, rank + 1
    return ranks


@settings(deadline=None)
@given(TABLES)
def test_ranks_are_those_of_the_definition(values: list[tuple[float, ...]]) -> None:
    ranks = front_ranks(values).tolist()
    assert ranks == ranks_by_definition(values)
    assert front(values) == [i for i, rank in enumerate(ranks) if rank == 0]


@settings(deadline=None)
@given(TABLES)
def test_the_order_takes_front_by_front_and_is_a_permutation(values: list[tuple[float, ...]]) -> None:
    order, ranks = best_first(values), front_ranks(values)
    assert sorted(order) == list(range(len(values)))
    assert [ranks[i] for i in order] == sorted(ranks)


@settings(deadline=None)
@given(st.lists(WHOLE, min_size=1, max_size=20))
def test_one_objective_is_sorted_and_ties_keep_their_order(values: list[float]) -> None:
    assert best_first([(v,) for v in values]) == sorted(range(len(values)), key=lambda i: (-values[i], i))


def test_ends_and_lonely_members_of_a_front_come_first() -> None:
    values = [(0.0, 4.0), (1.0, 3.9), (1.1, 3.8), (3.0, 1.0), (4.0, 0.0)]
    assert set(best_first(values)[:2]) == {0, 4}
    assert best_first(values)[2] == 3
    assert crowding(np.array([(1.0, 1.0)])).tolist() == [np.inf]


@settings(deadline=None)
@given(st.lists(st.tuples(WHOLE, WHOLE, WHOLE), min_size=1, max_size=12))
def test_the_volume_counts_the_unit_cubes_below_the_front(values: list[tuple[float, ...]]) -> None:
    corners = [(x, y, z) for x in range(6) for y in range(6) for z in range(6)]
    covered = sum(
        any(all(c + 1 <= v for c, v in zip(corner, value, strict=True)) for value in values) for corner in corners
    )
    assert hypervolume(values, (0.0, 0.0, 0.0)) == pytest.approx(covered)


@needs_optuna
@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 3))
def test_volumes_are_optunas(seed: int, objectives: int) -> None:
    from optuna._hypervolume import compute_hypervolume

    values = np.random.default_rng(seed).random((12, objectives))
    reference = np.zeros(objectives)
    assert hypervolume(values.tolist(), reference.tolist()) == pytest.approx(compute_hypervolume(-values, -reference))


@needs_optuna
@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 4))
def test_ranks_are_optunas(seed: int, objectives: int) -> None:
    from optuna.study._multi_objective import _fast_non_domination_rank

    values = np.random.default_rng(seed).integers(0, 9, (30, objectives)).astype(float)
    assert front_ranks(values.tolist()).tolist() == _fast_non_domination_rank(-values).tolist()
