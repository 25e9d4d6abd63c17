"""The parts of the page about what was measured before anything was trained."""

from __future__ import annotations

from collections.abc import Sequence

from edgehone.analysis import AlignmentFacts, CapacityProfile, DataProfile
from edgehone.analysis.data_space import SizeFacts
from edgehone.analysis.projection import ProjectionFacts
from edgehone.report import charts
from edgehone.report.content import Block, Fact, Facts, Figure, Section, Table, Text
from edgehone.report.story import Story, number, percent, plain
from edgehone.search.advice import advice, main_loss


def data_section(story: Story) -> Section:
    """The data space: splits, classes, sizes at the chosen input."""
    data = story.profile.data
    strides = [head.stride for head in story.profile.capacity.heads]
    blocks: list[Block] = [_split_table(data), _data_facts(data)]
    edges = [share * story.input_px for share in data.size_histogram.edges_share]
    blocks.append(
        Figure(
            charts.size_histogram(data.size_histogram.counts, edges, sorted(strides)),
            f"Object sizes in train and validation at the chosen input of {story.input_px} px. A head "
            "answers once per cell of its stride: objects smaller than a cell share it with others and "
            "are hard to place.",
        )
    )
    size = next((facts for facts in data.sizes if facts.input_size == story.input_px), None)
    if size is not None:
        blocks += [_load_table(size), _class_table(data, size)]
    if len(data.classes) > 1:
        blocks.append(
            Figure(
                charts.class_bars({k: float(v) for k, v in data.classes.items()}, "objects in the training split"),
                f"The commonest class has {data.imbalance:g} times the objects of the rarest.",
            )
        )
    findings = tuple((f.severity, f.code, f.where, f.message, f.remedy) for f in story.dataset.findings)
    if findings:
        columns = ("severity", "finding", "where", "what", "what was done or is to do")
        words = frozenset(range(5))
        caption = f"What reading the data found ({len(findings)}; edgehone check says more)"
        blocks.append(Table(columns, findings[:200], words, caption, folded=True))
    return Section("data", "The data, measured", tuple(blocks))


def _split_table(data: DataProfile) -> Table:
    rows = tuple(
        (name, f"{counts.get('images', 0):,}", f"{counts.get('boxes', 0):,}") for name, counts in data.splits.items()
    )
    return Table(("split", "pictures", "objects"), rows)


def _data_facts(data: DataProfile) -> Facts:
    facts = [
        Fact("objects a picture", f"{data.boxes_per_image_mean:.1f}", f"at most {data.boxes_per_image_max}"),
        Fact("pictures without objects", f"{data.empty_images}", "in the training split"),
        Fact("crowded objects", percent(data.crowded_fraction), "overlap another by an IoU above 0.3"),
        Fact("pictures without colour", percent(data.pixels.gray.mean), f"of {data.pixels.read} looked at"),
    ]
    return Facts(tuple(facts))


def _load_table(size: SizeFacts) -> Table:
    rows = tuple(
        (
            f"{stride} px",
            percent(share),
            percent(size.below_two_strides.get(stride, 0.0)),
            percent(size.load.get(stride, 0.0)),
            number(size.neighbour_cells.get(stride), 1),
        )
        for stride, share in sorted(size.below_stride.items())
    )
    return Table(
        ("stride", "smaller than a cell", "than two cells", "suit this stride best", "nearest neighbour, cells"),
        rows,
        caption=f"Share of objects by stride at an input of {size.input_size} px; mean distance between centres.",
    )


def _class_table(data: DataProfile, size: SizeFacts) -> Table:
    rows = tuple(
        (name, f"{count:,}", number(size.side_px_by_class.get(name), 1)) for name, count in data.classes.items()
    )
    return Table(("class", "objects in training", f"median side at {size.input_size} px, px"), rows)


def capacity_section(story: Story) -> Section:
    """Representational capacity: size, compute, heads."""
    capacity = story.profile.capacity
    facts = [Fact("parameters", f"{capacity.parameters / 1e6:.2f} million")]
    flops = capacity.bflops.get(story.input_px)
    if flops is not None:
        facts.append(Fact("compute a picture", f"{flops:.2f} BFLOPs", f"at {story.input_px} px"))
    facts.append(Fact("weights", f"{capacity.weight_bytes / 2**20:.1f} MiB", "float32"))
    columns = ("stride", "cells", "channels", "receptive field", "effective", "smaller than a cell", "larger than seen")
    caption = (
        "The heads. Channels: features from which a cell answers; receptive field: side of the square that it can "
        "see, in theory; effective: of the square that holds 95 % of what moves its answer, before training; then "
        f"the shares of the objects that are smaller than a cell and larger than the field at {story.input_px} px."
    )
    costs = tuple((f"{size} px", f"{value:.3f}") for size, value in capacity.bflops.items())
    return Section(
        "capacity",
        "The detector, measured",
        (
            Facts(tuple(facts)),
            Table(columns, _head_rows(capacity, story.input_px), caption=caption),
            Table(("input", "BFLOPs a picture"), costs, caption="Compute by input size", folded=True),
        ),
    )


def _head_rows(capacity: CapacityProfile, input_px: int) -> tuple[tuple[str, ...], ...]:
    measured = capacity.measured
    covered = {row.stride: row for row in capacity.coverage if row.input_size == input_px}
    rows: list[tuple[str, ...]] = []
    for k, head in enumerate(capacity.heads):
        row = covered.get(head.stride)
        rows.append(
            (
                f"{head.stride} px",
                f"{input_px // head.stride} x {input_px // head.stride}",
                str(head.channels),
                f"{head.receptive_field_px} px" if head.receptive_field_px else "whole picture",
                "-" if measured is None else f"{measured.effective_fields[k].holds_95_px} px",
                "-" if row is None else percent(row.smaller_than_cell),
                "-" if row is None else percent(row.larger_than_field),
            )
        )
    return tuple(rows)


def projection_section(story: Story) -> Section:
    """Knowledge projection: what a perfect network could reach."""
    projections = story.profile.projection
    if not projections:
        return Section("projection", "The projection, measured", ())
    rows = tuple(
        (
            facts.label,
            str(facts.input_size),
            number(facts.ceiling_ap),
            percent(facts.lost_fraction),
            main_loss(facts) or "-",
            f"{facts.positives_per_object:.1f}",
            number(facts.anchor_fit, 2),
            percent(facts.unowned_fraction),
        )
        for facts in projections
    )
    columns = (
        "projection",
        "input, px",
        "ceiling AP",
        "objects lost",
        "mostly by",
        "positives an object",
        "anchor fit (IoU)",
        "best anchor has no head",
    )
    lead = Text(
        "Labels reach a detector as targets of its cells. The ceiling is the AP of a network that says "
        "exactly what these targets teach: what is lost here, no training brings back. It finds "
        "projections that lose objects; it does not rank the good ones, which all come close to 1."
    )
    details = tuple((facts.label, str(facts.input_size), plain(facts.strategy_diff) or "none") for facts in projections)
    difference = Table(
        ("projection", "input, px", "differs from the Darknet recipe in"),
        details,
        frozenset({0, 2}),
        "What the projections are",
        folded=True,
    )
    told = tuple(Text(text + ".") for text in advice(story.profile))
    aligned = (_aligned(story.profile.alignment),) if story.profile.alignment else ()
    blocks = (lead, Table(columns, rows, frozenset({0, 4})), *told, _heard(projections), *aligned, difference)
    return Section("projection", "The projection, measured", blocks)


def _aligned(alignment: Sequence[AlignmentFacts]) -> Table:
    """How far what each head reads tells apart what it is asked for."""
    first = alignment[0]
    rows = tuple(
        (facts.label, f"{head.stride} px", str(head.cells), number(head.before, 3), number(head.after, 3))
        for facts in alignment
        for head in facts.heads
    )
    after = f"after {first.steps} steps" if first.steps else "after some steps"
    return Table(
        ("projection", "head", "positive cells", "before training", after),
        rows,
        caption=f"Alignment (centred kernel alignment; 1: cells that are taught alike have features alike, 0: one says "
        f"nothing of the other) of what each head reads with its targets, on {first.pictures} pictures at "
        f"{first.input_size} px. It describes; no rule uses it, for nobody has shown that it ranks projections",
        folded=True,
    )


def _heard(projections: Sequence[ProjectionFacts]) -> Table:
    """Whose loss the untrained network hears."""
    sizes = ("small", "medium", "large", "background")
    rows: list[tuple[str, ...]] = []
    for facts in projections:
        if facts.start is None:
            continue
        positives = (facts.positives_by_size.get(size) for size in sizes[:3])
        loss, gradient = facts.start.loss.by_size, facts.start.gradient.by_size
        rows.append(
            (
                facts.label,
                str(facts.input_size),
                *(number(value, 1) for value in positives),
                *(percent(loss.get(size, 0.0)) for size in sizes),
                percent(gradient.get("small", 0.0)),
                number(facts.start.negatives_per_positive, 0),
            )
        )
    columns = ("projection", "input, px", *(f"positives, {size}" for size in sizes[:3]))
    shares = (*(f"loss, {size}" for size in sizes), "gradient, small", "negatives a positive")
    return Table(
        (*columns, *shares),
        tuple(rows),
        caption="Who is heard at the first step: positives an object by size at the input (small is below 32 px, "
        "large from 96 px), shares of the loss and of the gradient",
        folded=True,
    )
