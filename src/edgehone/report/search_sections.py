"""The parts of the page about what was decided, what was tried, and how to do it again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any, cast

from edgehone.report import charts
from edgehone.report.content import Block, Code, Figure, Section, Table, Text
from edgehone.report.story import Story, duration, number, percent, plain, with_interval
from edgehone.search.agreement import RungAgreement
from edgehone.search.objective import Objectives, measure, unit_of
from edgehone.search.origins import value_origins
from edgehone.search.trial import Outcome
from edgehone.space import Prior, flatten, in_force
from edgehone.strategy import DARKNET, Strategy
from edgehone.types import Json

MAIN_CHOICES = {
    "input.size": "input, px",
    "projection.anchors.kind": "anchors",
    "projection.assigner.kind": "assigner",
    "projection.box_loss.kind": "box loss",
    "augmentation.mosaic.probability": "mosaic",
    "optimisation.optimizer.kind": "optimizer",
    "optimisation.optimizer.lr": "learning rate",
    "optimisation.schedule.kind": "schedule",
}
"""The columns of the table of trials."""


ADVICE = ("setting", "advice", "value", "confidence", "because", "evidence", "learnt on")


def decisions_section(story: Story) -> Section:
    """The rules' advice, and where each value of the found strategy comes from."""
    blocks: list[Block] = []
    if story.priors:
        lead = (
            "Rules turn the measurements into advice, before anything is trained. A preference is drawn "
            "with its confidence, else the search is free; only limits forbid."
        )
        blocks.append(Text(lead))
        blocks += advice_tables(story.priors)
    blocks += _strategy_tables(story)
    return Section("decisions", "What was decided, and why", tuple(blocks))


def advice_tables(priors: Sequence[Prior]) -> list[Block]:
    """What counts, in the open; what another rule overruled, folded away."""
    words = frozenset(range(len(ADVICE))) - {ADVICE.index("confidence")}
    counting = in_force(priors)
    overruled = tuple(_rule_row(prior) for prior in priors if prior not in counting)
    tables: list[Block] = [Table(ADVICE, tuple(map(_rule_row, counting)), words, "What the rules said")]
    if overruled:
        caption = f"What another rule overruled ({len(overruled)})"
        tables.append(Table(ADVICE, overruled, words, caption, folded=True))
    return tables


def _rule_row(prior: Prior) -> tuple[str, ...]:
    if prior.kind == "forbid":
        return (prior.path, "forbid", plain(prior.values), "limit", prior.because, plain(prior.evidence), "")
    confidence = f"{100 * prior.confidence:.0f} %"
    learnt = ", ".join(prior.learnt_on) or "nothing: published or calculated"
    return (prior.path, "prefer", plain(prior.value), confidence, prior.because, plain(prior.evidence), learnt)


def _strategy_tables(story: Story) -> list[Block]:
    """Values with another origin than the defaults, in the open; the rest folded away."""
    found = story.results.found.strategy
    values, official, usual = flatten(found), flatten(DARKNET), flatten(Strategy())
    origins = value_origins(found, story.priors, story.ladder.outcomes)
    columns = ("setting", "found", "edgehone's default", "Darknet's", "origin")
    words = frozenset(range(5))
    rows = {
        path: (path, plain(value), plain(usual.get(path)), plain(official.get(path)), _origin(origins[path]))
        for path, value in values.items()
    }
    chosen = tuple(row for path, row in rows.items() if origins[path]["from"] != "default")
    kept = tuple(row for path, row in rows.items() if origins[path]["from"] == "default")
    tables: list[Block] = []
    if chosen:
        caption = "The found strategy: what differs from the defaults, and where it comes from."
        tables.append(Table(columns, chosen, words, caption))
    if kept:
        caption = f"The found strategy: values that stayed at their defaults ({len(kept)})"
        tables.append(Table(columns, kept, words, caption, folded=True))
    return tables


def _origin(origin: dict[str, Json]) -> str:
    if origin["from"] == "rule":
        return f"rule: {origin['because']}"
    if origin["from"] == "trial":
        return f"trial {origin['trial']}: {origin['because']}"
    return str(origin["from"])


def trials_section(story: Story) -> Section:
    """Every trial of the search, and how far short trials could be trusted."""
    outcomes = story.ladder.outcomes
    if not outcomes:
        return Section("trials", "What was tried", ())
    fates = _fates(outcomes)
    rungs = list(dict.fromkeys(o.task.rung for o in outcomes))
    objectives = story.presets.objectives
    dots = [(o.task.rung, objectives.score(o), fate) for o, fate in zip(outcomes, fates, strict=True)]
    lead = (
        f"{len(outcomes)} trainings on {len(rungs)} rungs of increasing length; the better ones of a rung "
        "are trained again, longer, on the next. Scores are on validation, which chose; the test split "
        "was not looked at."
    )
    scores = ("AP",) if objectives.is_ap else (objectives.first.text, "AP")
    columns = ("trial", "rung", *scores, "fate", *MAIN_CHOICES.values(), "steps", "time", "how it came about")
    first = 2 + len(scores)
    words = frozenset({0, 1, *range(first, first + 1 + len(MAIN_CHOICES)), len(columns) - 1})
    rows = tuple(_trial_row(o, fate, objectives) for o, fate in zip(outcomes, fates, strict=True))
    winner = story.ladder.finalists[0].task.name
    marked = frozenset(k for k, o in enumerate(outcomes) if o.task.name == winner)
    blocks: list[Block] = [
        Text(lead),
        *_rung_zero(story),
        Figure(
            charts.trials(dots, rungs, measure(objectives.first.text)),
            "Each dot is a training. Rungs differ in length, so a rung is compared with itself only.",
        ),
        *_front(story),
        *_agreement(story),
        *_standings(story),
        Table(columns, rows, words, "All trials of the search", marked, folded=len(rows) > 12),
    ]
    rates = tuple(
        (o.task.name, number(o.ap), plain(o.task.job.strategy.optimisation.optimizer.lr), o.task.origin)
        for o in story.presets.rates
    )
    if rates:
        caption = "Short trainings that gave each preset its best learning rate for this run's length"
        blocks.append(Table(("trial", "AP", "learning rate", "what"), rates, frozenset({0, 3}), caption, folded=True))
    return Section("trials", "What was tried", tuple(blocks))


def _rung_zero(story: Story) -> list[Block]:
    """What was drawn and not trained."""
    found = story.ladder.rung_zero
    if not found.drawn:
        return []
    examples = "".join(f" For example, {each}." for each in found.examples)
    words = found.words()
    return [Text(f"{words[0].upper()}{words[1:]}.{examples}")]


def _fates(outcomes: Sequence[Outcome]) -> list[str]:
    """What became of each trial: diverged, failed, promoted to a later rung, finalist, or not promoted."""
    last = outcomes[-1].task.rung
    rungs = list(dict.fromkeys(o.task.rung for o in outcomes))
    fates: list[str] = []
    for outcome in outcomes:
        later = rungs[rungs.index(outcome.task.rung) + 1 :]
        strategies = [o.task.job.strategy for o in outcomes if o.task.rung in later[:1]]
        if outcome.status != "done":
            fates.append(outcome.status)
        elif outcome.task.rung == last:
            fates.append("finalist")
        else:
            fates.append("promoted" if outcome.task.job.strategy in strategies else "not promoted")
    return fates


def _trial_row(outcome: Outcome, fate: str, objectives: Objectives) -> tuple[str, ...]:
    values = flatten(outcome.task.job.strategy)
    asked = () if objectives.is_ap else (number(objectives.score(outcome)),)
    return (
        outcome.task.name,
        outcome.task.rung,
        *asked,
        number(outcome.ap),
        fate,
        *(plain(values.get(path)) for path in MAIN_CHOICES),
        str(outcome.task.job.steps),
        duration(outcome.seconds),
        outcome.task.origin + (f"; {outcome.message}" if outcome.message else ""),
    )


def _front(story: Story) -> list[Block]:
    """Full trainings that none other beats on every objective; drawn by the first two of them."""
    points = story.results.front
    if not points:
        return []
    names = tuple(points[0].values)
    columns = ("trial", "input, px", *names)
    rows = tuple(
        (p.trial, str(p.strategy.input.size), *(f"{value:.4g}" for value in p.values.values())) for p in points
    )
    others = [each.shown for each in story.ladder.standings if each.name not in {p.trial for p in points}]
    placed = sorted((p.values[names[1]], p.values[names[0]], p.trial) for p in points)
    chart = charts.front(
        [(trial, x, y) for x, y, trial in placed],
        [(values[names[1]], values[names[0]]) for values in others],
        (names[0], ", ".join(filter(None, (names[1], unit_of(names[1]))))),
    )
    return [
        Figure(chart, "The front: no other full training is better on one objective without being worse on another."),
        Table(columns, rows, frozenset({0}), "The front, on validation, as means over seeds."),
    ]


def _standings(story: Story) -> list[Block]:
    """Finalists over their seeds: who was chosen, and how sure that is."""
    rows = tuple(
        (each.name, f"{each.values[0]:.3f} [{each.low:.3f}, {each.high:.3f}]", str(each.seeds))
        for each in story.ladder.standings
    )
    margin = story.results.margin
    said = "" if margin is None else f" Against the default, on validation: {margin.words()}, {margin.verdict}."
    caption = (
        "Finalists, by the lower end of their 95 % interval over seeds; the noise between seeds is pooled with what is "
        f"known from elsewhere.{said} Kept: {story.results.kept}."
    )
    return [Table(("trial", "first objective", "seeds"), rows, frozenset({0}), caption)] if rows else []


def _agreement(story: Story) -> list[Block]:
    """Rank correlation between neighbouring rungs, and what it means."""
    if not story.ladder.agreement:
        return []
    rows = tuple((f"{a.lower} to {a.upper}", str(a.trials), *_correlations(a)) for a in story.ladder.agreement)
    caption = (
        "Did shorter trainings rank strategies as longer ones do? Kendall's tau over the trials that "
        "both rungs hold, and Spearman's rho: +1 the same order, 0 no relation. With few trials they are rough, and "
        "only promoted ones are in them. Believed is tau together with what earlier searches said, with its 95 % "
        "interval: the surer it is that a rung ranks well, the fewer trials go up from it, and the other way round."
    )
    columns = (
        "rungs",
        "trials in both",
        "Kendall's tau",
        "Spearman's rho",
        "believed tau [95 %]",
        "promoted, of the plan",
    )
    return [Table(columns, rows, caption=caption)]


def _correlations(found: RungAgreement) -> tuple[str, ...]:
    measured = ["too few trials" if value is None else f"{value:+.2f}" for value in (found.tau, found.rho)]
    return (*measured, with_interval(found.believed, found.interval95), percent(found.promotion))


def reproduce_section(story: Story) -> Section:
    """The command, the plan, and where the time went."""
    plan, calibration = story.plan, story.plan.calibration
    rungs = tuple(
        (rung.name, str(rung.trials), percent(rung.share), _steps(story.ladder.outcomes, rung.name))
        for rung in plan.rungs
    )
    trained = f"{plan.finalists} promoted, {plan.fresh} new" if plan.fresh else str(plan.finalists)
    final = ("final", trained, percent(1.0), _steps(story.ladder.outcomes, "final"))
    setting = (
        ("budget", duration(plan.budget_s)),
        ("proof", plan.proof),
        ("precision of training", calibration.precision),
        ("trainings side by side", f"{calibration.workers}, one thread each"),
        ("processor", calibration.hardware),
        ("speed", f"{calibration.seconds_per_gflop:.4g} s a GFLOP of training, with all workers busy"),
        ("compute of a full training", f"{plan.full_gflops:,.0f} GFLOPs of forward passes"),
        ("kept in reserve", duration(plan.reserve_s)),
        ("seeds", plain(sorted({o.task.job.seed for o in story.ladder.outcomes}))),
        ("fingerprint of the data", story.dataset.fingerprint()),
    )
    seconds = tuple((name, duration(value)) for name, value in story.results.seconds.items())
    return Section(
        "reproduce",
        "How to do it again",
        (
            Text(
                "In the same folder the command goes on where a run stopped. In a new folder it searches "
                "again: the plan is made from the machine's speed, so results differ a little."
            ),
            Code(command(story.request.model_dump(mode="json"))),
            Table(
                ("rung", "trainings", "length of a full training", "steps"),
                (*rungs, final),
                caption="The plan, frozen after timing a few steps on this machine.",
            ),
            Table(("setting", "value"), setting, frozenset({0, 1})),
            Table(("what", "wall-clock"), seconds, caption="Where the time went."),
        ),
    )


def _steps(outcomes: Sequence[Outcome], rung: str) -> str:
    """Range of steps: larger inputs get fewer, so that every trial of a rung costs the same."""
    steps = sorted({o.task.job.steps for o in outcomes if o.task.rung == rung})
    if not steps:
        return "-"
    return str(steps[0]) if len(steps) == 1 else f"{steps[0]} to {steps[-1]}"


def command(request: dict[str, Any]) -> str:
    """The command line that asks for the same."""
    words = ["edgehone", "run", str(request.get("data", "DATA"))]
    for name in request.get("boards", ()):
        words += ["--board", str(name)]
    if "budget_s" in request:
        words += ["--budget", f"{request['budget_s']:g}s"]
    for key in (
        "max_drop",
        "format",
        "model",
        "weights",
        "teacher",
        "proof",
        "max_input",
        "latency",
        "measured",
        "compare",
        "workers",
        "seed",
        "store",
        "ray",
        "device",
        "study",
    ):
        value = request.get(key)
        several = cast("list[Any]", value) if isinstance(value, list | tuple) else [value]
        for each in several if value is not None else ():
            words += [f"--{key.replace('_', '-')}", str(each)]
    words += [f"--{key.replace('_', '-')}" for key in ("int8", "same_data") if request.get(key)]
    words += _selection_words(request) + scope_words(request)
    return shlex.join([*words, "--out", "runs/again"])


def _selection_words(request: dict[str, Any]) -> list[str]:
    """Classes that were joined, dropped or ignored."""
    selection = cast("dict[str, Any]", request.get("selection") or {})
    words: list[str] = []
    for name, parts in selection.get("merge", {}).items():
        words += ["--merge", f"{name}={','.join(parts)}"]
    for option in ("drop", "ignore"):
        if selection.get(option):
            words += [f"--{option}", ",".join(selection[option])]
    return words


def scope_words(request: dict[str, Any]) -> list[str]:
    """Objectives, and how the search was narrowed."""
    scope = cast("dict[str, Any]", request.get("scope") or {})
    words: list[str] = []
    for objective in request.get("objectives", ()):
        words += ["--objective", str(objective)]
    if scope.get("searcher", "informed") != "informed":
        words += ["--searcher", str(scope["searcher"])]
    for assignment in scope.get("fix", ()):
        words += ["--fix", str(assignment)]
    if scope.get("only"):
        words += ["--only", ",".join(scope["only"])]
    for name in scope.get("leave_out", ()):
        words += ["--leave-out", str(name)]
    return words + [f"--{flag}" for flag in ("blind", "deterministic") if scope.get(flag)]
