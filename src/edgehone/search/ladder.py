"""Successive halving: many short trainings, the best three in eight longer, the best quarter in full.

A study decides what is trained; here its trials become trainings and their outcomes its results. ``in_batches``
waits for all trainings of a batch, so that nothing depends on which worker was faster; ``freely`` keeps every worker
busy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from edgehone.errors import EdgehoneError
from edgehone.results import FrontPoint, RungZero
from edgehone.search.agreement import RungAgreement
from edgehone.search.finalists import SEED_NOISE, Standing, known_noise, seed_noise, standings
from edgehone.search.objective import AP, Objectives
from edgehone.search.pareto import front
from edgehone.search.plan import FINAL, Plan, longer
from edgehone.search.searcher import Suggestion, stable_seed
from edgehone.search.study import Study, Trial, Worth
from edgehone.search.trial import Outcome, Task
from edgehone.strategy import Strategy
from edgehone.training import Job, StartWeights

FORWARD_SHARE = 1 / 3
"""What asking the moving average adds to a step: a forward pass beside a forward and a backward of twice that."""

RunTasks = Callable[[Sequence[Task]], list[Outcome]]
"""Runs what is not finished yet and returns the outcomes in the order of the tasks."""


class Runs(Protocol):
    """What runs trials: :class:`~edgehone.search.progress.Bench`, or a stand-in."""

    def run(self, tasks: Sequence[Task]) -> list[Outcome]:
        """All outcomes, in order."""
        ...

    def flow(self, tasks: Iterable[Task | None]) -> Iterator[Outcome]:
        """Outcomes as they come, of tasks that are taken one by one; None: nothing to do before the next outcome."""
        ...

    def stored(self, name: str) -> Outcome | None:
        """A trial that is finished."""
        ...


@dataclass(frozen=True)
class TaskMaker:
    """Makes tasks of a plan: equal compute at any input size.

    Attributes:
        plan: the frozen plan.
        model: name of the architecture.
        gflops_per_image: forward, of one picture in the training of a strategy, in those of the plain network.
        seed: of the run.
        weights: what every training starts from.
        teacher: a detector that trials may learn from.
        objectives: by which trials are chosen.
    """

    plan: Plan
    model: str
    gflops_per_image: Callable[[Strategy], float]
    seed: int
    weights: StartWeights | None = None
    teacher: str | None = None
    objectives: Objectives = AP

    def task(
        self, name: str, rung: str, share: float, suggestion: Suggestion, *, seed_step: int = 0, seed: int | None = None
    ) -> Task:
        """A training of ``share`` of the full compute; its seed, if not given, derives from its name."""
        strategy = suggestion.strategy
        cost = self.gflops_per_image(strategy)
        if strategy.projection.asks_average(self.teacher is not None):
            cost *= 1 + FORWARD_SHARE
        steps, batch = self.plan.steps(cost, strategy.optimisation.batch_size, share)
        job = Job(
            model=self.model,
            strategy=strategy,
            steps=steps,
            batch_size=batch,
            seed=stable_seed(self.seed, name, seed_step) if seed is None else seed,
            precision=self.plan.calibration.precision,
            device=self.plan.calibration.device,
            weights=self.weights,
            teacher=self.teacher,
        )
        keep = rung == FINAL
        return Task(
            name=name,
            rung=rung,
            job=job,
            gflops=steps * batch * cost,
            keep=keep,
            integer=self.objectives.integer_boards if longer(share) else (),
            origin=suggestion.origin,
        )

    def of_trial(self, study: Study, trial: Trial) -> Task:
        """What a study asks for."""
        rung = study.terms.rungs[trial.rung]
        suggestion = Suggestion(trial.strategy, trial.origin)
        task = self.task(study.name(trial), rung.name, rung.share, suggestion, seed=trial.seed)
        return task.model_copy(update={"expendable": True})


@dataclass(frozen=True)
class Ladder:
    """What a search found.

    Attributes:
        outcomes: every trial of every rung, in order.
        finalists: a full training of each strategy that was trained in full, best first.
        agreement: how far the rungs agreed.
        standings: of the finalists, over all their seeds.
        seed_noise: standard deviation of the first objective between seeds.
        front: full trainings that no other one beats on every objective; empty with one objective.
        rung_zero: what was drawn and not trained.
    """

    outcomes: list[Outcome]
    finalists: list[Outcome]
    agreement: list[RungAgreement]
    standings: tuple[Standing, ...] = ()
    seed_noise: float = SEED_NOISE
    front: tuple[FrontPoint, ...] = ()
    rung_zero: RungZero = field(default_factory=RungZero)


def in_batches(study: Study, make: TaskMaker, runs: Runs, new: int) -> Ladder:
    """Explore in batches, of ``new`` strategies or of all promotions that are due: the same however interrupted."""
    while batch := study.pending or study.ask_batch(new):
        outcomes = runs.run([make.of_trial(study, trial) for trial in batch])
        study.tell([worth(trial, outcome, make.objectives) for trial, outcome in zip(batch, outcomes, strict=True)])
    return ladder(study, make, runs)


def freely(study: Study, make: TaskMaker, runs: Runs) -> Ladder:
    """Explore with every worker busy; what was running when a search was interrupted is run again, once."""
    open_trials: dict[str, Trial] = {}

    def tell(outcome: Outcome) -> None:
        study.tell([worth(open_trials.pop(outcome.task.name), outcome, make.objectives)])

    def begin(trial: Trial) -> Task:
        open_trials[study.name(trial)] = trial
        return make.of_trial(study, trial)

    def tasks(left: Sequence[Task]) -> Iterator[Task | None]:
        yield from left
        while (trial := study.ask()) is not None or study.pending:
            yield None if trial is None else begin(trial)

    left: list[Task] = []
    for task in [begin(trial) for trial in study.pending]:
        known = runs.stored(task.name)
        if known is None:
            left.append(task)
        else:
            tell(known)
    for outcome in runs.flow(tasks(left)):
        tell(outcome)
    return ladder(study, make, runs)


def worth(trial: Trial, outcome: Outcome, objectives: Objectives) -> Worth:
    """What an outcome says about a trial."""
    return Worth(
        number=trial.number,
        values=objectives.values(outcome),
        diverged=outcome.status != "done",
        failed=outcome.status == "failed",
        fitness=outcome.fitness,
    )


def ladder(study: Study, make: TaskMaker, runs: Runs) -> Ladder:
    """What a finished study found.

    Raises:
        EdgehoneError: no training came to its end.
    """
    found = {trial.number: runs.stored(study.name(trial)) for trial in study.trials}
    outcomes = {number: outcome for number, outcome in found.items() if outcome is not None}
    done = [outcome for outcome in outcomes.values() if outcome.status == "done"]
    known = known_noise([make.objectives.score(outcome) for outcome in done], [outcome.ap for outcome in done])
    noise = seed_noise(study, known)
    order = standings(study, noise)
    if not order:
        raise EdgehoneError(
            "every full training diverged or failed; the trials' messages in the run's folder say why; begin anew in "
            "another --out with a calmer strategy, as by --fix optimisation.optimizer.lr=0.0005, or another --seed"
        )
    chosen = front([standing.values for standing in order]) if make.objectives.several else []
    points = [
        FrontPoint(trial=order[k].name, strategy=study.trials[order[k].trial].strategy, values=order[k].shown)
        for k in chosen
    ]
    return Ladder(
        [outcomes[number] for number in sorted(outcomes)],
        [outcomes[standing.trial] for standing in order],
        [study.agreement(rung) for rung in range(len(study.terms.rungs) - 1)],
        tuple(order),
        noise,
        tuple(points),
        study.gate.summary(sum(trial.kind == "suggested" for trial in study.trials)),
    )


def best(outcomes: Sequence[Outcome], count: int, objectives: Objectives = AP) -> list[Outcome]:
    """The ``count`` best by the first objective on validation; ties in order of trial."""
    return sorted(outcomes, key=objectives.score, reverse=True)[:count]


def preset_suggestion(preset: Strategy, name: str, winner: Strategy, factor: float) -> Suggestion:
    """A preset at the winner's input, with its learning rate times ``factor``."""
    optimizer = preset.optimisation.optimizer
    faster = optimizer.model_copy(update={"lr": optimizer.lr * factor})
    optimisation = preset.optimisation.model_copy(update={"optimizer": faster})
    strategy = preset.model_copy(update={"input": winner.input, "optimisation": optimisation})
    return Suggestion(strategy, f"preset {name}, learning rate x {factor:g}")


__all__ = ["FINAL", "Ladder", "RungAgreement", "TaskMaker", "best", "freely", "in_batches", "preset_suggestion"]
