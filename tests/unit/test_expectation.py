"""What trials let a search expect: learnt from a landscape whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
from scipy.stats import spearmanr  # pyright: ignore[reportUnknownVariableType]

from edgehone.search.expectation import LEAST, MEMORY, Expectation, Training
from edgehone.space import SearchSpace, fingerprint
from edgehone.strategy import Strategy

SPACE = SearchSpace(Strategy(), (), trust=0.7).keep_only(
    ("projection.assigner.kind", "projection.box_loss.weight", "optimisation.optimizer", "input.size")
)
GOOD = {"task_aligned": 0.3, "sim_ota": 0.2}


def worth(strategy: Strategy) -> float:
    """Two settings matter, and their sum counts."""
    return GOOD.get(strategy.projection.assigner.kind, 0.1) + strategy.projection.box_loss.weight


def drawn(count: int, seed: int) -> list[Strategy]:
    rng = np.random.default_rng(seed)
    return [cast(Strategy, SPACE.blind().sample(rng)) for _ in range(count)]


def training(strategy: Strategy, values: tuple[float, ...] | None, rung: int = 0) -> Training:
    return Training(fingerprint(strategy), strategy, rung, values)


def taught(strategies: list[Strategy], score: Callable[[Strategy], float] = worth) -> Expectation:
    expectation = Expectation(SPACE)
    for strategy in strategies:
        expectation.learn(training(strategy, (score(strategy),)))
    return expectation


def agreement(expectation: Expectation, asked: list[Strategy]) -> float:
    """Spearman's correlation of the mean of some draws with the truth."""
    draws = [expectation.draw(asked, np.random.default_rng(k)) for k in range(20)]
    return float(cast(Any, spearmanr)(np.mean(draws, 0), [worth(s) for s in asked]).statistic)


def test_it_has_nothing_to_say_before_a_handful_of_results() -> None:
    strategies = drawn(LEAST, 0)
    expectation = taught(strategies[:-1])
    expectation.learn(training(strategies[-1], None))
    assert not expectation.ready, "one that diverged tells where not to go, not where to"
    expectation.learn(training(strategies[-1], (0.1,)))
    assert expectation.ready


@pytest.mark.parametrize(("trials", "least"), [(16, 0.4), (60, 0.8)])
def test_the_more_it_has_seen_the_better_it_knows(trials: int, least: float) -> None:
    assert agreement(taught(drawn(trials, 1)), drawn(40, 2)) > least


def test_noise_is_not_taken_for_knowledge() -> None:
    rng = np.random.default_rng(3)
    expectation = taught(drawn(40, 1), lambda _: float(rng.random()))
    assert abs(agreement(expectation, drawn(40, 2))) < 0.5


def test_the_same_trainings_in_the_same_order_teach_the_same() -> None:
    strategies, asked = drawn(30, 4), drawn(5, 5)
    disturbed, anew = Expectation(SPACE), taught(strategies)
    for strategy in strategies:
        disturbed.learn(training(strategy, (worth(strategy),)))
        if disturbed.ready:
            disturbed.draw(asked, np.random.default_rng(0))  # questions in between change nothing
    first, second = (each.draw(asked, np.random.default_rng(7)) for each in (disturbed, anew))
    assert first.tolist() == second.tolist()


def test_short_trainings_speak_for_long_ones_though_these_score_higher() -> None:
    expectation, strategies = taught(drawn(40, 1)), drawn(40, 1)
    for strategy in sorted(strategies, key=worth)[-4:]:
        expectation.learn(training(strategy, (3 * worth(strategy),), rung=1))
    assert agreement(expectation, drawn(40, 2)) > 0.7


def test_what_diverged_is_kept_away_from() -> None:
    strategies = drawn(40, 6)
    expectation = Expectation(SPACE)
    for strategy in strategies:
        fast = strategy.optimisation.optimizer.kind == "sgd"
        expectation.learn(training(strategy, None if fast else (worth(strategy),)))
    asked = drawn(40, 7)
    means = np.mean([expectation.draw(asked, np.random.default_rng(k)) for k in range(20)], 0)
    sides = [[m for m, s in zip(means, asked, strict=True) if (s.optimisation.optimizer.kind == "sgd") == which]
             for which in (True, False)]  # fmt: skip
    assert np.mean(sides[0]) < np.mean(sides[1])


def test_several_objectives_are_weighed_anew_each_time() -> None:
    expectation, asked = Expectation(SPACE), drawn(30, 9)
    for strategy in drawn(60, 8):
        expectation.learn(training(strategy, (worth(strategy), -float(strategy.input.size))))
    best = [asked[int(np.argmax(expectation.draw(asked, np.random.default_rng(k))))] for k in range(12)]
    assert len({strategy.input.size for strategy in best}) > 1, "fast ones, good ones, and some of both"


def test_more_than_it_remembers_does_no_harm() -> None:
    expectation = taught(drawn(2 * MEMORY, 1))
    assert agreement(expectation, drawn(40, 2)) > 0.8


def test_all_that_diverged_at_first_is_no_reason_to_fail() -> None:
    expectation = Expectation(SPACE)
    for strategy in drawn(LEAST, 1):
        expectation.learn(training(strategy, None))
    for strategy in drawn(LEAST, 2):
        expectation.learn(training(strategy, (0.2,)))
    assert np.isfinite(expectation.draw(drawn(4, 3), np.random.default_rng(0))).all()
