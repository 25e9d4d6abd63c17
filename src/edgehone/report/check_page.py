"""The page of a check: what was read, what is wrong with it, with pictures, and what to do."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgehone.data import Finding
from edgehone.data.checks import CHECKS
from edgehone.data.doctor import SEVERITIES, Checkup
from edgehone.data.doctor.view import SPLITS
from edgehone.report.album import Album, finding_legend, suspect_legend
from edgehone.report.content import (
    Block,
    Fact,
    Facts,
    Gallery,
    Heading,
    Headline,
    Index,
    IndexEntry,
    Legend,
    ReportContent,
    Section,
    Table,
    Text,
)
from edgehone.report.page import write_report

if TYPE_CHECKING:  # analysis imports torch, which a check without detectors does without
    from edgehone.analysis.label_review import Review, Suspect

FORMAT = "format"
PHOTOS = 4
"""Of each kind of finding."""

SUSPECT_PHOTOS = 36
PLACES, FOLDED_PLACES = 5, 100
FOLDED_SUSPECTS = 300
FOLDED_CLASSES = 25
TOLD = 4

KINDS = {
    "missing": ("objects without a label", "Draw the box that is missing, or leave it if there is nothing."),
    "swapped": ("labels of another class", "Decide which class it is."),
    "misplaced": ("boxes that lie elsewhere", "Draw the box anew around the object."),
    "unfound": ("labels of nothing", "Remove the label if there is no object; keep it if it is only hard to see."),
}


def write_check_page(checkup: Checkup, path: Path, review: Review | None = None) -> None:
    """Write what the doctor says, and detectors where they were asked, as one self-contained page.

    Args:
        checkup: of :func:`~edgehone.data.doctor.examine`.
        path: of the HTML file.
        review: of :func:`~edgehone.review.review_run`.
    """
    write_report(check_content(checkup, review), path)


def check_content(checkup: Checkup, review: Review | None) -> ReportContent:
    """Everything that the page shows. Pictures of findings are chosen worst first, while there is space."""
    dataset, album = checkup.dataset, Album(checkup.view)
    suspects = () if review is None else _review_blocks(review, album)
    date = datetime.date.today().isoformat()
    by_code = _by_code(checkup.findings)
    return ReportContent(
        title=f"{dataset.name}: the labels, checked",
        subtitle=f"{date} · edgehone {version('edgehone')} · {dataset.source or 'made in memory'}",
        headline=_headline(checkup, review),
        sections=(
            Section("read", "What was read", _read_blocks(checkup, by_code.get(FORMAT, []))),
            Section("findings", "Findings, worst first", _finding_blocks(checkup, by_code, album)),
            Section("labels", "Labels that trained detectors contradict", suspects),
        ),
        colophon=f"Written by edgehone {version('edgehone')} on {date}. The same as data: edgehone check DATA --json.",
    )


def _by_code(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for finding in findings:
        found.setdefault(finding.code, []).append(finding)
    return found


def _headline(checkup: Checkup, review: Review | None) -> Headline:
    kinds = {grade: [c for c in checkup.counts if c != FORMAT and CHECKS[c].severity == grade] for grade in SEVERITIES}
    facts = [
        Fact("pictures", f"{len(checkup.view.splits):,}"),
        Fact("labelled objects", f"{len(checkup.view.labels.classes):,}"),
        Fact("classes", f"{len(checkup.view.class_names):,}"),
    ]
    facts += [
        Fact(f"{grade}s", f"{sum(checkup.counts[code] for code in codes):,}", _plural(len(codes), "kind"))
        for grade, codes in kinds.items()
    ]
    if review is not None:
        facts.append(Fact("labels to look at", f"{len(review.suspects):,}", "that detectors contradict"))
    if kinds["error"]:
        sentence = f"Something is lost, or would mislead training or its proof: {_told(kinds['error'])}."
        return Headline("worse", sentence, tuple(facts), word="Errors: repair these first")
    if kinds["warning"]:
        sentence = f"Usable. Suspicious, or repaired on reading: {_told(kinds['warning'])}."
        return Headline("tie", sentence, tuple(facts), word="No errors, some warnings")
    return Headline("better", "Nothing here stands in the way of training.", tuple(facts), word="Clean")


def _told(codes: Sequence[str]) -> str:
    """The first few kinds of findings in words."""
    rest = len(codes) - TOLD
    return "; ".join(CHECKS[code].means for code in codes[:TOLD]) + (f"; and {rest:,} more kinds" if rest > 0 else "")


def _plural(count: int, word: str) -> str:
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def _read_blocks(checkup: Checkup, formats: Sequence[Finding]) -> tuple[Block, ...]:
    blocks: list[Block] = [Text(f"{f.message} ({f.remedy}).", "Recognised.") for f in formats]
    return (*blocks, _split_table(checkup), _class_table(checkup))


def _split_table(checkup: Checkup) -> Table:
    view = checkup.view
    objects = np.diff(view.labels.starts)
    rows: list[tuple[str, ...]] = []
    for k, name in enumerate(SPLITS):
        mine = view.splits == k
        sizes, times = np.unique(view.labels.sizes[mine], axis=0, return_counts=True)
        shape = ""
        if len(sizes):
            height, width = sizes[times.argmax()].tolist()
            shape = f"{width} x {height}" + (f" and {len(sizes) - 1:,} other sizes" if len(sizes) > 1 else "")
        regions = sum(len(sample.ignored_xyxy) for sample in checkup.dataset.splits[name])
        counts = (int(mine.sum()), int((objects[mine] == 0).sum()), int(objects[mine].sum()), regions)
        rows.append((name, *(f"{count:,}" for count in counts), shape))
    columns = ("split", "pictures", "without objects", "objects", "regions to ignore", "picture size, px (w x h)")
    return Table(columns, tuple(rows), frozenset({0, 5}), "Pictures and objects by split")


def _class_table(checkup: Checkup) -> Table:
    view = checkup.view
    split_of = view.splits[view.labels.images()]
    counts = np.zeros((len(view.class_names), len(SPLITS)), np.int64)
    np.add.at(counts, (view.labels.classes, split_of), 1)
    total = max(1, int(counts.sum()))
    rows = tuple(
        (name, *(f"{n:,}" for n in counts[k]), f"{counts[k].sum():,}", f"{100 * counts[k].sum() / total:.1f} %")
        for k, name in enumerate(view.class_names)
    )
    columns = ("class", *SPLITS, "all", "share")
    folded = len(rows) > FOLDED_CLASSES
    caption = f"Objects by class and split, {len(rows):,} classes" if folded else "Objects by class and split"
    return Table(columns, rows, frozenset({0}), caption, folded=folded)


def _finding_blocks(checkup: Checkup, by_code: dict[str, list[Finding]], album: Album) -> tuple[Block, ...]:
    shown = {code: findings for code, findings in by_code.items() if code != FORMAT}
    if not shown:
        return (Text("None."),)
    entries = tuple(
        IndexEntry(f"finding-{code}", code, CHECKS[code].severity, checkup.counts[code], CHECKS[code].means)
        for code in shown
    )
    blocks: list[Block] = [Index(entries)]
    for code, findings in shown.items():
        blocks += _group(code, findings, checkup.counts[code], album)
    return tuple(blocks)


def _group(code: str, findings: Sequence[Finding], count: int, album: Album) -> list[Block]:
    """One kind of finding: meaning, remedy, pictures, places."""
    check = CHECKS[code]
    blocks: list[Block] = [
        Heading(f"finding-{code}", code, check.severity, _plural(count, "place")),
        Text(f"{check.means[:1].upper()}{check.means[1:]}."),
        Text(f"{check.remedy[:1].upper()}{check.remedy[1:]}.", "What was done, or is to do:"),
    ]
    photos = album.of_findings(findings, PHOTOS)
    if photos:
        if any(finding.boxes_xyxy for finding in findings):
            blocks.append(Legend(finding_legend()))
        blocks.append(Gallery(photos))
    rows = tuple((finding.where, finding.message) for finding in findings)
    columns, words = ("where", "what"), frozenset({0, 1})
    blocks.append(Table(columns, rows[:PLACES], words))
    more = rows[PLACES : PLACES + FOLDED_PLACES]
    if more:
        beyond = count - PLACES - len(more)
        rest = f"; {beyond:,} others: edgehone check DATA --json lists them" if beyond > 0 else ""
        blocks.append(Table(columns, more, words, f"{len(more):,} more{rest}", folded=True))
    return blocks


def _review_blocks(review: Review, album: Album) -> tuple[Block, ...]:
    """What detectors contradict, most suspicious first."""
    counts = Counter(suspect.kind for suspect in review.suspects)
    asked = (
        f"{_plural(len(review.detectors), 'detector')} ({', '.join(review.detectors)}) on {', '.join(review.splits)}."
    )
    blocks: list[Block] = [Text(review.note), Text(asked, "Asked:")]
    if review.not_judged:
        text = f"{', '.join(review.not_judged)}: the detectors find too little of it, or are wrong about it too often."
        blocks.append(Text(text, "Not judged:"))
    if not review.suspects:
        return (*blocks, Text("The detectors contradict no label."))
    blocks.append(
        Facts(tuple(Fact(f"{kind}: {KINDS[kind][0]}", f"{n:,}", KINDS[kind][1]) for kind, n in counts.most_common()))
    )
    blocks += [Legend(suspect_legend()), Gallery(album.of_suspects(review.suspects[:SUSPECT_PHOTOS]))]
    rows = tuple(_suspect_row(k, suspect, album) for k, suspect in enumerate(review.suspects[:FOLDED_SUSPECTS], 1))
    columns = ("", "rank", "kind", "picture", "split", "box, px (x1, y1, x2, y2)", "what")
    beyond = len(review.suspects) - len(rows)
    rest = f" of {len(review.suspects):,}; the others: edgehone check DATA --model RUN --json" if beyond else ""
    caption = f"All of them as a list ({len(rows):,}{rest})"
    blocks.append(Table(columns, rows, frozenset({2, 3, 4, 5, 6}), caption, folded=True))
    return tuple(blocks)


def _suspect_row(number: int, suspect: Suspect, album: Album) -> tuple[str, ...]:
    box = ", ".join(f"{v:.0f}" for v in suspect.box_xyxy)
    split = album.split(suspect.sample)
    return str(number), f"{suspect.rank:.2f}", suspect.kind, suspect.sample, split, box, suspect.sentence
