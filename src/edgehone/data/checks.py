"""Every check of the dataset doctor: code, severity, meaning, remedy. Data; the checks themselves are elsewhere.

A code is stable: scripts may rely on it. ``error``: something is lost or would mislead training or its proof;
``warning``: repaired on reading, or suspicious; ``note``: worth knowing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from edgehone.data.dataset import Finding, Severity

LIMIT = 1000
"""Findings of one code that are kept one by one; beyond, they are only counted."""


Action = Literal["left out", "changed", "kept"]


@dataclass(frozen=True, slots=True)
class Check:
    """A kind of finding.

    Attributes:
        severity: see the module.
        means: what it says, for somebody who meets it for the first time.
        remedy: what was done on reading, and what to do.
        action: what reading or ``--repair`` does about it.
    """

    severity: Severity
    means: str
    remedy: str
    action: Action = "kept"


CHECKS: dict[str, Check] = {
    # what was recognised
    "format": Check("note", "how the data was recognised", "override with --format if this is wrong"),
    # files
    "annotation-unreadable": Check(
        "error", "a label file cannot be parsed", "left out with its picture; repair it", "left out"
    ),
    "encoding": Check("warning", "a text file is not UTF-8", "odd bytes were replaced; save it as UTF-8", "changed"),
    "path-escape": Check(
        "error", "a label names a picture outside the data's folder", "left out; put it inside", "left out"
    ),
    "symlink-loop": Check("warning", "a link leads back to a folder above it", "not followed; remove it", "left out"),
    "symlink-broken": Check("warning", "a link leads nowhere", "left out; repair or remove it", "left out"),
    "name-collision": Check(
        "warning", "names that differ only in case are one file on Windows and macOS", "rename one of them"
    ),
    "name-case": Check("warning", "a label names its picture in another case", "matched; correct the name", "changed"),
    "image-unsupported": Check(
        "warning", "a picture of a kind that is not read", "convert it to PNG or JPEG", "left out"
    ),
    "image-not-listed": Check(
        "note", "pictures that no label file speaks of", "left out; label them or remove them", "left out"
    ),
    # pictures
    "image-empty-file": Check("error", "a picture file of no bytes", "left out; restore or remove it", "left out"),
    "image-unreadable": Check("error", "a picture that cannot be decoded", "left out; repair or remove it", "left out"),
    "image-truncated": Check(
        "error", "a picture file that ends early", "left out where it cannot be decoded; restore it"
    ),
    "image-bomb": Check(
        "error", "a picture of more pixels than any camera takes", "left out; check or remove it", "left out"
    ),
    "image-kind": Check("warning", "a picture's name says another kind than its content", "read by content; rename it"),
    "image-animated": Check("warning", "a picture of several frames", "the first frame counts; export frames"),
    "image-deep": Check("warning", "a picture of more than 8 bits a channel", "scaled to 8 bits; look at its contrast"),
    "image-cmyk": Check("warning", "a picture in print colours (CMYK)", "converted; colours may be off"),
    "image-alpha": Check("note", "a picture with transparency", "transparency is ignored"),
    "image-turned": Check(
        "note", "a picture with an EXIF orientation", "turned on reading; boxes count after turning", "changed"
    ),
    "image-tiny": Check("warning", "a picture with a side below 32 px", "look at it; is it a thumbnail?"),
    "image-blank": Check("warning", "a picture of one colour", "look at it; remove it if it failed"),
    "image-duplicate": Check("warning", "pictures with equal content in one split", "remove all but one", "left out"),
    "image-near-duplicate": Check(
        "note", "pictures that are almost equal in one split", "they teach less than they cost; consider thinning"
    ),
    "label-conflict": Check("error", "equal pictures with different labels", "decide which labels are right"),
    "size-disagrees": Check("warning", "a label file states another picture size", "the picture counts; look at boxes"),
    "size-turned": Check(
        "warning", "a label file states the size before EXIF turning", "the picture counts; look at its boxes"
    ),
    # labels and pictures
    "label-without-image": Check(
        "error", "labels whose picture is missing", "left out; put the picture in its place", "left out"
    ),
    "image-without-label": Check("note", "a picture without a label file", "counts as a picture without objects"),
    "image-labelled-twice": Check(
        "warning", "two annotations of one picture", "the first counts; remove the other", "left out"
    ),
    "annotation-without-image": Check(
        "error", "boxes of an image that the file does not list", "left out; list it", "left out"
    ),
    "id-twice": Check("error", "two images with one id", "the first counts; give each its own id", "left out"),
    "annotation-id-twice": Check("warning", "two annotations with one id", "both count; give each its own id"),
    "image-without-objects": Check("note", "pictures without an object", "they teach what is background: intended?"),
    "mostly-empty": Check("warning", "most training pictures hold no object", "thin them out or label them"),
    # boxes
    "label-line-unreadable": Check("warning", "a line that is no label", "left out; correct the line", "left out"),
    "box-unreadable": Check("warning", "an object without a box of four numbers", "left out; correct it", "left out"),
    "box-not-finite": Check("warning", "a box with NaN or infinity", "left out; correct it", "left out"),
    "box-not-relative": Check(
        "error",
        "a box in pixels where shares of the picture's sides are due",
        "left out; divide by width and height",
        "left out",
    ),
    "box-degenerate": Check("warning", "a box without area", "left out; draw it anew or remove it", "left out"),
    "box-swapped": Check("warning", "a box whose corners are exchanged", "exchanged back; correct it", "changed"),
    "box-outside": Check(
        "warning", "a box with less than a pixel inside its picture", "left out; correct it", "left out"
    ),
    "box-clipped": Check("note", "a box that reaches over the edge", "clipped to the picture", "changed"),
    "box-duplicate": Check("warning", "one object labelled twice with the same box", "remove one", "left out"),
    "box-near-duplicate": Check("warning", "two almost equal boxes of one class", "one object? then remove one"),
    "box-two-classes": Check("warning", "the same box with two classes", "decide for one"),
    "box-tiny": Check("note", "a box with a side below 4 px", "too small to be learnt by most detectors"),
    "box-huge": Check("note", "a box that fills the picture", "is it a label of the whole picture?"),
    "box-aspect": Check("warning", "a box more than 20 times as long as wide", "look at it; anchors cannot reach it"),
    "crowd-region": Check("note", "a box that stands for a crowd", "ignored: neither taught nor punished", "changed"),
    # classes
    "class-out-of-range": Check(
        "error", "an unknown class number or category", "left out; correct or name the class", "left out"
    ),
    "class-missing": Check("warning", "an object without a class", "left out; name its class", "left out"),
    "class-names-missing": Check(
        "warning", "no file names the classes", "numbered; add names to a YAML file", "changed"
    ),
    "class-names-alike": Check(
        "warning", "class names that differ only in case or spaces", "one class? then join them with --merge"
    ),
    "class-unused": Check("warning", "a class without a single box", "remove it with --drop, or label it"),
    "class-rare": Check("warning", "a class with very few boxes to learn from", "label more, or join or drop it"),
    "class-absent": Check(
        "warning", "a class that is learnt but not tested, or the reverse", "spread it over the splits"
    ),
    "class-imbalance": Check(
        "note", "one class has very many more boxes than another", "sampling or weights by class may help"
    ),
    # splits
    "split-drawn": Check(
        "note", "the data has no split of its own", "drawn with a seed; near duplicates together", "changed"
    ),
    "split-missing": Check(
        "warning", "labelled pictures that belong to no split", "left out; name them in a list", "left out"
    ),
    "split-val-missing": Check(
        "warning", "no validation split", "cut from the training pictures with a seed", "changed"
    ),
    "split-test-missing": Check("warning", "no test split", "cut from the training pictures with a seed", "changed"),
    "split-entry-unknown": Check("warning", "a split's list names what is no labelled picture", "left out", "left out"),
    "split-overlap": Check("error", "a picture in the lists of two splits", "kept in the first list", "left out"),
    "split-leak": Check(
        "error", "one picture in two splits", "the test proves nothing for it: keep it in one split", "left out"
    ),
    "split-near-leak": Check(
        "warning", "almost equal pictures in two splits", "results will look better than they are: keep them together"
    ),
    "split-small": Check("warning", "a split too small to tell strategies apart", "add pictures to it"),
    "split-skew": Check("warning", "splits that differ in classes or object sizes", "draw the split anew at random"),
    # what a detector can represent
    "crowded-picture": Check(
        "warning", "more objects in a picture than the 100 detections that count", "cut the picture into tiles"
    ),
    "objects-collide": Check(
        "note",
        "objects of one class and size centred in the same cell",
        "a larger input or a finer head helps",
    ),
    "objects-small": Check(
        "note", "many objects below 8 px at the largest usual input", "cut pictures into tiles, or expect to miss them"
    ),
}
"""By code."""


class Findings:
    """Collects findings, at most ``limit`` of a kind one by one."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.kept: list[Finding] = []
        self.counts: Counter[str] = Counter()

    def add(
        self,
        code: str,
        where: str,
        message: str,
        *,
        sample: str = "",
        boxes: tuple[tuple[float, float, float, float], ...] = (),
        related: tuple[str, ...] = (),
    ) -> None:
        """Note a finding of a known code.

        Args:
            code: one of :data:`CHECKS`.
            where: file, with line or object number where there is one.
            message: what was found.
            sample: id of the picture that shows it.
            boxes: in that picture, ``(x1, y1, x2, y2)`` pixels.
            related: ids of further pictures.
        """
        self.counts[code] += 1
        if self.counts[code] <= self.limit:
            check = CHECKS[code]
            self.kept.append(Finding(code, check.severity, where, message, check.remedy, sample, boxes, related))

    def all(self) -> tuple[Finding, ...]:
        """In the order in which they were found; what went beyond the limit is counted at the end."""
        beyond = [
            Finding(code, CHECKS[code].severity, "", f"and {count - self.limit:,} more of these", CHECKS[code].remedy)
            for code, count in self.counts.items()
            if count > self.limit
        ]
        return (*self.kept, *beyond)
