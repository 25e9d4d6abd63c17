"""From default to winner one change at a time: in what order, how long each training, and what each change gave."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from edgehone.errors import UsageError
from edgehone.evaluation import mean_ap
from edgehone.inference import CHECKPOINT
from edgehone.run_folder import RunFolder
from edgehone.search.changes import Change, apply_changes, possible
from edgehone.search.explanation import Ablation, Step, judge_step
from edgehone.search.importance import Importances, Surrogate
from edgehone.search.ladder import RunTasks, TaskMaker
from edgehone.search.plan import MIDDLE, SHORT, TRIAL_OVERHEAD_S, Plan
from edgehone.search.searcher import Suggestion
from edgehone.search.trial import Outcome, Task
from edgehone.search.verdict import Answers, Split, answers_on, gain
from edgehone.space import Prefer, Prior, fingerprint
from edgehone.strategy import Strategy
from edgehone.training import Job

ABLATION = "ablation"

SHARES = (1.0, MIDDLE, SHORT)
"""Lengths that the trainings may have, the longest first."""

ENOUGH_STEPS = 6
"""So many steps of their own are worth shorter trainings."""

SAME = 0.005
"""Expected gains closer than this AP are alike: the rules' confidence decides between them."""

Steps = tuple[tuple[Change, ...], ...]
"""The changes of each step; nearly always one."""


@dataclass(frozen=True)
class Knowledge:
    """By what the changes are put in order before any of them is trained."""

    surrogate: Surrogate
    importances: Importances
    priors: Sequence[Prior]

    def confidence(self, path: str) -> float:
        """Of the surest rule about a part or value."""
        rules = [p for p in self.priors if isinstance(p, Prefer) and (p.path == path or p.path.startswith(f"{path}."))]
        return max((rule.confidence for rule in rules), default=0.0)


def order_changes(base: Strategy, changes: Sequence[Change], knowledge: Knowledge) -> Steps:
    """The greedy path: at each step the change of which the trials promise most.

    Where they promise the same (mostly since they never varied it), the surest rule goes first, then the more
    important dimension, then the order of declaration. Changes that the settings accept only together are one step.
    """
    left, made = list(changes), list[Change]()
    steps: list[tuple[Change, ...]] = []
    while left:
        options = [(change, strategy) for change in left if (strategy := possible(base, [*made, change])) is not None]
        if not options:
            steps.append(tuple(left))
            break
        here, *expected = knowledge.surrogate.expect([apply_changes(base, made), *(s for _, s in options)])
        ranked = sorted(
            zip((change for change, _ in options), expected, strict=True),
            key=lambda option: (
                -round((option[1] - here) / SAME),
                -knowledge.confidence(option[0].path),
                -knowledge.importances.of(option[0].path),
            ),
        )
        chosen = ranked[0][0]
        steps.append((chosen,))
        made.append(chosen)
        left.remove(chosen)
    return tuple(steps)


def fit_budget(steps: Steps, plan: Plan, budget_s: float, ends_trained: bool) -> tuple[float, Steps]:
    """How long the trainings are, and which steps remain: the least important ones are joined where they do not fit.

    Args:
        steps: the most important first.
        plan: of the run, with the speed of its machine.
        budget_s: wall-clock.
        ends_trained: default and winner are there already, as full trainings.

    Raises:
        UsageError: the budget does not buy two steps of the shortest length; says what would.
    """
    least = min(2, len(steps))
    seconds = [plan.full_gflops * share * plan.calibration.seconds_per_gflop + TRIAL_OVERHEAD_S for share in SHARES]
    needed = math.inf
    for share, each in zip(SHARES, seconds, strict=True):
        ends = 0 if share == 1.0 and ends_trained else 2
        affordable = int(budget_s / each) * plan.calibration.workers - ends + 1
        wanted = min(len(steps), ENOUGH_STEPS) if share != SHARES[-1] else least
        if affordable >= wanted:
            return share, joined(steps, affordable)
        needed = min(needed, math.ceil((least - 1 + ends) / plan.calibration.workers) * each)
    raise UsageError(
        f"an ablation takes at least {least} steps; a budget of {budget_s / 60:.1f} min buys fewer on the run's "
        f"machine: give at least {math.ceil(needed / 60)} min, or 0 for what the trials tell alone"
    )


def joined(steps: Steps, count: int) -> Steps:
    """At most ``count`` steps: the last one takes all that are left."""
    if len(steps) <= count:
        return steps
    rest = tuple(change for step in steps[count - 1 :] for change in step)
    return (*steps[: count - 1], rest)


def ablation_tasks(base: Strategy, steps: Steps, share: float, make: TaskMaker) -> list[Task]:
    """The trainings: the default, then one for each step. A name says what is trained, so nothing is trained twice."""
    tasks: list[Task] = []
    made: list[Change] = []
    for step in ((), *steps):
        made += step
        strategy = apply_changes(base, made)
        origin = f"the default with {len(made)} changes" if made else "the default"
        name = f"{ABLATION}-{fingerprint(strategy)}-{round(1000 * share)}"
        task = make.task(name, ABLATION, share, Suggestion(strategy, origin))
        tasks.append(task.model_copy(update={"keep": True}))
    return tasks


def whatever_seed(job: Job) -> str:
    """Names what is trained: where the run has trained the same with another seed, that will do."""
    return fingerprint(job.model_copy(update={"seed": 0}))


Trained = tuple[Outcome, RunFolder]
"""A training and the folder that holds it."""


def trainings_of(outcomes: Iterable[Outcome], folder: RunFolder) -> dict[str, Trained]:
    """Those that left a detector, by what is trained."""
    kept = (o for o in outcomes if (folder.trials / o.task.name / CHECKPOINT).is_file())
    return {whatever_seed(outcome.task.job): (outcome, folder) for outcome in kept}


def train_path(
    tasks: Sequence[Task], run_tasks: RunTasks, known: Mapping[str, Trained], here: RunFolder
) -> list[Trained]:
    """Train what is not there yet.

    Args:
        tasks: in order.
        run_tasks: trains in ``here``, or goes on there.
        known: trainings of the run, see :func:`trainings_of`.
        here: where ablations are kept.
    """
    missing = [task for task in tasks if whatever_seed(task.job) not in known]
    trained = {whatever_seed(o.task.job): (o, here) for o in run_tasks(missing)}
    return [(trained | dict(known))[whatever_seed(task.job)] for task in tasks]


def judge_path(base: str, share: float, steps: Steps, trained: Sequence[Trained], split: Split) -> Ablation:
    """What each step gave on validation, in AP and in terms of the first objective.

    Args:
        base: name of the default.
        share: length of the trainings.
        steps: made.
        trained: default first.
        split: the data and the objective; where trainings are, ``trained`` knows.
    """
    found = [answers_on("val", outcome, replace(split, trials=folder.trials)) for outcome, folder in trained]

    def reached(answers: Answers) -> float | None:
        return None if split.score is None else round(split.score(answers.asked, None), 5)

    judged: list[Step] = []
    for changes, before, after in zip(steps, found, found[1:], strict=False):
        against = gain(after, before, split)
        judged.append(
            Step(
                changes=changes,
                ap=round(mean_ap(after.matches)[0], 5),
                gain=against.ap,
                interval95=against.interval95,
                reached=reached(after),
                asked=against.asked,
                effect=judge_step(against),
            )
        )
    return Ablation(
        base=base,
        base_ap=round(mean_ap(found[0].matches)[0], 5),
        base_reached=reached(found[0]),
        share=share,
        steps=tuple(judged),
        trainings=sum(outcome.task.rung == ABLATION for outcome, _ in trained),
    )
