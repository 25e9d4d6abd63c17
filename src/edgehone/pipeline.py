"""The stages of a run, top-down. Each takes frozen inputs and saves a frozen result."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

import edgehone
from edgehone.analysis import Profile, Say, analyse, quiet
from edgehone.data import Dataset, Selection, read_dataset
from edgehone.deploy.bundle import Deployment, deploy, deployable, latency_by_size
from edgehone.errors import EdgehoneError, UsageError
from edgehone.files import read_json, write_json
from edgehone.inference import EXPORT
from edgehone.models import Network, architecture
from edgehone.report.run_page import Story, write_run_report
from edgehone.report.search_sections import command
from edgehone.results import Results
from edgehone.run_folder import RunFolder, open_run
from edgehone.search.calibration import calibrate
from edgehone.search.evolution import evolve
from edgehone.search.facts import LatencyLimit, gather_facts
from edgehone.search.ladder import Ladder, TaskMaker, climb
from edgehone.search.likeness import Identity, Likeness, model_name
from edgehone.search.origins import value_origins
from edgehone.search.plan import Plan, Proof, make_plan
from edgehone.search.pool import Pool
from edgehone.search.progress import Monitor, Show
from edgehone.search.proof import PresetRuns, train_presets
from edgehone.search.ray_workers import ray_library, start_ray_workers
from edgehone.search.remembering import entry_of, keep
from edgehone.search.rules import apply_rules
from edgehone.search.searcher import PriorSearcher, Searcher
from edgehone.search.starts import Asking, StartingSearcher, Starts, starts
from edgehone.search.store import Store, known_searches
from edgehone.search.trial import Outcome, Task
from edgehone.search.verdict import Tested, all_on_test_split, gain
from edgehone.search.workers import start_workers
from edgehone.space import Forbid, Prior, SearchSpace, Settings, load
from edgehone.strategy import INPUT_SIZES, Strategy, save_strategy
from edgehone.teachers import open_teacher
from edgehone.training import StartWeights, image_flops

RESULTS = "results.json"
"""Written last: where it is, the run is complete."""

WORKERS = 2
WARM_START = frozenset({"optimisation.warm_start.frozen", "optimisation.warm_start.rate"})
"""Searched only where trainings start from weights."""

TRUST = 0.7
"""Probability that a draw keeps the published value of what no rule speaks about: most of the space is off or odd."""

USUAL_SIZE = 256
USUAL_PICTURES = 6500
"""What a full training of a run of half an hour shows on two cores at an input of 256 px."""


class Request(Settings):
    """What the user asked for; the same request in the same folder goes on where it was."""

    data: str
    format: str | None = None
    selection: Selection = Selection()
    model: str = "yolov4-tiny"
    boards: tuple[str, ...] = ("cpu",)
    budget_s: float = Field(gt=0)
    proof: Proof = "full"
    max_input: int = 416
    latency: str | None = None
    weights: str | None = None
    compare: Literal["evolution"] | None = None
    workers: int = Field(default=WORKERS, ge=1, le=64)
    seed: int = 0
    teacher: str | None = None
    store: str | None = None
    same_data: bool = False
    ray: str | None = None


class Priors(Settings):
    """What the rules said, frozen."""

    rules: tuple[Prior, ...]


class Latencies(Settings):
    """90th percentile in milliseconds by input size, of the untrained graph on this machine."""

    p90_ms: dict[int, float]


@dataclass(frozen=True)
class Explored:
    """Everything that was trained."""

    ladder: Ladder
    presets: PresetRuns
    evolved: Outcome | None


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
        dataset = read_dataset(request.data, format=request.format, selection=request.selection)
        monitor.say(f"read {dataset.name} ({dataset.format}): " + describe_splits(dataset))
        if request.teacher is not None:
            open_teacher(request.teacher, dataset.class_names)  # refused now rather than in the first trial
        sizes = [size for size in INPUT_SIZES if size <= request.max_input]
        profile = folder.stage("profile", Profile, lambda: analyse(dataset, request.model, sizes))
        monitor.say("analysed data space, capacity and projection")
        begun = recall(request, dataset, profile, folder, monitor)
        limit = measure_limit(request, dataset, folder, sizes)
        with start_pool(request, dataset, folder.trials) as workers:
            plan = folder.stage("plan", Plan, lambda: plan_run(request, folder, workers, dataset))
            facts = gather_facts(
                dataset, profile, pictures_by_size(plan, request.model, dataset), request.max_input, limit
            )
            priors = folder.stage("rules", Priors, lambda: Priors(rules=tuple(apply_rules(facts))))
            for prior in priors.rules:
                monitor.say(describe_prior(prior))
            weights = start_weights(request, dataset, monitor)
            fixed = frozenset[str]() if weights else WARM_START
            space = SearchSpace(Strategy(), (*priors.rules, *without_teacher(request)), fixed, TRUST)
            searcher = StartingSearcher(PriorSearcher(space, request.seed), space, begun.starts)
            maker = task_maker(request, plan, dataset, weights)
            explored = explore(request, searcher, maker, monitor, workers)
        tested = all_on_test_split(explored.ladder, explored.presets, explored.evolved, dataset, folder.trials)
        monitor.say("evaluated on the test split")
        winner = explored.ladder.finalists[0]
        boards = {name: deploy_winner(winner, name, dataset, folder) for name in request.boards}
        results = conclude(request, folder, explored, tested, boards, plan)
        story = Story(request, dataset, profile, plan, priors.rules, explored.ladder, explored.presets, tested, results)
        write_run_report(story, folder.path)
        found = results.found.strategy
        save_strategy(found, out / "strategy.json", value_origins(found, priors.rules, explored.ladder.outcomes))
        entry = entry_of(dataset, profile, explored.ladder.finalists, results, nameless(request, dataset))
        monitor.say("this search " + keep(Store.at(request.store), entry, out))
        write_json(out / RESULTS, results.to_json())
        monitor.say(f"done: {folder.path / 'report.html'}")
        return results


def without_teacher(request: Request) -> tuple[Forbid, ...]:
    """What cannot be searched where no teacher is given."""
    path = "projection.distillation.kind"
    return () if request.teacher else (Forbid(path=path, values=("teacher",), because="no teacher was given"),)


def analyse_only(
    dataset: Dataset, model: str, max_input: int, probe_budget_s: float = 0.0, say: Say = quiet
) -> tuple[Profile, tuple[Prior, ...]]:
    """The three analyses and what the rules make of them, for a full training of :data:`USUAL_PICTURES`."""
    check(Request(data=dataset.source, model=model, budget_s=1.0, max_input=max_input))
    sizes = [size for size in INPUT_SIZES if size <= max_input]
    profile = analyse(dataset, model, sizes, probe_budget_s=probe_budget_s, say=say)
    pictures = {s: round(USUAL_PICTURES * (USUAL_SIZE / s) ** 2) for s in INPUT_SIZES}
    facts = gather_facts(dataset, profile, pictures, max_input, None)
    return profile, tuple(apply_rules(facts))


def check(request: Request) -> None:
    """Refuse early what could only fail late."""
    architecture(request.model)
    if request.ray is not None:
        ray_library()
    for name in request.boards:
        deployable(name)
    if request.max_input < INPUT_SIZES[0]:
        raise UsageError(f"inputs are at least {INPUT_SIZES[0]} px, got --max-input {request.max_input}")
    if request.latency is not None and LatencyLimit.parse(request.latency).board not in request.boards:
        raise UsageError(
            f"a latency limit names one of the boards {', '.join(request.boards)}; got {request.latency!r}"
        )


def recall(request: Request, dataset: Dataset, profile: Profile, folder: RunFolder, monitor: Monitor) -> Starts:
    """What earlier searches on similar data found, frozen: a store grows while a run is interrupted."""

    def ask() -> Starts:
        exclude = None if request.same_data else Identity.of(dataset)
        asking = Asking(Likeness.of(profile), model_name(request.model), exclude)
        return Starts(starts=tuple(starts(known_searches(Store.at(request.store)), asking)))

    begun = folder.stage("starts", Starts, ask)
    for start in begun.starts:
        monitor.say(f"starts also from the store: {start.because} (weight {start.weight:.2f})")
    return begun


def nameless(request: Request, dataset: Dataset) -> str:
    """The command line, without this machine's places."""
    names = {"data": dataset.name, "model": model_name(request.model), "store": None, "ray": None}
    return command(request.model_dump(mode="json") | names)


def start_pool(request: Request, dataset: Dataset, trials: Path) -> AbstractContextManager[Pool]:
    """What trains: processes of this machine, or the nodes of a cluster."""
    if request.ray is not None:
        return start_ray_workers(request.ray, dataset, trials)
    return start_workers(request.workers, dataset, trials)


def measure_limit(
    request: Request, dataset: Dataset, folder: RunFolder, sizes: list[int]
) -> tuple[LatencyLimit, dict[int, float]] | None:
    """Latency by input size, where the request sets a limit."""
    if request.latency is None:
        return None
    graph = architecture(request.model).graph(len(dataset.class_names))
    found = folder.stage("latency", Latencies, lambda: Latencies(p90_ms=latency_by_size(graph, sizes)))
    return LatencyLimit.parse(request.latency), found.p90_ms


def plan_run(request: Request, folder: RunFolder, workers: Pool, dataset: Dataset) -> Plan:
    """Time a few steps, then fit the run into what is left of the budget."""
    classes = len(dataset.class_names)
    calibration = calibrate(workers, request.model, classes)
    cheapest = image_flops(request.model, classes, INPUT_SIZES[0]) / 1e9
    return make_plan(request.budget_s, folder.clock.seconds(), request.proof, calibration, cheapest)


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


def task_maker(request: Request, plan: Plan, dataset: Dataset, weights: StartWeights | None) -> TaskMaker:
    """Makes every training of the run."""
    classes = len(dataset.class_names)

    def cost(size: int) -> float:
        return image_flops(request.model, classes, size) / 1e9

    return TaskMaker(plan, request.model, cost, request.seed, weights, request.teacher)


def explore(request: Request, searcher: Searcher, make: TaskMaker, monitor: Monitor, workers: Pool) -> Explored:
    """Search, then train the proof."""
    plan = make.plan
    monitor.follow(plan, plan.total_gflops())

    def run_tasks(tasks: Sequence[Task]) -> list[Outcome]:
        return monitor.run(workers, tasks)

    ladder = climb(searcher, make, run_tasks)
    winner = ladder.finalists[0]
    if winner.status != "done":
        raise EdgehoneError("every finalist diverged; the trials' messages in the run's folder say at what loss")
    presets = train_presets(winner.task.job.strategy, plan.proof, make, run_tasks)
    evolved = evolve(winner.task.job.strategy, make, run_tasks) if request.compare == "evolution" else None
    return Explored(ladder, presets, evolved)


def deploy_winner(winner: Outcome, board_name: str, dataset: Dataset, folder: RunFolder) -> Deployment:
    """The winner's bundle for a board."""
    checkpoint = folder.trials / winner.task.name
    return folder.stage(
        f"deploy-{board_name}",
        Deployment,
        lambda: deploy(checkpoint, board_name, dataset, folder.path / EXPORT),
    )


def conclude(
    request: Request,
    folder: RunFolder,
    explored: Explored,
    tested: dict[str, Tested],
    boards: dict[str, Deployment],
    plan: Plan,
) -> Results:
    """Compare and put together; the default is the preset that did better on validation."""
    default = explored.presets.default
    found = tested["found"]
    evolved = tested.get("evolution")
    trials = [*explored.ladder.outcomes, *explored.presets.rates, *explored.presets.finals.values()]
    search = sum(o.seconds for o in explored.ladder.outcomes)
    return Results(
        edgehone=edgehone.__version__,
        date=datetime.date.today().isoformat(),
        hardware=f"{plan.calibration.cpu}, {plan.calibration.workers} workers of one thread, "
        f"{plan.calibration.precision}",
        model=request.model,
        data=request.data,
        found=found.entry,
        default=None if default is None else tested[default].entry,
        default_preset=default,
        presets={name: tested[name].entry for name in explored.presets.finals},
        evolution=None if evolved is None else evolved.entry,
        gain=None if default is None else gain(found, tested[default]),
        gain_over_evolution=None if evolved is None else gain(found, evolved),
        seconds={
            "total": round(folder.clock.seconds(), 1),
            "search": round(search / plan.calibration.workers, 1),
            "train": round(sum(o.seconds for o in trials) / plan.calibration.workers, 1),
        },
        trials=len(explored.ladder.outcomes),
        boards=boards,
    )


def describe_splits(dataset: Dataset) -> str:
    """``train 205, val 87, test 72 images; 3 classes``."""
    counts = ", ".join(f"{name} {len(samples)}" for name, samples in dataset.splits.items())
    return f"{counts} images; {len(dataset.class_names)} classes"


def describe_prior(prior: Prior) -> str:
    """A rule's advice in one line."""
    if prior.kind == "forbid":
        return f"rule: {prior.path} not {', '.join(map(str, prior.values))}: {prior.because}"
    return f"rule: {prior.path} = {prior.value} ({100 * prior.confidence:.0f} %): {prior.because}"
