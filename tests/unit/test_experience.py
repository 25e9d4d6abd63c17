"""A rule is believed as far as trials bear it out."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehone.search.experience import LEAST, LEAST_TRIALS, MOST, Experience, revised
from edgehone.search.searcher import PriorSearcher, Result
from edgehone.space import Forbid, Prefer, SearchSpace, dimensions, flatten, replace
from edgehone.strategy import Strategy

ASSIGNER, BOX = "projection.assigner.kind", "projection.box_loss.weight"
WISHES = {ASSIGNER: "best_anchor", BOX: 0.2, "projection.objectness.target": "quality", "projection.vote": "object"}
DIMENSIONS = {dimension.path: dimension for dimension in dimensions(Strategy)}
ORDERS = st.lists(st.booleans(), max_size=40)


@given(ORDERS, st.floats(0.05, 0.9))
@settings(deadline=None)
def test_a_rule_gains_by_what_its_negation_loses(followed: list[bool], confidence: float) -> None:
    after = revised(confidence, followed)
    mirrored = 1 - revised(1 - confidence, [not one for one in followed])
    assert LEAST <= after <= MOST or after == confidence
    if all(LEAST < confidence < MOST for confidence in (after, 1 - mirrored)):
        assert after == pytest.approx(mirrored, abs=1e-9)


@given(ORDERS, st.floats(0.05, 0.9), st.data())
@settings(deadline=None)
def test_a_better_place_of_a_follower_never_lowers_confidence(
    followed: list[bool], confidence: float, data: Any
) -> None:
    if not any(followed):
        return
    place = data.draw(st.sampled_from([k for k, one in enumerate(followed) if one]))
    moved = [True, *followed[:place], *followed[place + 1 :]]
    assert revised(confidence, moved) >= revised(confidence, followed) - 1e-12


def test_too_few_trials_teach_nothing_and_chance_little() -> None:
    assert revised(0.7, [True] * 30 + [False] * (LEAST_TRIALS - 1)) == 0.7
    assert revised(0.7, [True, False, False, True]) == pytest.approx(0.7)
    assert revised(0.7, [True, True, False, False]) > 0.85
    assert revised(0.7, [False] * 8 + [True] * 8) < 0.1


def prefers(path: str, value: Any) -> Prefer:
    return Prefer(path=path, value=value, confidence=0.8, because="a test says so")


def test_a_setting_that_a_strategy_does_not_have_is_neither_followed_nor_departed_from() -> None:
    space = SearchSpace(Strategy(), (prefers(ASSIGNER, "simota"), prefers("projection.assigner.top", 10)))
    experience = Experience(space)
    assert flatten(Strategy())[ASSIGNER] == "ratio_match"
    found = experience.following(Strategy())
    assert found[0] == 0.0
    assert np.isnan(found[1])


@pytest.mark.parametrize(("departures", "aside"), [(2, False), (3, True)])
def test_rules_are_set_aside_while_the_best_trial_departs_from_most(departures: int, aside: bool) -> None:
    rules = [prefers(path, value) for path, value in WISHES.items()]
    limit = Forbid(path="optimisation.optimizer.kind", values=("adamw",), because="a test says so")
    space = SearchSpace(Strategy(), (*rules, limit))
    searcher = PriorSearcher(space, 0)
    good, bad = space.preferred(), space.preferred()
    for path in list(WISHES)[:departures]:
        bad = replace(bad, {path: flatten(Strategy())[path]})
    searcher.update([Result(cast(Strategy, good), (0.1,), trial=0), Result(cast(Strategy, bad), (0.2,), trial=1)])
    assert [p for p in searcher.taught.priors if isinstance(p, Prefer)] == ([] if aside else rules)
    assert limit in searcher.taught.priors, "limits are no advice"
    searcher.update([Result(cast(Strategy, good), (0.3,), trial=2)])
    assert [p for p in searcher.taught.priors if isinstance(p, Prefer)] == rules, "they are back with a better trial"


@pytest.mark.parametrize(("right", "seeds"), [(True, 3), (False, 5)])
def test_searches_keep_to_rules_that_are_right_and_let_go_of_wrong_ones(right: bool, seeds: int) -> None:
    found = [searched(right, seed) for seed in range(seeds)]
    sure, other, late = (float(np.median(each)) for each in zip(*found, strict=True))
    assert sure > 0.9 if right else sure < 0.4
    assert late > 0.4, "one of five by chance"
    assert other == pytest.approx(0.8, abs=0.19), "what makes no difference stays as sure as it was"


def searched(right: bool, seed: int) -> tuple[float, float, float]:
    """A search of 80: confidence in the rule that matters, in the other, and how often the later half was good."""
    good = "task_aligned"
    rule = prefers(ASSIGNER, good if right else "best_anchor")
    limit = Forbid(path="optimisation.optimizer.kind", values=("adamw",), because="a test says so")
    space = SearchSpace(Strategy(), (rule, limit, prefers(BOX, 0.1)))
    searcher = PriorSearcher(space, seed)
    noise = np.random.default_rng(seed)
    late: list[bool] = []
    for number in range(80):
        (suggestion,) = searcher.suggest(1)
        flat = flatten(suggestion.strategy)
        assert flat["optimisation.optimizer.kind"] != "adamw"
        score = 0.3 * (flat[ASSIGNER] == good) + 0.03 * noise.normal()
        searcher.update([Result(suggestion.strategy, (float(score),), trial=number)])
        late += [flat[ASSIGNER] == good] if number >= 40 else []
    assert cast(Prefer, space.preference(DIMENSIONS[ASSIGNER])).confidence == 0.8
    sure, other = (cast(Prefer, searcher.taught.preference(DIMENSIONS[path])).confidence for path in (ASSIGNER, BOX))
    return sure, other, float(np.mean(late))
