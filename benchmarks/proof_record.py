"""What is recorded of a proof: a run on one data set with one seed, condensed until its folder is no longer needed.

``recorded/proof/NAME-BUDGET-SEED.json`` holds the request, the plan, on what the advice was learnt, and for each arm
its strategy, what its search cost, and its trainings of the final length, one a seed, as the test split judges them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evidence import Row, changed, restored, stamp

from edgehone.data import Dataset
from edgehone.evaluation import Matches, mean_ap, paired_difference
from edgehone.evaluation.bootstrap import intervals95
from edgehone.files import read_json
from edgehone.pipeline import Found
from edgehone.request import Request
from edgehone.results import Results
from edgehone.search.plan import FINAL, Plan
from edgehone.search.proof import RATE
from edgehone.search.trial import Outcome, finished
from edgehone.search.verdict import Split, answers_on
from edgehone.space import diff, load
from edgehone.training import Job

OWN = "own"
"""The final length that the budget of the search bought."""


def run_record(folder: Path, name: str, dataset: Dataset) -> Row:
    """Of a finished run of the whole job.

    Args:
        folder: of the run.
        name: of the data set, which must have been left out.
        dataset: whose test split counts.
    """
    results = load(Results, read_json(folder / "results.json"))
    request = load(Request, read_json(folder / "request.json"))
    plan = load(Plan, read_json(folder / "plan.json"))
    outcomes = finished(folder / "trials")
    arms = arms_of(results, outcomes)
    matches = {arm: matches_of(outcome, folder, dataset) for arm, outcome in arms.items()}
    rows = {arm: arm_row(outcome, matches[arm], spent(arm, outcomes)) for arm, outcome in arms.items()}
    return {
        "data": name,
        "seed": request.seed,
        "budget_s": request.budget_s,
        "stamp": {**stamp(), "edgehone": results.edgehone, "date": results.date},
        "hardware": results.hardware,
        "request": without_places(request),
        "advice": provenance(folder, name),
        "plan": plan.model_dump(mode="json"),
        "workers": plan.calibration.workers,
        "seconds": results.seconds,
        "trials": results.trials,
        "default": results.default_preset,
        "kept": results.kept,
        "warnings": list(results.warnings),
        "over_pictures": {arm: paired(matches["found"], each) for arm, each in matches.items() if arm != "found"},
        "arms": rows,
    }


def search_row(folder: Path, dataset: Dataset) -> Row:
    """Of a finished search: its winner as an arm."""
    found = load(Found, read_json(folder / "found.json"))
    outcomes = finished(folder / "trials")
    seconds = sum(outcome.seconds for outcome in outcomes.values())
    winner = outcomes[found.standings[0].name]
    return {**arm_row(winner, matches_of(winner, folder, dataset), seconds), "stamp": stamp()}


def arms_of(results: Results, outcomes: Mapping[str, Outcome]) -> dict[str, Outcome]:
    """The full training of each arm of a run."""
    found = results.found
    finals = [outcome for outcome in outcomes.values() if outcome.task.rung == FINAL]
    same = [o for o in finals if o.task.job.strategy == found.strategy and o.validation == found.validation]
    named = [*results.presets, *(["evolution"] if results.evolution is not None else [])]
    return {**{name: outcomes[f"{FINAL}-{name}"] for name in named}, "found": same[0]}


def spent(arm: str, outcomes: Mapping[str, Outcome]) -> float:
    """Core-seconds of trainings that chose the strategy of an arm."""
    own = {"darknet": f"{RATE}-darknet", "authors": f"{RATE}-authors", "evolution": "evolution-"}
    others = (*own.values(), f"{FINAL}-darknet", f"{FINAL}-authors", f"{FINAL}-evolution")
    if arm in own:
        return sum(outcome.seconds for name, outcome in outcomes.items() if name.startswith(own[arm]))
    return sum(outcome.seconds for name, outcome in outcomes.items() if not name.startswith(others))


def arm_row(outcome: Outcome, matches: Matches, search_s: float) -> Row:
    """A strategy, and its own training of the final length."""
    job = outcome.task.job
    return {
        "strategy": changed(job.strategy),
        "origin": outcome.task.origin,
        "steps": job.steps,
        "batch": job.batch_size,
        "precision": job.precision,
        "search_core_s": round(search_s, 1),
        "trainings": [{"length": OWN, "seed": 0, **judged(matches), "seconds": round(outcome.seconds, 1)}],
    }


def matches_of(outcome: Outcome, folder: Path, dataset: Dataset) -> Matches:
    """A trial on the test split."""
    return answers_on("test", outcome, Split(dataset, folder / "trials")).matches


def judged(matches: Matches) -> Row:
    """AP with its interval over pictures."""
    ap, ap50 = mean_ap(matches)
    ends = intervals95(matches, 1000, 0)["ap"]
    return {"ap": round(ap, 4), "ap50": round(ap50, 4), "interval95": [round(end, 4) for end in ends]}


def paired(found: Matches, other: Matches) -> Row:
    """What was found against an arm, on the same draws of test pictures."""
    gain, ends = paired_difference(found, other)
    return {"gain": round(gain, 4), "interval95": [round(end, 4) for end in ends]}


def without_places(request: Request) -> Row:
    """A request as what differs from the defaults, files by their names alone."""
    plain = Request(data=Path(request.data).name, budget_s=request.budget_s)
    named = {
        key: Path(value).name for key in ("data", "model", "weights", "teacher") if (value := getattr(request, key))
    }
    return {path: new for path, (_, new) in diff(plain, request.model_copy(update=named)).items()} | {
        "data": named["data"]
    }


def provenance(folder: Path, *names: str) -> Row:
    """On what a run's advice was learnt; ends the script where that is a set that is to prove it."""
    rules: list[Any] = read_json(folder / "rules.json")["rules"]
    taught = sorted({each for rule in rules for each in rule.get("learnt_on", ())})
    kept = folder / "starts.json"
    starts: list[Any] = read_json(kept)["starts"] if kept.is_file() else []
    guilty = [f"{name} taught a rule" for name in names if name in taught]
    guilty += [start["because"] for start in starts if not set(names).isdisjoint(start.get("learnt_on", ()))]
    if guilty:
        sys.exit(f"{folder}: advice must not be learnt on the set that is to prove it: {'; '.join(guilty)}")
    return {"rules": len(rules), "learnt_on": taught, "starts": [start["because"] for start in starts]}


def final_job(record: Row, arm: str, seed: int, length: tuple[int, int, int] | None, model: str) -> Job:
    """A final training of an arm with a further seed.

    Args:
        record: of the run.
        arm: its name.
        seed: of the training.
        length: input size, epochs and pictures of an epoch, in batches of the strategy's own size, or smaller ones
            where a run of that length would take them, whoever's strategy it is; None: as its own.
        model: the architecture, where it lies now.
    """
    row = record["arms"][arm]
    strategy = restored(row["strategy"])
    steps, batch = row["steps"], row["batch"]
    if length is not None:
        size, epochs, pictures = length
        strategy = strategy.model_copy(update={"input": strategy.input.model_copy(update={"size": size})})
        plan = load(Plan, record["plan"]).model_copy(update={"full_gflops": float(epochs * pictures)})
        steps, batch = plan.steps(1.0, strategy.optimisation.batch_size)
    return Job(
        model=model, strategy=strategy, steps=steps, batch_size=batch, seed=seed, precision=row["precision"]
    )  # fmt: skip
