"""What the command line shows of explanations and stores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgehone.search.explanation import Ablation, Explanation
from edgehone.search.importance import Importances
from edgehone.search.objective import measure
from edgehone.search.rule_verdicts import RuleVerdict
from edgehone.search.store import StoreEntry

SHOWN = 8


def print_explanation(console: Console, explanation: Explanation) -> None:
    """The path from default to winner, what the scores hang on, and the rules' verdicts."""
    if explanation.ablation is not None:
        _print_ablation(console, explanation.ablation, measure(explanation.objective))
    _print_importances(console, explanation.importances, measure(explanation.objective))
    if explanation.rules:
        _print_rules(console, explanation.rules, measure(explanation.objective))


def _table(title: str, columns: Sequence[str], words: Sequence[str]) -> Table:
    table = Table(title=escape(title))
    for column in columns:
        table.add_column(escape(column), justify="left" if column in words else "right", no_wrap="[" in column)
    return table


def _print_ablation(console: Console, ablation: Ablation, measured: str) -> None:
    length = f"{100 * ablation.share:.0f} % of a full training each"
    columns = ("", "change", f"{measured} on validation", "gain [95 %]", "verdict")
    table = _table(f"from {ablation.base} to the winner, {length}", columns, ("change", "verdict"))
    table.add_row("", escape(ablation.base), f"{ablation.base_told:.3f}", "", "")
    for number, step in enumerate(ablation.steps, 1):
        value, difference, (low, high) = step.told()
        text = "; ".join(change.text for change in step.changes)
        gain = f"{difference:+.3f} [{low:+.3f}, {high:+.3f}]"
        table.add_row(str(number), escape(text), f"{value:.3f}", gain, step.effect)
    console.print(table)


def _print_importances(console: Console, found: Importances, measured: str) -> None:
    if not found.dimensions:
        console.print(f"{found.trials} trials of equal length do not tell which settings the scores hang on")
        return
    columns = ("setting", "share of variance [90 %]", "best tried", "worst tried", "above chance")
    title = f"what {measured} hangs on, by {found.trials} trials of rung {found.rung}"
    table = _table(title, columns, ("setting", "best tried", "worst tried", "above chance"))
    for each in found.dimensions[:SHOWN]:
        low, high = (100 * value for value in each.interval90)
        share = f"{100 * each.share:.1f} % [{low:.1f}, {high:.1f}]"
        values = (escape(_value(value)) for value in (each.best, each.worst))
        table.add_row(each.path, share, *values, "yes" if each.stands_out else "no")
    console.print(table)


def _print_rules(console: Console, rules: Sequence[RuleVerdict], measured: str) -> None:
    columns = ("rule", "trials with", "without", f"{measured} gained [95 %]", "verdict")
    table = _table("what the rules claimed, held against the trials", columns, ("rule", "verdict"))
    for rule in rules:
        gained = "-" if rule.difference is None else f"{rule.difference:+.3f}"
        if rule.interval95 is not None:
            gained += f" [{rule.interval95[0]:+.3f}, {rule.interval95[1]:+.3f}]"
        claim = escape(f"{rule.path} = {_value(rule.value)}")
        table.add_row(claim, str(rule.followed), str(rule.departed), gained, rule.verdict)
    console.print(table)


def print_store(console: Console, place: str, entries: Sequence[StoreEntry], shipped: int) -> None:
    """A row a search; the shipped ones come last."""
    columns = ("data", "model", "AP found", "gain [95 %]", "trials", "object, share of side", "when")
    table = _table(place, columns, ("data", "model", "when"))
    for k, entry in enumerate(entries):
        best = next((s for s in entry.strategies if s.found), None)
        gain = "-"
        if entry.gain is not None and entry.gain_interval95 is not None:
            gain = f"{entry.gain:+.3f} [{entry.gain_interval95[0]:+.3f}, {entry.gain_interval95[1]:+.3f}]"
        with_package = " (shipped)" if k >= len(entries) - shipped else ""
        table.add_row(
            escape(entry.data.name + with_package),
            escape(entry.model),
            "-" if best is None else f"{best.validation_ap:.3f}",
            gain,
            str(entry.trials),
            f"{100 * entry.likeness.side_p50:.1f} %",
            entry.provenance.date,
        )
    console.print(table if entries else f"{escape(place)}: no search yet")


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
