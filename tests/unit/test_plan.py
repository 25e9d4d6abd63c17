"""The plan turns wall-clock into trainings of equal compute."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehone.errors import UsageError
from edgehone.search.plan import (
    MIN_BATCH,
    MIN_STEPS,
    REPEATED,
    SHORT,
    SHORT_STEPS,
    TRIAL_OVERHEAD_S,
    Calibration,
    Plan,
    Proof,
    SearchKind,
    full_trainings,
    make_plan,
    promotions,
)

CALIBRATION = Calibration(
    precision="bf16",
    seconds_per_gflop=0.0142,
    seconds_per_gflop_by_precision={"bf16": 0.0142, "fp32": 0.03},
    workers=2,
    cpu="test",
)
CHEAPEST = 1.0


def plan_of(minutes: float, proof: Proof = "full", objectives: int = 1) -> Plan:
    return make_plan(60 * minutes, 40.0, proof, CALIBRATION, CHEAPEST, SearchKind(objectives))


@pytest.mark.parametrize("minutes", [6, 12, 30, 120, 600])
@pytest.mark.parametrize("proof", ["full", "quick", "off"])
def test_the_planned_work_fits_into_the_budget(minutes: float, proof: Proof) -> None:
    plan = plan_of(minutes, proof)
    training = plan.total_gflops() * CALIBRATION.seconds_per_gflop / CALIBRATION.workers
    assert training + 40 + plan.reserve_s <= 60 * minutes
    assert training >= 0.5 * 60 * minutes, "most of the budget is spent on training"


def test_less_proof_leaves_more_for_each_training() -> None:
    assert plan_of(30, "off").full_gflops > plan_of(30, "quick").full_gflops > plan_of(30).full_gflops


@pytest.mark.parametrize("cost", [1.0, 2.6, 4.1, 6.9])
def test_equal_compute_at_any_input_size(cost: float) -> None:
    plan = plan_of(30)
    steps, batch = plan.steps(cost, 16)
    assert steps * batch * cost == pytest.approx(plan.full_gflops, rel=0.02)


@pytest.mark.parametrize("cost", [1.0, 2.6, 4.1, 6.9])
def test_a_large_batch_shrinks_until_the_training_has_enough_steps(cost: float) -> None:
    steps, batch = plan_of(30).steps(cost, 64)
    assert steps >= MIN_STEPS or batch == MIN_BATCH
    assert batch in (4, 8, 16, 32, 64)


@pytest.mark.parametrize("minutes", [8, 15, 30, 120])
@pytest.mark.parametrize("cost", [1.0, 2.6, 6.9])
def test_the_shortest_trainings_have_steps_enough_at_equal_pictures(minutes: float, cost: float) -> None:
    plan = plan_of(minutes)
    steps, batch = plan.steps(cost, 16, SHORT)
    assert steps >= SHORT_STEPS or batch == MIN_BATCH
    assert steps * batch == pytest.approx(plan.images(cost, SHORT), abs=batch)
    if batch < 16:  # no smaller than it has to be
        assert plan.images(cost, SHORT) // (2 * batch) < SHORT_STEPS or plan.images(cost) // (2 * batch) < MIN_STEPS


def test_a_short_rung_keeps_the_batch_of_the_full_training() -> None:
    plan = plan_of(30)
    assert plan.steps(2.6, 64, 1 / 6)[1] == plan.steps(2.6, 64)[1]


@pytest.mark.parametrize("seconds", [*range(90, 600, 15)])
def test_too_small_a_budget_is_refused_with_one_that_would_do(seconds: int) -> None:
    try:
        plan_of(seconds / 60)
    except UsageError as refused:
        words = str(refused).split()
        enough = float(words[words.index("least", words.index("give")) + 1])
        assert enough > seconds / 60, "what was refused is not what would do"
        assert plan_of(enough).full_gflops >= MIN_STEPS * MIN_BATCH * CHEAPEST
    else:
        assert seconds > 90


def test_more_budget_means_more_trials() -> None:
    trials = [plan_of(minutes).rungs[0].trials for minutes in (6, 12, 30, 120, 600)]
    assert trials == sorted(trials)
    assert trials[0] < trials[-1]
    assert TRIAL_OVERHEAD_S > 0


@given(st.integers(4, 1000))
def test_a_quarter_is_trained_in_full_and_comes_from_enough(first: int) -> None:
    middle, varied, finalists = promotions(first)
    assert 2 <= finalists <= middle <= first
    assert finalists >= first / 4
    assert 1 <= varied <= middle


@pytest.mark.parametrize("minutes", [6, 8, 12, 30, 60, 120])
def test_trainings_of_a_front_are_as_long_as_those_for_accuracy_alone(minutes: float) -> None:
    front, alone = plan_of(minutes, "off", objectives=2), plan_of(minutes, "off")
    assert front.finalists >= 3, "two ends and one between"
    assert front.full_gflops >= 0.99 * alone.full_gflops
    middle = [rung for rung in front.rungs if rung.name == "middle"]
    assert all(rung.trials > front.finalists for rung in middle), "a rung that chooses nothing costs only"


def test_only_the_best_finalists_are_repeated() -> None:
    assert full_trainings(2, 3) == 2 + 2 * 2
    assert full_trainings(8, 1) == 8
    assert full_trainings(8, 3) == 8 + 2 * REPEATED
