"""What is known before anything is trained: data read and analysed, boards asked, earlier searches remembered."""

from __future__ import annotations

from dataclasses import dataclass

from edgehone.analysis import Profile, Say, analyse, quiet
from edgehone.boards import Measured
from edgehone.data import Dataset, read_dataset
from edgehone.equipment import measurements, place_run
from edgehone.errors import UsageError
from edgehone.models import architecture
from edgehone.request import Request, check
from edgehone.run_folder import RunFolder
from edgehone.search.board_costs import Latencies, board_limits, cost_by_size, latencies, parse_limits
from edgehone.search.facts import gather_facts
from edgehone.search.likeness import Identity, Likeness, model_name
from edgehone.search.objective import Cost, Objectives, check_on, parse_objectives
from edgehone.search.placement import Placement
from edgehone.search.progress import Monitor
from edgehone.search.rules import apply_rules
from edgehone.search.starts import Asking, Start, Starts, starts
from edgehone.search.store import Store, known_searches
from edgehone.space import Forbid, Prior, diff
from edgehone.strategy import INPUT_SIZES
from edgehone.teachers import open_teacher

DATA = "data"
"""The stage that says what a run's data are."""

USUAL_SIZE = 256
USUAL_PICTURES = 6500
"""What a full training of a run of half an hour shows on two cores at an input of 256 px."""


@dataclass(frozen=True)
class Known:
    """What is known before anything is trained: the data, its profile, boards' limits, what is wanted, and where."""

    dataset: Dataset
    profile: Profile
    limits: tuple[Forbid, ...]
    measured: tuple[Measured, ...]
    aim: Objectives
    begun: tuple[Start, ...]
    placement: Placement


def prepare(request: Request, folder: RunFolder, monitor: Monitor) -> Known:
    """Read and analyse the data; measure or estimate what the boards are asked about."""
    dataset = read_dataset(request.data, format=request.format, selection=request.selection)
    monitor.say(f"read {dataset.name} ({dataset.format}): " + describe_splits(dataset))
    same_data(folder, dataset)
    if request.teacher is not None:
        open_teacher(request.teacher, dataset.class_names)  # refused now rather than in the first trial
    each = parse_objectives(request.objectives, dataset.class_names, request.boards)
    check_on(dataset, each)
    sizes = [size for size in INPUT_SIZES if size <= request.max_input]
    profile = folder.stage("profile", Profile, lambda: analyse(dataset, request.model, sizes))
    monitor.say("analysed data space, capacity and projection")
    costs = [objective for objective in each if isinstance(objective, Cost)]
    asked = parse_limits(request.latency)
    timed = [*(cost.mode for cost in costs if cost.kind != "memory"), *(limit.mode for limit in asked)]
    measured = measurements(request, folder)
    graph = architecture(request.model).graph(len(dataset.class_names))
    found = folder.stage("latency", Latencies, lambda: latencies(graph, timed, sizes, measured))
    limits = board_limits(graph, request.boards, sizes, asked, found)
    values = {cost.text: cost_by_size(cost, graph, sizes, found, monitor.say) for cost in costs}
    begun = recall(request, dataset, profile, folder, monitor) if request.scope.advised else ()
    placement = place_run(request, dataset, folder)
    if placement.name:
        monitor.say(f"trains on {placement.name} ({placement.device}), {placement.workers} side by side")
    return Known(dataset, profile, limits, measured, Objectives(each, values), begun, placement)


def same_data(folder: RunFolder, dataset: Dataset) -> None:
    """Note by what the data are known; a run that goes on goes on with the same.

    Raises:
        UsageError: labels, splits or pictures are others than when the run began.
    """
    here = Identity.of(dataset)
    changes = diff(folder.stage(DATA, Identity, lambda: here), here)
    if changes:
        raise UsageError(
            f"{folder.path} holds a run on other data: {', '.join(changes)} of {dataset.name} changed since it began; "
            "its trainings cannot be compared with further ones: restore the data, or choose another --out"
        )


def recall(
    request: Request, dataset: Dataset, profile: Profile, folder: RunFolder, monitor: Monitor
) -> tuple[Start, ...]:
    """What earlier searches on similar data found, frozen: a store grows while a run is interrupted."""

    def ask() -> Starts:
        exclude = None if request.same_data else Identity.of(dataset)
        asking = Asking(Likeness.of(profile), model_name(request.model), exclude, request.scope.leave_out)
        return Starts(starts=tuple(starts(known_searches(Store.at(request.store)), asking)))

    begun = folder.stage("starts", Starts, ask).starts
    for start in begun:
        monitor.say(f"starts also from the store: {start.because} (weight {start.weight:.2f})")
    return begun


def analyse_only(
    dataset: Dataset, model: str, max_input: int, probe_budget_s: float = 0.0, say: Say = quiet
) -> tuple[Profile, tuple[Prior, ...]]:
    """The three analyses and what the rules make of them, for a full training of :data:`USUAL_PICTURES`."""
    check(Request(data=dataset.source, model=model, budget_s=1.0, max_input=max_input))
    sizes = [size for size in INPUT_SIZES if size <= max_input]
    profile = analyse(dataset, model, sizes, probe_budget_s=probe_budget_s, say=say)
    pictures = {s: round(USUAL_PICTURES * (USUAL_SIZE / s) ** 2) for s in INPUT_SIZES}
    facts = gather_facts(dataset, profile, pictures, max_input)
    return profile, tuple(apply_rules(facts))


def describe_splits(dataset: Dataset) -> str:
    """``train 205, val 87, test 72 images; 3 classes``."""
    counts = ", ".join(f"{name} {len(samples)}" for name, samples in dataset.splits.items())
    return f"{counts} images; {len(dataset.class_names)} classes"
