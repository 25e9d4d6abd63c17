"""Strategies that are trained in full at once: when, how many, and what they may differ in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgehone.search.journal import Journal
from edgehone.search.lengths import AUGMENTATION
from edgehone.search.plan import FINAL, MOST_SHORT, Calibration, Plan, Rung, SearchKind, make_plan, search_shares
from edgehone.search.searcher import PriorSearcher, Result, Suggestion
from edgehone.search.searchers import SEARCHERS, make_searcher
from edgehone.search.study import Study, Terms, Trial, Worth
from edgehone.space import Prefer, SearchSpace, fingerprint
from edgehone.strategy import Strategy

SPACE = SearchSpace(
    Strategy(),
    (Prefer(path="augmentation.mosaic.probability", value=0.9, confidence=0.8, because="test"),),
    trust=0.7,
)
RUNGS = (
    Rung(name="short", share=1 / 6, trials=8),
    Rung(name="middle", share=1 / 3, trials=3, varied=1),
    Rung(name=FINAL, share=1.0, trials=2, fresh=6),
)
TERMS = Terms(seed=5, searcher="informed", rungs=RUNGS, repeats=2)


def study(searcher: str = "informed", journal: Journal | None = None) -> Study:
    terms = TERMS.model_copy(update={"searcher": searcher})
    return Study(terms, SPACE, make_searcher(searcher, SPACE, terms.seed), journal)


def worth(trial: Trial) -> Worth:
    """Good at a low learning rate."""
    rate = trial.strategy.optimisation.optimizer.lr
    noise = trial.seed % 97 / 1e4
    return Worth(number=trial.number, values=(0.5 / (1 + abs(np.log(rate / 0.003))) + noise + 0.05 * trial.rung,))


def finished(one: Study) -> Study:
    while trial := one.ask():
        one.tell([worth(trial)])
    return one


def in_full_at_once(one: Study) -> list[Trial]:
    return [trial for trial in one.trials if trial.kind == "suggested" and trial.rung == len(RUNGS) - 1]


@pytest.mark.parametrize("searcher", [name for name in SEARCHERS if name not in ("tpe", "gp")])
def test_they_follow_all_shorter_trainings_and_cost_what_was_planned(searcher: str) -> None:
    one = finished(study(searcher))
    fresh = in_full_at_once(one)
    assert len(fresh) == 6
    shorter = [trial.number for trial in one.trials if trial.rung < 2]
    assert max(shorter) < min(trial.number for trial in fresh)
    spent = sum(RUNGS[trial.rung].share for trial in one.trials)
    *rungs, top = RUNGS
    planned = search_shares(rungs, top.trials, 2, top.fresh)
    assert planned - RUNGS[0].share < spent <= planned + 1e-9
    assert len({fingerprint(t.strategy) for t in one.trials if t.kind == "suggested"}) == sum(
        t.kind == "suggested" for t in one.trials
    )


def test_none_begins_while_a_shorter_training_runs_and_the_best_of_all_are_repeated() -> None:
    one = study()
    running: list[Trial] = []
    while True:
        while len(running) < 3 and (trial := one.ask()) is not None:
            if trial.kind == "suggested" and trial.rung == 2:
                assert all(other.rung == 2 for other in running)
            running.append(trial)
        if not running:
            break
        one.tell([worth(running.pop(0))])
    repeated = {t.parent for t in one.trials if t.kind == "repeated"}
    once = [t for t in one.trials if t.rung == 2 and t.kind != "repeated"]
    best = sorted(once, key=lambda t: -one.worth[t.number].values[0])[:3]
    assert repeated == {t.number for t in best}


def test_a_searcher_that_has_nothing_new_is_asked_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    space = SPACE.keep_only(("projection.normalisation", "projection.vote"))
    one = Study(TERMS, space, make_searcher("informed", space, TERMS.seed))
    answers: list[bool] = []
    suggest = one.searcher.suggest

    def counted(count: int, *, full: bool = False) -> list[Suggestion]:
        found = suggest(count, full=full)
        answers.append(bool(found))
        return found

    monkeypatch.setattr(one.searcher, "suggest", counted)
    finished(one)
    assert answers.count(True) == 6, "all that there are"
    assert answers.count(False) == 2, "once for short trainings, once for full ones"


def test_interrupted_after_any_trial_the_study_goes_on_alike(tmp_path: Path) -> None:
    calm = [(t.rung, t.kind, fingerprint(t.strategy)) for t in finished(study()).trials]
    path = tmp_path / "study.jsonl"
    for _ in range(len(calm)):
        with Journal(path) as journal:
            one = study(journal=journal)
            for trial in one.pending:
                one.tell([worth(trial)])
            one.ask()
    with Journal(path) as journal:
        one = study(journal=journal)
        assert [(t.rung, t.kind, fingerprint(t.strategy)) for t in one.trials] == calm


def test_short_ones_have_the_rules_augmentation_or_the_default_one_and_full_ones_search_it() -> None:
    one = finished(study())
    rules = SPACE.preferred().model_dump()[AUGMENTATION]
    plain = Strategy().model_dump()[AUGMENTATION]
    assert rules != plain
    short = [t.strategy.model_dump()[AUGMENTATION] for t in one.trials if t.rung == 0]
    assert all(each in (rules, plain) for each in short)
    assert plain in short, "what asks no rule has none of the rules' augmentation either"
    assert rules in short
    assert any(t.strategy.model_dump()[AUGMENTATION] not in (rules, plain) for t in in_full_at_once(one))


def test_neighbours_of_one_with_the_default_augmentation_keep_it() -> None:
    searcher = PriorSearcher(SPACE, 3)
    plain = Strategy()
    good, bad = (Result(s, (v,), trial=k) for k, (s, v) in enumerate(((plain, 0.9), (SPACE.preferred(), 0.1))))
    searcher.update([good, bad])  # pyright: ignore[reportArgumentType]
    near = [s for s in searcher.suggest(12) if "neighbour of the best" in s.origin]
    assert near
    assert {s.strategy.augmentation for s in near} == {plain.augmentation}


CALIBRATION = Calibration(
    precision="bf16", seconds_per_gflop=0.0142, seconds_per_gflop_by_precision={"bf16": 0.0142}, workers=2, cpu="test"
)


def plan(hours: float, *, learns: bool = True, workers: int = 2) -> Plan:
    calibration = CALIBRATION.model_copy(update={"workers": workers})
    return make_plan(3600 * hours, 40.0, "full", calibration, 1.0, SearchKind(learns=learns))


@pytest.mark.parametrize("hours", [0.5, 2.0, 3.5])
def test_budgets_that_short_trainings_use_up_buy_none(hours: float) -> None:
    assert plan(hours).fresh == 0
    assert plan(hours) == plan(hours, learns=False)


@pytest.mark.parametrize("hours", [5.0, 10.0, 40.0])
def test_more_budget_buys_them_for_a_searcher_that_learns_and_trainings_are_as_long(hours: float) -> None:
    mine, other = plan(hours), plan(hours, learns=False)
    assert mine.rungs[0].trials == MOST_SHORT < other.rungs[0].trials
    assert mine.fresh > 0 == other.fresh
    assert mine.search_shares() == pytest.approx(other.search_shares(), abs=0.5)
    assert mine.full_gflops == pytest.approx(other.full_gflops, rel=0.05)


def test_many_workers_have_short_trainings_for_all_of_them() -> None:
    assert plan(40.0, workers=64).rungs[0].trials >= 4 * 64


def with_one_that_never_ends(short: int) -> tuple[Study, Trial]:
    """A study until nothing can be done without the first trial, one worker asking at a time."""
    rungs = (
        Rung(name="short", share=1 / 6, trials=short),
        Rung(name="middle", share=1 / 3, trials=8, varied=2),
        Rung(name=FINAL, share=1.0, trials=4, fresh=3 * short),
    )
    one = Study(TERMS.model_copy(update={"rungs": rungs}), SPACE, make_searcher("random", SPACE, TERMS.seed))
    late = one.ask()
    assert late is not None
    while (trial := one.ask()) is not None:
        one.tell([worth(trial)])
    return one, late


def test_hundreds_of_trials_do_not_wait_for_one() -> None:
    one, late = with_one_that_never_ends(100)
    kinds = [(trial.kind, trial.rung) for trial in one.trials]
    assert kinds.count(("suggested", 2)) == 300, "new full trainings begin, for it is one in a hundred shorter ones"
    assert any(kind == "repeated" for kind, _ in kinds), "and so do second seeds"
    one.tell([worth(late)])
    while (trial := one.ask()) is not None:
        one.tell([worth(trial)])
    assert not one.pending


def test_a_few_trials_wait_for_one() -> None:
    one, late = with_one_that_never_ends(16)
    assert [trial.number for trial in one.pending] == [late.number]
    assert all(trial.kind != "repeated" for trial in one.trials)
    assert not any(trial.kind == "suggested" and trial.rung == 2 for trial in one.trials)
