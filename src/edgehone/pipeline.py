"""The stages of a run, top-down. Each takes frozen inputs and saves a frozen result."""

from __future__ import annotations

import dataclasses
import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import edgehone
from edgehone.data import Dataset
from edgehone.deploy.bundle import Deployment, deploy, export_master
from edgehone.deploy.convert import open_trained
from edgehone.equipment import open_journal, start_pool
from edgehone.evaluation import Evaluation
from edgehone.files import read_json, write_json
from edgehone.inference import EXPORT
from edgehone.models import Network, architecture
from edgehone.preparation import Known, prepare
from edgehone.report.run_page import Story, write_run_report
from edgehone.report.search_sections import command
from edgehone.request import Request, bundle_wishes, check, given
from edgehone.results import FrontPoint, Results, RungZero
from edgehone.run_folder import RunFolder, open_run
from edgehone.search.agreement import RungAgreement
from edgehone.search.calibration import calibrate, nominal
from edgehone.search.evolution import evolve
from edgehone.search.facts import gather_facts
from edgehone.search.finalists import Standing
from edgehone.search.ladder import FORWARD_SHARE, Ladder, TaskMaker, freely, in_batches
from edgehone.search.likeness import model_name
from edgehone.search.objective import AP, Objectives
from edgehone.search.origins import value_origins
from edgehone.search.plan import Plan, SearchKind, make_plan
from edgehone.search.progress import Bench, Monitor, Show
from edgehone.search.proof import PresetRuns, train_presets
from edgehone.search.remembering import entry_of, keep, learnt_on
from edgehone.search.rules import apply_rules, describe_prior, taught_by
from edgehone.search.rung_zero import CeilingScreen
from edgehone.search.scope import declared_space, open_study
from edgehone.search.searchers import ADVISED
from edgehone.search.starts import faster_starts
from edgehone.search.store import Provenance, Store
from edgehone.search.sufficiency import too_short
from edgehone.search.trial import Outcome
from edgehone.search.verdict import Decision, Split, Tested, all_on_test_split, decide, gain
from edgehone.space import Prior, Settings, in_force, load
from edgehone.strategy import INPUT_SIZES, Strategy, save_strategy
from edgehone.training import StartWeights, graph_flops, image_flops, imitable, training_flops

RESULTS = "results.json"
"""Written last: where it is, the run is complete."""

FOUND = "found.json"
"""What a search found, without a proof."""


class Priors(Settings):
    """What the rules said, frozen."""

    rules: tuple[Prior, ...]


class Found(Settings):
    """What a search found, on validation."""

    strategy: Strategy
    validation: Evaluation
    standings: tuple[Standing, ...]
    front: tuple[FrontPoint, ...]
    agreement: tuple[RungAgreement, ...]
    rung_zero: RungZero = RungZero()
    trials: int
    seconds: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Explored:
    """Everything that was trained, under which plan and on whose advice."""

    plan: Plan
    priors: tuple[Prior, ...]
    ladder: Ladder
    presets: PresetRuns
    evolved: Outcome | None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes the choice doubtful."""
        doubt = too_short(self.plan, self.ladder.outcomes)
        return () if doubt is None else (doubt,)


def run(request: Request, out: Path, show: Show) -> Results:
    """The whole job: data in, the best strategy, its proof and its bundle out.

    Args:
        request: what to do.
        out: the run's folder, new or to be gone on with.
        show: told of every step.

    Raises:
        UsageError: the request cannot be met.
        EdgehoneError: the data cannot be used, or a worker died.
    """
    if not (out / RESULTS).is_file():  # a finished run opens also when its cfg is gone
        check(request)
    with open_run(out, request) as folder:
        monitor = Monitor(folder, show)
        if (out / RESULTS).is_file():
            return load(Results, read_json(out / RESULTS))
        known = prepare(request, folder, monitor)
        with start_pool(request, known.placement.workers, known.dataset, folder.trials) as workers:
            explored = explore(request, known, Bench(monitor, workers))
        split = Split(known.dataset, folder.trials, known.aim)
        tested = all_on_test_split(explored.ladder, explored.presets, explored.evolved, split)
        monitor.say("evaluated on the test split")
        decision = decide(explored.ladder, explored.presets, tested, split)
        boards = {name: deploy_winner(decision.outcome, name, request, known, monitor) for name in request.boards}
        export_winner(decision.outcome, folder)
        results = conclude(request, folder, explored, (tested, split), boards, decision)
        presets, ladder = explored.presets, explored.ladder
        story = Story(
            request, known.dataset, known.profile, explored.plan, explored.priors, ladder, presets, tested, results
        )
        write_run_report(story, folder.path)
        strategy = decision.outcome.task.job.strategy
        save_strategy(strategy, out / "strategy.json", value_origins(strategy, explored.priors, ladder.outcomes))
        monitor.say(remember(request, known, explored, out, results))
        write_json(out / RESULTS, results.to_json())
        monitor.finish(f"done: {folder.path / 'report.html'}")
        return results


def search(request: Request, out: Path, show: Show) -> Found:
    """The search alone: no presets beside it, the test split is not read, nothing is deployed."""
    request = request.model_copy(update={"proof": "off", "compare": None})
    check(request)
    with open_run(out, request) as folder:
        monitor = Monitor(folder, show)
        if (out / FOUND).is_file():
            return load(Found, read_json(out / FOUND))
        known = prepare(request, folder, monitor)
        with start_pool(request, known.placement.workers, known.dataset, folder.trials) as workers:
            explored = explore(request, known, Bench(monitor, workers))
        ladder = explored.ladder
        winner = ladder.finalists[0]
        strategy = winner.task.job.strategy
        save_strategy(strategy, out / "strategy.json", value_origins(strategy, explored.priors, ladder.outcomes))
        assert winner.validation is not None
        found = Found(
            strategy=strategy,
            validation=winner.validation,
            standings=ladder.standings,
            front=ladder.front,
            agreement=tuple(ladder.agreement),
            rung_zero=ladder.rung_zero,
            trials=len(ladder.outcomes),
            seconds=round(folder.clock.seconds(), 1),
            warnings=explored.warnings,
        )
        monitor.say(remember(request, known, explored, out))
        write_json(out / FOUND, found.model_dump(mode="json"))
        monitor.finish(f"done: {out / 'strategy.json'}")
        return found


def remember(request: Request, known: Known, explored: Explored, out: Path, results: Results | None = None) -> str:
    """Keep a finished search in the store; says what became of it. Without results it was not proven."""
    provenance = Provenance(
        edgehone=edgehone.__version__,
        date=datetime.date.today().isoformat(),
        hardware=explored.plan.hardware,
        command=nameless(request, known.dataset),
        learnt_on=learnt_on(request.scope, explored.priors, known.begun),
    )
    entry = entry_of(known.dataset, known.profile, request.model, explored.ladder, provenance, results)
    return "this search " + keep(Store.at(request.store), entry, out)


def nameless(request: Request, dataset: Dataset) -> str:
    """The command line, without this machine's places."""
    names = {
        "data": dataset.name,
        "model": model_name(request.model),
        "measured": [Path(path).name for path in request.measured],
        "weights": request.weights and Path(request.weights).name,
        "teacher": request.teacher and Path(request.teacher).name,
        "store": None,
        "ray": None,
        "device": None,
        "study": None,
    }
    return command(request.model_dump(mode="json") | names)


def plan_run(request: Request, known: Known, bench: Bench) -> Plan:
    """Time a few steps, then fit the run into what is left of the budget.

    A deterministic run is planned for a nominal machine: its budget is compute rather than wall-clock.
    """
    classes, folder = len(known.dataset.class_names), bench.monitor.folder
    cheapest = image_flops(request.model, classes, INPUT_SIZES[0]) / 1e9
    kind = SearchKind(len(known.aim.each), len(known.aim.integer_boards), request.scope.searcher == ADVISED)
    if request.scope.deterministic:
        return make_plan(request.budget_s, 0.0, request.proof, nominal(request.batch), cheapest, kind)
    calibration = calibrate(bench.workers, request.model, classes, known.placement)
    return make_plan(request.budget_s, folder.clock.seconds(), request.proof, calibration, cheapest, kind)


def pictures_by_size(plan: Plan, model: str, dataset: Dataset) -> dict[int, int]:
    """Pictures that a full training shows, by input size."""
    classes = len(dataset.class_names)
    return {size: plan.images(image_flops(model, classes, size) / 1e9) for size in INPUT_SIZES}


def start_weights(request: Request, dataset: Dataset, monitor: Monitor) -> StartWeights | None:
    """What every training starts from, tried on one network."""
    if request.weights is None:
        return None
    weights = StartWeights.of(request.weights)
    network = Network(architecture(request.model).graph(len(dataset.class_names)))
    moved = weights.carry_into(network)
    afresh = "; ".join(f"{name}: {reason}" for name, reason in moved.skipped[:3])
    text = f"starts from {weights.path}: {len(moved.carried)} layers carried over, {len(moved.skipped)} afresh"
    monitor.say(text + (f" ({afresh})" if afresh else ""))
    return weights


def task_maker(
    request: Request, plan: Plan, dataset: Dataset, weights: StartWeights | None, aim: Objectives = AP
) -> TaskMaker:
    """Makes every training of the run."""
    classes = len(dataset.class_names)
    imitated = imitable(request.model, request.teacher)

    def cost(strategy: Strategy) -> float:
        flops = training_flops(request.model, classes, strategy)
        if imitated is not None and strategy.projection.features.kind == "teacher":
            flops += FORWARD_SHARE * graph_flops(imitated, strategy.input.size)
        return flops / 1e9

    return TaskMaker(plan, request.model, cost, request.seed, weights, request.teacher, aim)


def explore(request: Request, known: Known, bench: Bench) -> Explored:
    """Plan, ask the rules, search, then train the proof."""
    monitor, folder, dataset = bench.monitor, bench.monitor.folder, known.dataset
    plan = folder.stage("plan", Plan, lambda: plan_run(request, known, bench))
    pictures = pictures_by_size(plan, request.model, dataset)
    facts = gather_facts(dataset, known.profile, pictures, request.max_input, known.limits)
    left_out = request.scope.leave_out
    priors = folder.stage("rules", Priors, lambda: Priors(rules=tuple(apply_rules(facts, left_out)))).rules
    for name in left_out:
        monitor.say(f"left out {name}, which had a part in {len(taught_by(facts, name))} pieces of advice")
    for prior in in_force(priors):
        monitor.say(describe_prior(prior))
    make = task_maker(request, plan, dataset, start_weights(request, dataset, monitor), known.aim)
    space = declared_space(request.scope, priors, given(request))
    screen = CeilingScreen(cast(Strategy, space.preferred()), request.model, dataset)
    monitor.follow(plan, plan.total_gflops(), known.aim)

    def preferred_at(size: int) -> Strategy:
        advice = apply_rules(dataclasses.replace(facts, max_input=size), left_out)
        return cast(Strategy, declared_space(request.scope, advice, given(request)).preferred())

    begun = (*faster_starts(space, preferred_at), *known.begun) if known.aim.costs else known.begun
    with open_journal(request, folder) as journal:
        study = open_study(request.scope, space, make, journal, begun, screen)
        if request.scope.deterministic:
            ladder = in_batches(study, make, bench, request.batch)
        else:
            ladder = freely(study, make, bench)
    monitor.say(ladder.rung_zero.words())
    winner = ladder.finalists[0].task.job.strategy
    presets = train_presets(winner, plan.proof, make, bench.run)
    evolved = evolve(winner, make, bench.run) if request.compare == "evolution" else None
    return Explored(plan, priors, ladder, presets, evolved)


def export_winner(winner: Outcome, folder: RunFolder) -> None:
    """The winner as one file, beside the report."""
    if not (folder.path / EXPORT).is_file():
        export_master(*open_trained(folder.trials / winner.task.name), folder.path / EXPORT)


def deploy_winner(winner: Outcome, board_name: str, request: Request, known: Known, monitor: Monitor) -> Deployment:
    """The winner's bundle for a board, in a folder of its name."""
    out, checkpoint = monitor.folder.path / board_name, monitor.folder.trials / winner.task.name
    wishes = bundle_wishes(request, board_name in known.aim.integer_boards, known.measured, monitor.say)
    return monitor.folder.stage(
        f"deploy-{board_name}", Deployment, lambda: deploy(checkpoint, board_name, known.dataset, out, wishes)
    )


def conclude(
    request: Request,
    folder: RunFolder,
    explored: Explored,
    proven: tuple[dict[str, Tested], Split],
    boards: dict[str, Deployment],
    decision: Decision,
) -> Results:
    """Compare and put together; the default is the preset that did better on validation."""
    tested, split = proven
    default = explored.presets.default
    found = tested["found"]
    evolved = tested.get("evolution")
    trials = [*explored.ladder.outcomes, *explored.presets.rates, *explored.presets.finals.values()]
    plan, search_s = explored.plan, sum(o.seconds for o in explored.ladder.outcomes)
    return Results(
        edgehone=edgehone.__version__,
        date=datetime.date.today().isoformat(),
        hardware=plan.hardware,
        model=request.model,
        data=request.data,
        found=found.entry,
        kept=decision.kept,
        margin=decision.margin,
        objectives=request.objectives,
        front=explored.ladder.front,
        application=decision.application,
        default=None if default is None else tested[default].entry,
        default_preset=default,
        presets={name: tested[name].entry for name in explored.presets.finals},
        evolution=None if evolved is None else evolved.entry,
        gain=None if default is None else gain(found.answers, tested[default].answers, split),
        gain_over_evolution=None if evolved is None else gain(found.answers, evolved.answers, split),
        seconds={
            "total": round(folder.clock.seconds(), 1),
            "search": round(search_s / plan.calibration.workers, 1),
            "train": round(sum(o.seconds for o in trials) / plan.calibration.workers, 1),
        },
        trials=len(explored.ladder.outcomes),
        boards=boards,
        rung_zero=explored.ladder.rung_zero,
        warnings=explored.warnings,
    )
