"""Why a finished run or search found what it found: from default to winner, one change at a time.

Everything is scored on validation; the test split is not even handed over. What was trained stays in the run's
folder, so that the command, given again, goes on where it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgehone.data import Dataset, read_dataset
from edgehone.equipment import check_trains_here, start_pool
from edgehone.errors import UsageError
from edgehone.evaluation import Evaluation
from edgehone.files import read_json, write_json, write_text
from edgehone.pipeline import FOUND, RESULTS, Found, Priors, task_maker
from edgehone.preparation import same_data
from edgehone.report.content import Headline, ReportContent
from edgehone.report.explanation_sections import explanation_section
from edgehone.report.page import exchange_section
from edgehone.report.run_page import REPORT
from edgehone.request import Request
from edgehone.results import Results
from edgehone.run_folder import RunFolder, only_process
from edgehone.search.ablation import (
    Knowledge,
    Trained,
    ablation_tasks,
    fit_budget,
    judge_path,
    order_changes,
    train_path,
    trainings_of,
    whatever_seed,
)
from edgehone.search.changes import changes_between
from edgehone.search.explanation import Ablation, Explanation, explain_trials, scoring
from edgehone.search.importance import Surrogate
from edgehone.search.objective import Objectives, parse_objectives
from edgehone.search.plan import Plan
from edgehone.search.progress import Monitor, Show
from edgehone.search.proof import RATE
from edgehone.search.trial import Outcome, Task, finished
from edgehone.search.verdict import Split
from edgehone.space import Prior, load
from edgehone.strategy import AUTHORS, PRESETS, Strategy
from edgehone.training import StartWeights

EXPLANATION = "explanation.json"
TRAININGS = "explain"
"""Folder of the ablations within the run's, with a clock of its own."""

OF_THE_PROOF = frozenset({RATE, "evolution"})


@dataclass(frozen=True)
class FinishedRun:
    """What a folder of ``run`` or ``search`` tells.

    Attributes:
        path: of the folder.
        request: what was asked for.
        winner: the strategy that was found.
        default: name and strategy of what it is held against.
        classes: names of the data's.
        plan: of the run, with the speed of its machine.
        priors: what the rules said.
        outcomes: every training, by name.
    """

    path: Path
    request: Request
    winner: Strategy
    default: tuple[str, Strategy]
    classes: tuple[str, ...]
    plan: Plan
    priors: tuple[Prior, ...]
    outcomes: Mapping[str, Outcome]

    @staticmethod
    def open(path: Path, ray: str | None = None) -> FinishedRun:
        """Read it; further trainings are done on this machine, or on the cluster at ``ray``.

        Raises:
            UsageError: it holds no finished run and no finished search.
        """
        winner, default, validation = _ends(path)
        request = load(Request, read_json(path / "request.json"))
        plan = load(Plan, read_json(path / "plan.json"))
        if request.ray is not None and ray is None:  # the plan is of the cluster
            calibration = plan.calibration.model_copy(update={"workers": request.batch})
            plan = plan.model_copy(update={"calibration": calibration})
        return FinishedRun(
            path,
            request.model_copy(update={"ray": ray}),
            winner,
            default,
            tuple(validation.per_class),
            plan,
            load(Priors, read_json(path / "rules.json")).rules,
            finished(path / "trials"),
        )

    @property
    def aim(self) -> Objectives:
        """The first objective; latencies explain themselves."""
        first = parse_objectives(self.request.objectives[:1], self.classes, self.request.boards)
        return Objectives(first, {})

    @property
    def searched(self) -> list[Outcome]:
        """The trials of the search: without presets and evolution, which the proof trained."""
        proof = {f"final-{name}" for name in (*PRESETS, "evolution")}
        return [
            outcome
            for name, outcome in self.outcomes.items()
            if outcome.task.rung not in OF_THE_PROOF and name not in proof
        ]


def _ends(path: Path) -> tuple[Strategy, tuple[str, Strategy], Evaluation]:
    """The winner, what it is held against, and the winner on validation.

    That is the preset that did better in the proof. Where nothing was proven nobody knows which one does, and training
    both would take from the steps: it is the authors', at the winner's input, and its name says so.
    """
    proven, found = path / RESULTS, path / FOUND
    if proven.is_file():
        results = load(Results, read_json(proven))
        winner, validation = results.found.strategy, results.found.validation
        if results.default is not None and results.default_preset is not None:
            return winner, (f"preset {results.default_preset}", results.default.strategy), validation
    elif found.is_file():
        searched = load(Found, read_json(found))
        winner, validation = searched.strategy, searched.validation
    else:
        raise UsageError(
            f"explain needs the folder of a finished run or search; {path} holds neither {RESULTS} nor {FOUND}: "
            "give its own command again to finish it"
        )
    return winner, ("preset authors", AUTHORS.model_copy(update={"input": winner.input})), validation


def within_budget(path: Path, share: float) -> float:
    """Seconds that are this share of the budget that a finished run was given."""
    return share * FinishedRun.open(path).request.budget_s


def explain(path: Path, budget_s: float, show: Show, ray: str | None = None) -> Explanation:
    """Explain a run: from its trials, and with trainings where there is a budget; written into its folder.

    Args:
        path: folder of a finished run or search.
        budget_s: wall-clock for ablations by the run's plan, 0 for none; an earlier ablation is kept then.
        show: told of every step.
        ray: address of a cluster to train on; else this machine.

    Raises:
        UsageError: nothing finished, or a budget that buys no ablation.
        EdgehoneError: the data cannot be read, another process works on the run, or a worker died.
    """
    run = FinishedRun.open(path, ray)
    with only_process(path):
        explanation = explain_trials(run.searched, run.priors, run.aim)
        ablation = _earlier(path) if budget_s == 0 else _ablate(run, explanation, budget_s, show)
        explanation = explanation.model_copy(update={"ablation": ablation})
        write_json(path / EXPLANATION, explanation.model_dump(mode="json"))
        _into_report(path / REPORT, explanation)
    return explanation


def _earlier(path: Path) -> Ablation | None:
    """The ablation that was trained before."""
    file = path / EXPLANATION
    return load(Explanation, read_json(file)).ablation if file.is_file() else None


def _ablate(run: FinishedRun, explanation: Explanation, budget_s: float, show: Show) -> Ablation | None:
    """Order the changes, train, judge; None where default and winner are the same."""
    name, base = run.default
    changes = changes_between(base, run.winner)
    if not changes:
        return None
    check_trains_here(run.plan.calibration.device, cluster=run.request.ray is not None)
    read = read_dataset(run.request.data, format=run.request.format, selection=run.request.selection)
    same_data(RunFolder(run.path), read)
    dataset = replace(read, test=())
    weights = None if run.request.weights is None else StartWeights.of(run.request.weights)
    make = task_maker(run.request, run.plan, dataset, weights)
    known = trainings_of(run.outcomes.values(), RunFolder(run.path))
    ends = ablation_tasks(base, (tuple(changes),), 1.0, make)
    surrogate = Surrogate(run.searched, score=scoring(run.aim))
    ordered = order_changes(base, changes, Knowledge(surrogate, explanation.importances, run.priors))
    share, steps = fit_budget(ordered, run.plan, budget_s, all(whatever_seed(end.job) in known for end in ends))
    trained = _train(run, ablation_tasks(base, steps, share, make), known, dataset, show)
    return judge_path(name, share, steps, trained, Split(dataset, run.path / "trials", run.aim))


def _train(
    run: FinishedRun, tasks: Sequence[Task], known: Mapping[str, Trained], dataset: Dataset, show: Show
) -> list[Trained]:
    """In a folder of the run's own, with a clock of its own."""
    (run.path / TRAININGS).mkdir(exist_ok=True)
    here = RunFolder(run.path / TRAININGS)
    monitor = Monitor(here, show)
    gflops = sum(task.gflops for task in tasks if whatever_seed(task.job) not in known)
    monitor.follow(run.plan, gflops or 1.0, run.aim)
    monitor.say(f"{len(tasks)} trainings from {run.default[0]} to the winner")

    def run_tasks(missing: Sequence[Task]) -> list[Outcome]:
        there = finished(here.trials)
        if all(task.name in there for task in missing):
            return [there[task.name] for task in missing]
        with start_pool(run.request, run.plan.calibration.workers, dataset, here.trials) as workers:
            return monitor.run(workers, missing)

    trained = train_path(tasks, run_tasks, known, here)
    here.clock.save()
    return trained


def _into_report(page: Path, explanation: Explanation) -> None:
    """Write the section anew, where the run's page has one."""
    if not page.is_file():
        return
    blank = ReportContent("", "", Headline("unproven", "", ()), (), "")
    anew = exchange_section(page.read_text(encoding="utf-8"), explanation_section(explanation), blank)
    if anew is not None:
        write_text(page, anew)
