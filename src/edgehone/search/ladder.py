"""Successive halving: many short trainings, the better half longer, the best two in full.

Rungs are synchronous: a rung is complete before the next begins, so that what is promoted does not depend on
which worker was faster, and an interrupted search goes on exactly where it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

from scipy.stats import kendalltau  # pyright: ignore[reportUnknownVariableType]

from edgehone.search.plan import Plan, Rung
from edgehone.search.searcher import Result, Searcher, Suggestion
from edgehone.search.trial import Outcome, Task
from edgehone.space import Settings, fingerprint
from edgehone.strategy import Strategy
from edgehone.training import Job, StartWeights

FINAL = "final"

FORWARD_SHARE = 1 / 3
"""What asking the moving average adds to a step: a forward pass beside a forward and a backward of twice that."""

RunTasks = Callable[[Sequence[Task]], list[Outcome]]
"""Runs what is not finished yet and returns the outcomes in the order of the tasks."""


@dataclass(frozen=True)
class TaskMaker:
    """Makes tasks of a plan: equal compute at any input size.

    Attributes:
        plan: the frozen plan.
        model: name of the architecture.
        gflops_per_image: of one picture at a square input of this side.
        seed: of the run.
        weights: what every training starts from.
        teacher: a detector that trials may learn from.
    """

    plan: Plan
    model: str
    gflops_per_image: Callable[[int], float]
    seed: int
    weights: StartWeights | None = None
    teacher: str | None = None

    def task(self, name: str, rung: str, share: float, suggestion: Suggestion, *, seed_step: int = 0) -> Task:
        """A training of ``share`` of the full compute."""
        strategy = suggestion.strategy
        cost = self.gflops_per_image(strategy.input.size)
        if strategy.projection.asks_average(self.teacher is not None):
            cost *= 1 + FORWARD_SHARE
        steps, batch = self.plan.steps(cost, strategy.optimisation.batch_size, share)
        job = Job(
            model=self.model,
            strategy=strategy,
            steps=steps,
            batch_size=batch,
            seed=self.seed + seed_step,
            precision=self.plan.calibration.precision,
            weights=self.weights,
            teacher=self.teacher,
        )
        keep = rung == FINAL
        return Task(name=name, rung=rung, job=job, gflops=steps * batch * cost, keep=keep, origin=suggestion.origin)


class RungAgreement(Settings):
    """Rank correlation (Kendall's tau) of two neighbouring rungs over the trials that both hold."""

    lower: str
    upper: str
    trials: int
    tau: float | None


@dataclass(frozen=True)
class Ladder:
    """What a search found.

    Attributes:
        outcomes: every trial of every rung, in order.
        finalists: full trainings, best on validation first.
        agreement: how far the rungs agreed.
    """

    outcomes: list[Outcome]
    finalists: list[Outcome]
    agreement: list[RungAgreement]


def climb(searcher: Searcher, make: TaskMaker, run_tasks: RunTasks) -> Ladder:
    """Explore: the lowest rung in two waves (the second learns from the first), then halve to the finalists."""
    lowest, *upper = make.plan.rungs
    outcomes = _first_rung(searcher, make, run_tasks, lowest)
    everything, current = list(outcomes), outcomes
    for rung in upper:
        tasks = [_promoted(make, rung, k, outcome) for k, outcome in enumerate(best(current, rung.trials))]
        current = run_tasks(tasks)
        everything += current
    tasks = [
        _promoted(make, Rung(name=FINAL, share=1.0, trials=make.plan.finalists), k, outcome)
        for k, outcome in enumerate(best(current, make.plan.finalists))
    ]
    finalists = run_tasks(tasks)
    everything += finalists
    return Ladder(everything, best(finalists, len(finalists)), agreement(everything))


def _first_rung(searcher: Searcher, make: TaskMaker, run_tasks: RunTasks, rung: Rung) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for count in ((rung.trials + 1) // 2, rung.trials // 2):
        start = len(outcomes)
        suggestions = searcher.suggest(count)
        tasks = [
            make.task(f"{rung.name}-{start + k:02d}", rung.name, rung.share, suggestion)
            for k, suggestion in enumerate(suggestions)
        ]
        wave = run_tasks(tasks)
        searcher.update(
            [Result(o.task.job.strategy, (o.ap,), seed=o.task.job.seed, trial=start + k) for k, o in enumerate(wave)]
        )
        outcomes += wave
    return outcomes


def _promoted(make: TaskMaker, rung: Rung, place: int, outcome: Outcome) -> Task:
    origin = f"promoted from {outcome.task.name} (AP {outcome.ap:.3f})"
    suggestion = Suggestion(outcome.task.job.strategy, origin)
    return make.task(f"{rung.name}-{place:02d}", rung.name, rung.share, suggestion)


def best(outcomes: Sequence[Outcome], count: int) -> list[Outcome]:
    """The ``count`` best by AP on validation; ties in order of trial."""
    return sorted(outcomes, key=lambda outcome: -outcome.ap)[:count]


def agreement(outcomes: Sequence[Outcome]) -> list[RungAgreement]:
    """Kendall's tau between neighbouring rungs; None where fewer than three trials are shared."""
    names = list(dict.fromkeys(o.task.rung for o in outcomes))
    by_rung: dict[str, dict[str, float]] = {
        name: {fingerprint(o.task.job.strategy): o.ap for o in outcomes if o.task.rung == name} for name in names
    }
    found: list[RungAgreement] = []
    for lower, upper in pairwise(names):
        shared = [key for key in by_rung[upper] if key in by_rung[lower]]
        tau: float | None = None
        if len(shared) >= 3:
            tau = _tau([by_rung[lower][k] for k in shared], [by_rung[upper][k] for k in shared])
        found.append(RungAgreement(lower=lower, upper=upper, trials=len(shared), tau=tau))
    return found


def _tau(first: list[float], second: list[float]) -> float | None:
    """Kendall's tau; None where one side is all ties."""
    value = float(cast(Any, kendalltau(first, second))[0])
    return None if math.isnan(value) else round(value, 3)


def preset_suggestion(preset: Strategy, name: str, winner: Strategy, factor: float) -> Suggestion:
    """A preset at the winner's input, with its learning rate times ``factor``."""
    optimizer = preset.optimisation.optimizer
    faster = optimizer.model_copy(update={"lr": optimizer.lr * factor})
    optimisation = preset.optimisation.model_copy(update={"optimizer": faster})
    strategy = preset.model_copy(update={"input": winner.input, "optimisation": optimisation})
    return Suggestion(strategy, f"preset {name}, learning rate x {factor:g}")
