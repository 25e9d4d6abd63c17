"""What the commands that look at data show; needs no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from edgehone.data import Dataset, Finding
from edgehone.data.checks import CHECKS
from edgehone.data.doctor import Checkup
from edgehone.types import Json

if TYPE_CHECKING:
    from edgehone.analysis.data_space import DataProfile
    from edgehone.analysis.label_review import Review
    from edgehone.data.doctor.repair import Repair
    from edgehone.data.reading import Watch

SHOWN = 5
SUSPECTS = 10
COLOURS = {"error": "red", "warning": "yellow", "note": "dim"}


@contextmanager
def progress(console: Console, what: str) -> Generator[Watch]:
    """A bar on a terminal that counts what is done; nothing elsewhere."""
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn(what))
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=None)

        def watch(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield watch


def finding_summary(finding: Finding) -> Json:
    """A finding as ``check --json`` prints it."""
    return {
        "code": finding.code,
        "severity": finding.severity,
        "where": finding.where,
        "message": finding.message,
        "remedy": finding.remedy,
        "image": finding.sample or None,
        "boxes_xyxy": [list(box) for box in finding.boxes_xyxy],
        "related": list(finding.related),
    }


def dataset_summary(dataset: Dataset) -> dict[str, Json]:
    """The part of ``check --json`` that says what the data is."""
    everything = [sample for samples in dataset.splits.values() for sample in samples]
    return {
        "format": dataset.format,
        "images": len(everything),
        "boxes": sum(len(sample.classes) for sample in everything),
        "ignored": sum(len(sample.ignored_xyxy) for sample in everything),
        "classes": list(dataset.class_names),
        "splits": {name: len(samples) for name, samples in dataset.splits.items()},
    }


def checkup_summary(checkup: Checkup, repair: Repair | None, review: Review | None) -> Json:
    """The shape of ``check --json``."""
    content = {
        **dataset_summary(checkup.dataset),
        "counts": checkup.counts,
        "findings": [finding_summary(finding) for finding in checkup.findings],
    }
    if repair is not None:
        content["repair"] = {"description": str(repair.written.description), "changes": repair.changes}
    if review is not None:
        content["review"] = review.model_dump(mode="json")
    return content


def print_dataset(console: Console, dataset: Dataset) -> None:
    """What was read."""
    summary = dataset_summary(dataset)
    splits = ", ".join(f"{name} {count:,}" for name, count in summary["splits"].items())
    ignored = f", {summary['ignored']:,} regions to ignore" if summary["ignored"] else ""
    console.print(
        f"{escape(dataset.name)}: {dataset.format}, {summary['images']:,} images ({splits}), "
        f"{summary['boxes']:,} boxes{ignored}"
    )
    console.print("classes: " + escape(", ".join(dataset.class_names)))


def print_profile(console: Console, profile: DataProfile) -> None:
    """The facts in tables; ``--json`` has all of them."""
    sizes = Table(title="object sizes, sqrt(area) in px of a stretched input")
    for column in ("input", "5 %", "median", "95 %", "small", "medium", "large", "below 8 px cell", "16", "32"):
        sizes.add_column(column, justify="right")
    for facts in profile.sizes:
        quantiles = [f"{facts.side_px[key]:.0f}" for key in ("5 %", "50 %", "95 %")]
        shares: list[float] = [facts.small, facts.medium, facts.large, *facts.below_stride.values()]
        sizes.add_row(str(facts.input_size), *quantiles, *[f"{100 * share:.0f} %" for share in shares])
    classes = Table(title="classes in the training split")
    for column in ("class", "boxes", "pictures", f"median px at {profile.sizes[-1].input_size}"):
        classes.add_column(column, justify="left" if column == "class" else "right")
    medians = profile.sizes[-1].side_px_by_class
    for name, count in profile.classes.items():
        median = f"{medians[name]:.0f}" if name in medians else "-"
        classes.add_row(escape(name), f"{count:,}", f"{profile.images_by_class[name]:,}", median)
    console.print(sizes, classes)
    pixels = profile.pixels
    different = "not counted" if pixels.different_images is None else f"{pixels.different_images:,}"
    for name, value in {
        "objects in a picture": f"{profile.boxes_per_image_mean:.1f} on average, at most {profile.boxes_per_image_max}",
        "pictures without objects": f"{profile.empty_images:,}",
        "objects that overlap another (IoU above 0.3)": f"{100 * profile.crowded_fraction:.1f} %",
        "objects cut by the picture's edge": f"{100 * profile.cut_fraction:.1f} %",
        "width / height": f"{profile.aspect['5 %']:.2f} to {profile.aspect['95 %']:.2f} (5 to 95 %)",
        "commonest class over rarest": f"{profile.imbalance:.1f}",
        "brightness of 255": f"{pixels.brightness.mean:.0f} (standard deviation {pixels.brightness.spread:.0f})",
        "pictures without colour": f"{100 * pixels.gray.mean:.0f} % of {pixels.read:,} looked at",
        "pictures that differ": f"{different} of {profile.splits['train']['images']:,} in the training split",
        "validation against training": f"classes {100 * profile.shift['classes']:.0f} points, "
        f"sizes {100 * profile.shift['sizes']:.0f} points, brightness {profile.shift['brightness']:+.1f} deviations",
    }.items():
        console.print(f"{name}: {value}")


def print_checkup(console: Console, checkup: Checkup, repair: Repair | None) -> None:
    """What is in the data, what is wrong with it, and what to do."""
    print_dataset(console, checkup.dataset)
    by_code: dict[str, list[Finding]] = {}
    for finding in checkup.findings:
        by_code.setdefault(finding.code, []).append(finding)
    for code, findings in by_code.items():
        check, count = CHECKS[code], checkup.counts[code]
        colour = COLOURS[check.severity]
        times = f" ({count:,} times)" if count > 1 else ""
        console.print(f"[{colour}]{check.severity}[/{colour}] [bold]{code}[/bold]{times}: {escape(check.means)}")
        for finding in findings[:SHOWN]:
            place = f"{escape(finding.where)}: " if finding.where else ""
            console.print(f"    {place}{escape(finding.message)}", soft_wrap=True)
        if count > SHOWN:
            console.print(f"    and {count - SHOWN:,} more; --json lists them")
        console.print(f"    -> {escape(check.remedy)}", soft_wrap=True)
    tally = ", ".join(
        f"{sum(n for code, n in checkup.counts.items() if CHECKS[code].severity == kind):,} {kind}s" for kind in COLOURS
    )
    console.print(tally)
    if repair is not None:
        console.print(
            f"repaired copy: {repair.written.description}, {repair.changes:,} changes in its ledger.json",
            soft_wrap=True,
        )


def print_review(console: Console, review: Review | None) -> None:
    """Labels that trained detectors contradict, most suspicious first."""
    if review is None:
        return
    kinds = Counter(suspect.kind for suspect in review.suspects)
    tally = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items()) or "nothing"
    console.print(f"labels that {', '.join(review.detectors)} contradict: {tally}", soft_wrap=True)
    for suspect in review.suspects[:SUSPECTS]:
        box = ", ".join(f"{v:.0f}" for v in suspect.box_xyxy)
        console.print(
            f"    {suspect.rank:.2f} {escape(suspect.sample)} at ({box}): {escape(suspect.sentence)}", soft_wrap=True
        )
    if len(review.suspects) > SUSPECTS:
        console.print(f"    and {len(review.suspects) - SUSPECTS:,} more; --page shows them, --json lists them")
    if review.not_judged:
        console.print(f"not judged, too little known: {escape(', '.join(review.not_judged))}")
    console.print(review.note, soft_wrap=True)
