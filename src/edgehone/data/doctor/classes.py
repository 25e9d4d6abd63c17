"""Classes: unused, rare, missing from a split, out of balance; and pictures without any."""

from __future__ import annotations

import re

import numpy as np

from edgehone.data.checks import Findings
from edgehone.data.doctor.view import SPLITS, View
from edgehone.data.samples import Samples

RARE_BOXES = 20
IMBALANCE = 50
EMPTY_SHARE = 0.5


def check_classes(view: View, findings: Findings) -> None:
    """Every check of classes."""
    _names(view, findings)
    owners = view.splits[view.labels.images()]
    counts = np.stack(
        [np.bincount(view.labels.classes[owners == k], minlength=len(view.class_names)) for k in range(len(SPLITS))]
    )
    for number, name in enumerate(view.class_names):
        _amounts(name, counts[:, number].tolist(), findings)
    train = counts[0][counts[0] > 0]
    if len(train) > 1 and train.max() > IMBALANCE * train.min():
        most, least = (
            view.class_names[int(k)] for k in (counts[0].argmax(), np.flatnonzero(counts[0] == train.min())[0])
        )
        findings.add("class-imbalance", "train", f"{train.max():,} boxes of {most}, {train.min():,} of {least}")
    _empty(view, findings)


def _names(view: View, findings: Findings) -> None:
    alike: dict[str, list[str]] = {}
    for name in view.class_names:
        alike.setdefault(re.sub(r"[\W_]+", "", name).casefold() or name, []).append(name)
    for names in alike.values():
        if len(names) > 1:
            findings.add("class-names-alike", "", ", ".join(repr(name) for name in names))


def _amounts(name: str, counts: list[int], findings: Findings) -> None:
    """A class's boxes in each split."""
    if not sum(counts):
        findings.add("class-unused", name, "no box in any split")
        return
    absent = [split for split, count in zip(SPLITS, counts, strict=True) if not count]
    if absent:
        had = ", ".join(f"{split} {count}" for split, count in zip(SPLITS, counts, strict=True))
        findings.add("class-absent", name, f"no box in {' or '.join(absent)} ({had})")
    if 0 < counts[0] < RARE_BOXES:
        findings.add("class-rare", name, f"{counts[0]} boxes to learn from; {RARE_BOXES} are few")


def _empty(view: View, findings: Findings) -> None:
    empty = np.diff(view.labels.starts) == 0
    for picture in np.flatnonzero(empty).tolist():
        # That a picture has no label file at all has been said.
        if not isinstance(view.samples, Samples) or view.samples.units[picture]:
            findings.add("image-without-objects", view.id(picture), "labelled, but no object", sample=view.id(picture))
    training = empty[view.splits == 0]
    if len(training) and training.mean() > EMPTY_SHARE:
        findings.add("mostly-empty", "train", f"{100 * training.mean():.0f} % of {len(training):,} pictures")
