"""The search with a made-up score in the place of training."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import cast

import numpy as np
import pytest

from edgehone.evaluation import Evaluation
from edgehone.search.evolution import GENES, EvolutionSearcher, evolve
from edgehone.search.ladder import FINAL, Ladder, TaskMaker, freely, in_batches, preset_suggestion, worth
from edgehone.search.objective import AP
from edgehone.search.plan import LEARNING_RATE_FACTORS, SHORT, Calibration, Plan, Proof, Rung
from edgehone.search.proof import train_presets
from edgehone.search.scope import Given, Scope, open_study
from edgehone.search.searcher import Result, Suggestion
from edgehone.search.study import Trial
from edgehone.search.trial import Outcome, Task
from edgehone.space import Forbid, Prefer, SearchSpace, Settings, Span, dimensions, flatten, replace
from edgehone.strategy import AUTHORS, DARKNET, Strategy

CALIBRATION = Calibration(
    precision="fp32", seconds_per_gflop=0.01, seconds_per_gflop_by_precision={}, workers=2, cpu="test"
)
PLAN = Plan(
    budget_s=1800,
    proof="full",
    calibration=CALIBRATION,
    full_gflops=20000,
    rungs=(Rung(name="short", share=1 / 6, trials=10), Rung(name="middle", share=1 / 3, trials=5, varied=2)),
    finalists=2,
    reserve_s=60,
)
SPACE = SearchSpace(
    Strategy(),
    (
        Prefer(path="projection.assigner.kind", value="task_aligned", confidence=0.7, because="test"),
        Forbid(path="input.size", values=(352, 384, 416), because="test"),
    ),
)


def make(proof: Proof = "full") -> TaskMaker:
    def cost(strategy: Strategy) -> float:
        return (strategy.input.size / 256) ** 2 * 2.6

    return TaskMaker(PLAN.model_copy(update={"proof": proof}), "yolov4-tiny", cost, 0)


def evaluation(ap: float) -> Evaluation:
    return Evaluation(
        ap=ap,
        ap50=ap,
        ap75=ap,
        ap_small=None,
        ap_medium=None,
        ap_large=None,
        images=1,
        per_class={},
        per_class_ap50={},
        precision_recall={},
    )


def score(strategy: Strategy) -> float:
    """A landscape: near a learning rate of 0.002, task-aligned is best."""
    rate = strategy.optimisation.optimizer.lr
    good = {"task_aligned": 0.4, "sim_ota": 0.3}.get(strategy.projection.assigner.kind, 0.2)
    return max(0.0, good - abs(rate - 0.002) * 5)


class Trainer:
    """Stands in for the workers; remembers what it was asked."""

    def __init__(self, scores: Callable[[Strategy], float] = score) -> None:
        self.tasks: list[Task] = []
        self.scores = scores
        self.done: dict[str, Outcome] = {}

    def run(self, tasks: Sequence[Task]) -> list[Outcome]:
        return [self.stored(task.name) or self.train(task) for task in tasks]

    def flow(self, tasks: Iterable[Task | None]) -> Iterator[Outcome]:
        """Two workers; the second task that was begun ends first."""
        running: list[Task] = []
        waiting = iter(tasks)
        while True:
            while len(running) < 2 and (task := next(waiting, None)) is not None:
                running.append(task)
            if not running:
                return
            yield self.train(running.pop())

    def stored(self, name: str) -> Outcome | None:
        return self.done.get(name)

    def train(self, task: Task) -> Outcome:
        self.tasks.append(task)
        ap = self.scores(task.job.strategy)
        outcome = Outcome(task=task, status="done", ap=ap, validation=evaluation(ap), curve=[], seconds=1.0)
        self.done[task.name] = outcome
        return outcome


def searched(trainer: Trainer, *, deterministic: bool = True, scope: Scope | None = None) -> Ladder:
    study = open_study(scope or Scope(), SPACE, make(), None)
    return in_batches(study, make(), trainer, 2) if deterministic else freely(study, make(), trainer)


@pytest.fixture(params=[True, False], ids=["in batches", "freely"])
def ladder(request: pytest.FixtureRequest) -> tuple[Ladder, Trainer]:
    trainer = Trainer()
    return searched(trainer, deterministic=request.param), trainer


def test_every_rung_has_its_trials_and_the_best_go_up(ladder: tuple[Ladder, Trainer]) -> None:
    outcomes = ladder[0].outcomes
    rungs = {name: [o for o in outcomes if o.task.rung == name] for name in ("short", "middle", FINAL)}
    assert [len(found) for found in rungs.values()] == [10, 7, 2]
    tried = sorted((o.ap for o in rungs["short"]), reverse=True)
    promoted = [o.ap for o in rungs["middle"] if "promoted" in o.task.origin]
    assert sorted(promoted, reverse=True) == tried[:5]
    assert ladder[0].finalists[0].ap == max(o.ap for o in outcomes)


def test_only_the_longer_rung_varies_augmentation(ladder: tuple[Ladder, Trainer]) -> None:
    def augmentation(strategy: Strategy) -> dict[str, object]:
        return {path: value for path, value in flatten(strategy).items() if path.startswith("augmentation.")}

    short = [augmentation(t.job.strategy) for t in ladder[1].tasks if t.rung == "short"]
    assert all(each == short[0] for each in short)
    varied = [t for t in ladder[1].tasks if re.match("an(other)? augmentation", t.origin)]
    assert len(varied) == 2
    for task in varied:
        assert task.rung == "middle"
        assert augmentation(task.job.strategy) != short[0]


def test_trials_of_a_rung_cost_the_same(ladder: tuple[Ladder, Trainer]) -> None:
    for name, share in (("short", 1 / 6), ("middle", 1 / 3), (FINAL, 1.0)):
        for outcome in ladder[0].outcomes:
            if outcome.task.rung == name:
                assert outcome.task.gflops == pytest.approx(PLAN.full_gflops * share, rel=0.05)


def test_only_full_trainings_keep_their_detector(ladder: tuple[Ladder, Trainer]) -> None:
    assert {t.rung for t in ladder[1].tasks if t.keep} == {FINAL}


def test_names_of_trials_are_unique_and_the_search_is_repeatable(ladder: tuple[Ladder, Trainer]) -> None:
    names = [t.name for t in ladder[1].tasks]
    assert len(set(names)) == len(names)
    first, again = Trainer(), Trainer()
    searched(first)
    searched(again)
    assert again.tasks == first.tasks
    assert len({t.job.seed for t in first.tasks}) == len(first.tasks), "each training has a seed of its own"


def test_rungs_that_agree_have_tau_one(ladder: tuple[Ladder, Trainer]) -> None:
    lower = ladder[0].agreement[0]
    assert (lower.lower, lower.upper, lower.trials) == ("short", "middle", 5)
    assert lower.tau == pytest.approx(1.0)
    assert lower.believed > 0.7, "five in the same order add to what earlier searches said"
    assert lower.interval95 is not None
    assert ladder[0].agreement[1].tau is None, "two finalists are too few to correlate"


@pytest.mark.parametrize(("proof", "rates", "finals"), [("full", 6, 2), ("quick", 6, 1), ("off", 0, 0)])
def test_presets_get_the_best_of_three_rates_at_the_winners_input(proof: Proof, rates: int, finals: int) -> None:
    trainer = Trainer()
    winner = Strategy().model_copy(update={"input": Strategy().input.model_copy(update={"size": 224})})
    runs = train_presets(winner, proof, make(proof), trainer.run)
    assert (len(runs.rates), len(runs.finals)) == (rates, finals)
    for name, outcome in runs.finals.items():
        assert outcome.task.job.strategy.input.size == 224
        assert outcome.task.gflops == pytest.approx(PLAN.full_gflops, rel=0.02)
        assert outcome.task.job.steps >= 300
        tried = [o.ap for o in runs.rates if o.task.name.startswith(f"rate-{name}")]
        assert outcome.ap == max(tried)
    assert runs.default == (None if proof == "off" else max(runs.finals, key=lambda n: runs.finals[n].ap))


def test_a_preset_changes_only_input_and_rate() -> None:
    suggestion = preset_suggestion(DARKNET, "darknet", Strategy(), LEARNING_RATE_FACTORS[1])
    changed = {p for p, v in flatten(suggestion.strategy).items() if flatten(DARKNET)[p] != v}
    assert changed <= {"input.size", "input.fit", "optimisation.optimizer.lr"}


def test_evolution_keeps_the_recipe_and_its_bounds() -> None:
    searcher = EvolutionSearcher(AUTHORS, 0)
    assert {d.path for d in searcher.space.active(AUTHORS) if isinstance(d.domain, Span)} >= GENES
    for _ in range(6):
        suggestions = searcher.suggest(4)
        for suggestion in suggestions:
            flat = flatten(suggestion.strategy)
            for path, value in flat.items():
                if path not in GENES:
                    assert value == flatten(AUTHORS)[path]
        searcher.update([Result(s.strategy, (score(s.strategy),)) for s in suggestions])
    assert searcher.ranked()[0].score > score(AUTHORS), "it finds something better than where it began"


def test_the_authors_evolution_follows_its_own_fitness_whatever_is_wanted() -> None:
    """Two searches for opposite objectives whose trainings have the same AP and AP50 go the same way."""

    def suggested(sign: float) -> list[Strategy]:
        searcher = EvolutionSearcher(AUTHORS, 0)
        for wave in range(5):
            found = searcher.suggest(4)
            told = [Result(s.strategy, (sign * score(s.strategy),), fitness=score(s.strategy)) for s in found]
            searcher.update([dataclasses.replace(each, trial=4 * wave + k) for k, each in enumerate(told)])
        return [s.strategy for s in searcher.suggest(4)]

    assert suggested(1.0) == suggested(-1.0)
    outcome = Trainer().train(make().task("t", "short", 1.0, Suggestion(AUTHORS, "test")))
    trial = Trial(number=0, rung=0, kind="suggested", parent=None, seed=0, strategy=AUTHORS, origin="test")
    validation = evaluation(0.5).model_copy(update={"ap50": 0.8})
    told = worth(trial, outcome.model_copy(update={"validation": validation}), AP)
    assert told.fitness == pytest.approx(0.1 * 0.8 + 0.9 * 0.5)


def test_evolution_spends_what_the_search_spent() -> None:
    ours, evolved = Trainer(), Trainer()
    searched(ours)
    final = evolve(cast(Strategy, SPACE.preferred()), make(), evolved.run)
    assert sum(t.gflops for t in evolved.tasks) == pytest.approx(sum(t.gflops for t in ours.tasks), rel=0.06)
    assert final.task.name == "final-evolution"
    assert all(t.gflops <= PLAN.full_gflops * SHORT * 1.05 for t in evolved.tasks[:-1])


def test_nothing_in_a_strategy_is_searched_twice() -> None:
    keys = [(d.path, d.when) for d in dimensions(Strategy)]
    assert len(set(keys)) == len(keys)
    assert all(isinstance(part, type) and issubclass(part, Settings) for part in (Strategy, Plan))


def test_a_teacher_is_searched_only_where_there_is_one() -> None:
    for teacher in (False, True):
        space = SearchSpace(Strategy(), Given(weights=False, teacher=teacher).limits())
        rng = np.random.default_rng(0)
        drawn = {cast(Strategy, space.sample(rng)).projection.distillation.kind for _ in range(40)}
        assert drawn == {"off", "average", *(("teacher",) if teacher else ())}


def test_trials_know_the_teacher_and_pay_for_the_average() -> None:
    maker = dataclasses.replace(make(), teacher="runs/large")
    excuse = replace(AUTHORS, {"projection.missing.kind": "excuse"})
    average = replace(AUTHORS, {"projection.distillation.kind": "average"})
    plain, taught, asked = (
        maker.task("t", "short", 1.0, Suggestion(strategy, "test")) for strategy in (AUTHORS, excuse, average)
    )
    assert plain.job.teacher == "runs/large"
    assert taught.job.steps == plain.job.steps, "the teacher has answered before"
    assert asked.job.steps * asked.job.batch_size == pytest.approx(
        0.75 * plain.job.steps * plain.job.batch_size, rel=0.05
    )
    assert asked.gflops == pytest.approx(plain.gflops, rel=0.05)
