"""What ``edgehone analyse`` shows: the three analyses and what the rules make of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgehone.analysis import AlignmentFacts, CapacityProfile, ProbeFacts, Profile
from edgehone.analysis.projection import ProjectionFacts
from edgehone.search.advice import advice, main_loss
from edgehone.space import Prior
from edgehone.types import Json


def analysis_summary(profile: Profile, priors: tuple[Prior, ...]) -> Json:
    """The shape of ``analyse --json``."""
    rules: list[dict[str, Any]] = []
    for prior in priors:
        row = prior.model_dump(mode="json", exclude={"kind", "value", "values"})
        row[prior.kind] = prior.value if prior.kind == "prefer" else list(prior.values)
        rules.append(row)
    return {
        "data": profile.data.model_dump(mode="json"),
        "capacity": profile.capacity.model_dump(mode="json"),
        "projection": {
            "candidates": [facts.model_dump(mode="json") for facts in profile.projection],
            "alignment": [facts.model_dump(mode="json") for facts in profile.alignment],
        },
        "rules": rules,
        "advice": list(advice(profile)),
    }


def print_analysis(console: Console, profile: Profile, priors: tuple[Prior, ...]) -> None:
    """Capacity and projection facts, and rules; the rest is in ``--json``."""
    print_capacity(console, profile.capacity)
    print_projection(console, profile.projection)
    print_alignment(console, profile.alignment)
    for text in advice(profile):
        console.print(f"advice: {escape(text)}")
    for prior in priors:
        if prior.kind == "prefer":
            console.print(
                f"prefer {prior.path} = {prior.value} ({100 * prior.confidence:.0f} %): {escape(prior.because)}"
            )
        else:
            console.print(f"forbid {prior.path} {', '.join(map(str, prior.values))}: {escape(prior.because)}")


def print_projection(console: Console, projections: Sequence[ProjectionFacts]) -> None:
    """What survives the way into the lattice, and whose loss is heard at the first step."""
    table = Table(title="knowledge projection: what a perfect network could reach, and who is heard at the start")
    names = ("projection", "input px", "ceiling AP", "lost", "mostly by", "positives an object", "of small ones")
    for column in (*names, "small objects' loss", "background's"):
        table.add_column(column, justify="left" if column in ("projection", "mostly by") else "right")
    for facts in projections:
        start = facts.start
        small = facts.positives_by_size.get("small")
        table.add_row(
            facts.label,
            str(facts.input_size),
            f"{facts.ceiling_ap:.3f}",
            f"{100 * facts.lost_fraction:.1f} %",
            main_loss(facts) or "-",
            f"{facts.positives_per_object:.1f}",
            "-" if small is None else f"{small:.1f}",
            _percent(None if start is None else start.loss.by_size.get("small")),
            _percent(None if start is None else start.loss.by_size.get("background")),
        )
    console.print(table)


def print_alignment(console: Console, alignment: Sequence[AlignmentFacts]) -> None:
    """How far what each head reads tells apart what it is asked for."""
    if not alignment:
        return
    first = alignment[0]
    table = Table(
        title=f"alignment of the heads' features with their targets at {first.input_size} px, {first.pictures} "
        "pictures (and positive cells); it describes, no rule uses it"
    )
    table.add_column("projection")
    for head in first.heads:
        table.add_column(f"{head.stride} px, untrained", justify="right")
        if first.steps:
            table.add_column(f"{head.stride} px, {first.steps} steps", justify="right")
    for facts in alignment:
        values = [
            "-" if value is None else f"{value:.3f} ({head.cells})"
            for head in facts.heads
            for value in ((head.before, head.after) if first.steps else (head.before,))
        ]
        table.add_row(facts.label, *values)
    console.print(table)


def print_capacity(console: Console, capacity: CapacityProfile) -> None:
    """What each head sees of the data, at the largest input size, and what a probe found."""
    size = max(capacity.bflops)
    table = Table(title=f"capacity: {capacity.parameters / 1e6:.2f} million parameters, heads at {size} px")
    names = ("stride px", "receptive field px", "68 % of it px", "95 % of it px", "below a cell", "beyond the field")
    for column in (*names, "within 95 %", "effective rank"):
        table.add_column(column, justify="right")
    measured = capacity.measured
    rows = [row for row in capacity.coverage if row.input_size == size]
    for k, head in enumerate(capacity.heads):
        field = "all" if head.receptive_field_px == 0 else str(head.receptive_field_px)
        reach = None if measured is None else measured.effective_fields[k]
        rank = None if measured is None else measured.feature_ranks[k]
        seen = ("-", "-") if reach is None else (str(reach.holds_68_px), str(reach.holds_95_px))
        row = rows[k] if rows else None
        shares = (None,) * 3 if row is None else (row.smaller_than_cell, row.larger_than_field, row.within_effective)
        of = "-" if rank is None else f"{rank.effective_rank:.0f} of {rank.channels}"
        table.add_row(str(head.stride), field, *seen, *(_percent(share) for share in shares), of)
    console.print(table)
    if capacity.probe is not None:
        print_probe(console, capacity.probe)


def print_probe(console: Console, probe: ProbeFacts) -> None:
    """A row for each training of the ladder."""
    plan = probe.plan
    table = Table(
        title=f"probe: {plan.pictures} pictures learned in {plan.steps} steps at {plan.input_size} px, found again"
    )
    sizes = list(probe.objects)
    by_size = [f"{size} ({count})" for size, count in probe.objects.items()]
    for column in ("augmentation", "F1", "found", "at any score", *by_size):
        table.add_column(column, justify="right")
    for rung in probe.rungs:
        shares = (rung.fitted.overall, rung.ceiling.overall, *(rung.fitted.by_size[size] for size in sizes))
        table.add_row(f"{rung.strength:.2f}", f"{rung.f1:.3f}", *(_percent(share) for share in shares))
    console.print(table)
    if probe.fits_up_to is not None:
        console.print(f"it still fits at an augmentation strength of {probe.fits_up_to:.2f}")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
