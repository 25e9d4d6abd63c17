"""The part of the page about why: what the scores hang on, whether the rules were right, from default to winner."""

from __future__ import annotations

from edgehone.report import charts
from edgehone.report.content import Block, Figure, Section, Table, Text
from edgehone.report.story import number, percent, plain, with_interval
from edgehone.search.explanation import Ablation, Explanation, Step
from edgehone.search.importance import Importances
from edgehone.search.objective import measure

ANCHOR = "explanation"
SHOWN = 12
"""Dimensions in the chart."""


def explanation_section(explanation: Explanation) -> Section:
    """Everything that is known about why; the path from default to winner where it was trained."""
    blocks: list[Block] = []
    measured = measure(explanation.objective)
    if explanation.ablation is not None:
        blocks += _ablation_blocks(explanation.ablation, measured)
    blocks += _importance_blocks(explanation.importances, measured)
    if explanation.rules:
        blocks += _rule_blocks(explanation, measured)
    return Section(ANCHOR, "What made the difference", tuple(blocks))


def _ablation_blocks(ablation: Ablation, measured: str) -> list[Block]:
    steps = ablation.steps
    lead = (
        f"From {ablation.base} to the winner, one change at a time, each trained for {percent(ablation.share)} of a "
        "full training and scored on validation. An interval is over pictures; the chance of a single training is not "
        "in it, so a small step may turn out otherwise with another seed, or in another order."
    )
    rows: list[tuple[str, float, float, str]] = [(ablation.base, 0.0, ablation.base_told, "whole")]
    before = ablation.base_told
    for step in steps:
        rows.append((_short(step), before, step.told()[0], step.effect))
        before = step.told()[0]
    rows.append(("winner", 0.0, before, "whole"))
    columns = ("step", "what changes", measured, "gain [95 %]", "verdict")
    cells = tuple(
        (str(k), "; ".join(change.text for change in step.changes), number(step.told()[0]), _gain(step), step.effect)
        for k, step in enumerate(steps, 1)
    )
    return [
        Text(lead, "From default to winner."),
        Figure(charts.waterfall(rows, f"{measured} on validation"), "Each bar begins where the one above it ends."),
        Table(columns, cells, frozenset({0, 1, 4}), "The steps; a part is exchanged with all its settings."),
    ]


def _short(step: Step) -> str:
    first = step.changes[0].path
    return first if len(step.changes) == 1 else f"{len(step.changes)} smaller changes"


def _gain(step: Step) -> str:
    _, difference, (low, high) = step.told()
    return f"{difference:+.3f} [{low:+.3f}, {high:+.3f}]"


def _importance_blocks(found: Importances, measured: str) -> list[Block]:
    if not found.dimensions:
        text = f"{found.trials} trials of equal length do not tell which settings the scores hang on."
        return [Text(text, "Importance.")]
    standing = [d.path for d in found.dimensions if d.stands_out]
    agreement = "unknown" if found.agreement is None else f"{found.agreement:+.2f}"
    verdict = f"Above chance: {', '.join(standing)}." if standing else "No setting stands out from chance."
    lead = (
        f"Share of the variance of {measured} that a setting explains by itself, over the {found.trials} trials of "
        f"rung {found.rung}, by a forest fitted to them. {verdict} On trials that it was not shown, the forest's rank "
        f"correlation with it is {agreement}: near 0 it knows nothing."
    )
    shown = found.dimensions[:SHOWN]
    bars = [(d.path, d.share, *d.interval90) for d in shown]
    caption = "Lines are 90 % intervals over draws of trials; what ends left of the dashed line is no more than chance."
    rows = tuple(
        (d.path, percent(d.share), plain(d.best), plain(d.worst), number(d.effect), plain(d.stands_out)) for d in shown
    )
    columns = ("setting", "share", "best tried", "worst tried", f"{measured} between them", "above chance")
    return [
        Text(lead, "Importance."),
        Figure(charts.shares(bars, found.floor, f"share of the variance of {measured}, %"), caption),
        Table(columns, rows, frozenset({0, 2, 3, 5}), "The settings in numbers", folded=True),
    ]


def _rule_blocks(explanation: Explanation, measured: str) -> list[Block]:
    rules, rung = explanation.rules, explanation.importances.rung
    tested = [rule for rule in rules if rule.verdict != "not tested"]
    counts = {verdict: sum(rule.verdict == verdict for rule in rules) for verdict in ("borne out", "contradicted")}
    lead = (
        f"Trials of rung {rung} that follow a rule against those that do not: {counts['borne out']} of {len(rules)} "
        f"rules were borne out, {counts['contradicted']} contradicted; {len(rules) - len(tested)} were not tested: all "
        "trials follow them, or none does. Trials differ in other settings, too, and of twenty rules that do nothing "
        "one is expected outside its interval."
    )
    columns = (
        "setting",
        "rule says",
        "sure",
        "trials with",
        "without",
        f"difference of {measured} [95 %]",
        "verdict",
    )
    rows = tuple(
        (
            rule.path,
            plain(rule.value),
            f"{100 * rule.confidence:.0f} %",
            str(rule.followed),
            str(rule.departed),
            "-" if rule.difference is None else with_interval(rule.difference, rule.interval95),
            rule.verdict,
        )
        for rule in tested
    )
    caption = "What each tested rule claimed, and whether the trials bear it out"
    return [
        Text(lead, "Were the rules right?"),
        *([Table(columns, rows, frozenset({0, 1, 6}), caption)] if rows else []),
    ]
