"""Explanations against planted truths: what was hidden in made-up trials must be found, what was not must not."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehone.errors import UsageError
from edgehone.results import judge
from edgehone.search.ablation import SHARES, Knowledge, fit_budget, joined, order_changes
from edgehone.search.changes import Change, apply_changes, changes_between, possible
from edgehone.search.explanation import judge_step
from edgehone.search.importance import Importances, Surrogate, fullest_rung, importances
from edgehone.search.plan import Calibration, Plan, Rung
from edgehone.search.rule_verdicts import interval95, rule_verdicts
from edgehone.search.trial import Outcome, Task
from edgehone.space import Forbid, Prefer, SearchSpace, diff, flatten, replace
from edgehone.strategy import AUTHORS, DARKNET, PRESETS, Strategy
from edgehone.training import Job

SPACE = SearchSpace(Strategy())
CALIBRATION = Calibration(
    precision="fp32", seconds_per_gflop=0.01, seconds_per_gflop_by_precision={}, workers=2, cpu="test"
)
PLAN = Plan(
    budget_s=1800,
    proof="full",
    calibration=CALIBRATION,
    full_gflops=20000,
    rungs=(Rung(name="short", share=1 / 6, trials=10),),
    finalists=2,
    reserve_s=60,
)
NOTHING_KNOWN = Importances(rung="", trials=0, agreement=None, floor=1.0, dimensions=())


def trial(name: str, strategy: Strategy, ap: float, rung: str = "short") -> Outcome:
    job = Job(model="yolov4-tiny", strategy=strategy, steps=10, batch_size=4)
    task = Task(name=name, rung=rung, job=job, gflops=1.0, origin="test")
    return Outcome(task=task, status="done", ap=ap, validation=None, curve=[], seconds=1.0)


def planted(count: int, score: Callable[[Strategy], float], noise: float = 0.01, seed: int = 0) -> list[Outcome]:
    rng = np.random.default_rng(seed)
    drawn = [cast(Strategy, SPACE.sample(rng)) for _ in range(count)]
    return [trial(f"short-{k:03d}", s, score(s) + noise * rng.standard_normal()) for k, s in enumerate(drawn)]


def aligned(strategy: Strategy) -> float:
    return 0.4 if strategy.projection.assigner.kind == "task_aligned" else 0.25


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(list(PRESETS.values())), st.randoms(use_true_random=False))
def test_changes_in_any_order_lead_to_the_other_strategy(seed: int, base: Strategy, order: object) -> None:
    winner = cast(Strategy, SPACE.sample(np.random.default_rng(seed)))
    changes = changes_between(base, winner)
    assert apply_changes(base, changes) == winner
    order.shuffle(changes)  # type: ignore[attr-defined]
    assert apply_changes(base, changes) == winner
    paths = [change.path for change in changes]
    assert len(set(paths)) == len(paths)
    for first in paths:
        assert not any(other.startswith(f"{first}.") for other in paths), "no change is inside another"
    for change in changes:
        alone = possible(base, [change])
        if alone is not None:
            touched = diff(base, alone)
            assert touched
            assert all(p == change.path or p.startswith(f"{change.path}.") for p in touched)


def test_a_part_of_another_kind_is_one_change_and_values_are_their_own() -> None:
    other = replace(AUTHORS, {"projection.assigner.kind": "task_aligned", "optimisation.optimizer.lr": 0.02})
    changes = changes_between(AUTHORS, other)
    assert [change.path for change in changes] == ["projection.assigner", "optimisation.optimizer.lr"]
    assert changes[0].text == "projection.assigner: ratio_match to task_aligned"
    assert changes_between(AUTHORS, AUTHORS) == []


def test_what_was_planted_is_important_and_nothing_else_is() -> None:
    found = importances(planted(96, aligned))
    first = found.dimensions[0]
    assert (first.path, first.best, first.stands_out) == ("projection.assigner.kind", "task_aligned", True)
    assert found.agreement is not None
    assert found.agreement > 0.3
    assert sum(d.stands_out for d in found.dimensions) <= 2
    assert found.of("projection.assigner") == first.share
    low, high = first.interval90
    assert 0 <= low <= first.share <= high <= 1


def test_noise_alone_makes_nothing_important() -> None:
    standing = [sum(d.stands_out for d in importances(planted(16, lambda _: 0.3, seed=s)).dimensions) for s in range(2)]
    assert sum(standing) <= 1


def test_a_number_is_found_with_its_better_end() -> None:
    low, high = 1e-4, 1e-1

    def by_rate(strategy: Strategy) -> float:
        rate = strategy.optimisation.optimizer.lr
        return 0.1 * (np.log(rate) - np.log(low)) / (np.log(high) - np.log(low))

    found = importances(planted(40, by_rate, noise=0.002))
    first = found.dimensions[0]
    assert first.path == "optimisation.optimizer.lr"
    assert first.best > first.worst


def test_too_few_trials_and_equal_scores_say_nothing() -> None:
    assert importances([]).dimensions == ()
    assert importances(planted(5, aligned)).dimensions == ()
    assert importances(planted(30, lambda _: 0.0, noise=0.0)).dimensions == ()


def test_trials_are_compared_within_the_fullest_rung_each_strategy_once() -> None:
    short = planted(9, aligned)
    again = [trial("again", short[0].task.job.strategy, 0.9)]
    middle = [trial(f"middle-{k}", o.task.job.strategy, 0.7, "middle") for k, o in enumerate(short[:4])]
    assert fullest_rung([*middle, *short, *again]) == short


def prefer(path: str, value: float | str, confidence: float = 0.7) -> Prefer:
    return Prefer(path=path, value=value, confidence=confidence, because="test")


def test_rules_are_borne_out_contradicted_or_neither() -> None:
    rules = [
        prefer("projection.assigner.kind", "task_aligned"),
        prefer("projection.assigner.kind", "best_anchor"),
        prefer("input.fit", "stretch"),
        Forbid(path="input.size", values=(416,), because="limit"),
    ]
    trials = planted(80, aligned)
    verdicts = {v.path: v for v in rule_verdicts(rules[:1] + rules[2:], trials)}
    assert set(verdicts) == {"projection.assigner.kind", "input.fit"}, "limits claim nothing"
    right = verdicts["projection.assigner.kind"]
    assert right.verdict == "borne out"
    assert right.interval95 is not None
    assert right.interval95[0] < 0.15 < right.interval95[1], "the planted difference"
    assert right.followed + right.departed == 80
    wrong = rule_verdicts([prefer("projection.assigner.kind", "best_anchor")], trials)[0]
    assert wrong.verdict in ("contradicted", "undecided")
    assert wrong.difference is not None
    assert wrong.difference < 0
    last = rule_verdicts(rules[:2], trials)
    assert [v.value for v in last] == ["best_anchor"], "the later of two preferences counts, as in the search"


def test_rules_that_do_nothing_are_rarely_judged() -> None:
    paths = [d.path for d in SPACE.active(Strategy()) if not d.path.endswith(".kind")]
    defaults = flatten(Strategy())
    rules = [prefer(path, defaults[path]) for path in paths if defaults[path] is not None]
    verdicts = [v for seed in range(4) for v in rule_verdicts(rules, planted(20, lambda _: 0.3, seed=seed))]
    decided = [v for v in verdicts if v.interval95 is not None and min(v.followed, v.departed) >= 3]
    false = [v for v in decided if v.verdict in ("borne out", "contradicted")]
    assert len(decided) > 50
    assert len(false) <= 0.1 * len(decided)


def test_three_trials_a_side_are_rarely_enough() -> None:
    """Of equal groups one in twenty is judged wrongly, however small they are."""
    rng = np.random.default_rng(0)
    draws = [[interval95(*rng.normal(0.3, 0.02, (2, count))) for _ in range(400)] for count in (3, 6)]
    for intervals in draws:
        assert np.mean([low > 0 or high < 0 for low, high in intervals]) < 0.08


def test_a_rule_is_not_tested_where_a_side_is_empty_and_undecided_where_it_is_thin() -> None:
    same = [trial(f"t{k}", replace(AUTHORS, {"optimisation.optimizer.lr": 0.01 + k * 1e-3}), 0.3) for k in range(6)]
    rule = prefer("projection.assigner.kind", "ratio_match")
    untested = rule_verdicts([rule], same)[0]
    assert (untested.verdict, untested.difference, untested.followed, untested.departed) == ("not tested", None, 6, 0)
    absent = rule_verdicts([prefer("projection.assigner.no_such", 1.0)], same)[0]
    assert absent.verdict == "not tested"
    other = trial("t9", replace(AUTHORS, {"projection.assigner.kind": "task_aligned"}), 0.1)
    thin = rule_verdicts([rule], [*same, other])[0]
    assert (thin.verdict, thin.interval95) == ("undecided", None)
    assert thin.difference == pytest.approx(0.2)


def test_a_number_near_what_a_rule_wants_follows_it() -> None:
    rates = (0.009, 0.01, 0.011, 0.0003, 0.0004, 0.0005)
    trials = [
        trial(f"t{k}", replace(AUTHORS, {"optimisation.optimizer.lr": r}), 0.5 if r > 0.005 else 0.1 + k * 1e-3)
        for k, r in enumerate(rates)
    ]
    verdict = rule_verdicts([prefer("optimisation.optimizer.lr", 0.01)], trials)[0]
    assert (verdict.followed, verdict.departed, verdict.verdict) == (3, 3, "borne out")


def knowledge(trials: list[Outcome], *rules: Prefer) -> Knowledge:
    return Knowledge(Surrogate(trials), importances(trials), rules)


def test_the_change_that_the_trials_promise_most_of_goes_first() -> None:
    winner = replace(
        AUTHORS,
        {
            "projection.assigner.kind": "task_aligned",
            "optimisation.optimizer.lr": 0.02,
            "augmentation.flip.vertical": 0.5,
        },
    )
    changes = changes_between(AUTHORS, winner)
    steps = order_changes(AUTHORS, list(reversed(changes)), knowledge(planted(40, aligned)))
    assert next(change.path for step in steps for change in step) == "projection.assigner"
    assert sorted(c.path for step in steps for c in step) == sorted(c.path for c in changes)
    sure = Knowledge(Surrogate([]), NOTHING_KNOWN, [prefer("augmentation.flip.vertical", 0.5, 0.9)])
    blind = order_changes(AUTHORS, changes, sure)
    assert blind[0][0].path == "augmentation.flip.vertical", "without trials the surest rule goes first"


def test_every_prefix_of_the_path_is_a_strategy_and_the_last_is_the_winner() -> None:
    known = knowledge(planted(16, aligned))
    for seed in range(2):
        winner = cast(Strategy, SPACE.sample(np.random.default_rng(seed)))
        steps = order_changes(DARKNET, changes_between(DARKNET, winner), known)
        made: list[Change] = []
        for step in steps:
            made += step
            apply_changes(DARKNET, made)
        assert apply_changes(DARKNET, made) == winner


def test_a_budget_buys_steps_then_length_and_says_what_is_too_little() -> None:
    changes = changes_between(DARKNET, AUTHORS)
    steps = tuple((change,) for change in changes)
    assert len(steps) > 8
    full = 205.0
    share, kept = fit_budget(steps, PLAN, 60 * full, True)
    assert (share, len(kept)) == (1.0, len(steps))
    share, kept = fit_budget(steps, PLAN, 3 * full, True)
    assert (share, len(kept)) == (1.0, 7), "six trainings between the ends, which are there"
    assert [c for step in kept for c in step] == changes, "the last step takes the rest"
    share, kept = fit_budget(steps, PLAN, 3 * full, False)
    assert share == SHARES[1]
    share, kept = fit_budget(steps, PLAN, 80.0, True)
    assert (share, len(kept)) == (SHARES[2], 3)
    with pytest.raises(UsageError, match=r"give at least 2 min, or 0"):
        fit_budget(steps, PLAN, 30.0, True)
    assert joined(steps, 1) == (tuple(changes),)


def test_a_step_helps_only_beyond_its_interval() -> None:
    assert [judge_step(judge(0.02, i)) for i in ((0.01, 0.03), (-0.01, 0.05), (-0.03, -0.01))] == [
        "helps",
        "within noise",
        "hurts",
    ]


def test_rules_are_judged_by_what_was_asked() -> None:
    rule, trials = prefer("projection.assigner.kind", "task_aligned"), planted(40, aligned)
    verdicts = [rule_verdicts([rule], trials, score=score)[0].verdict for score in (lambda o: o.ap, lambda o: -o.ap)]
    assert verdicts == ["borne out", "contradicted"]
