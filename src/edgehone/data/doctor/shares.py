"""Splits: too small, or different from the training split in classes or object sizes beyond chance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgehone.data.checks import Findings
from edgehone.data.doctor.view import SPLITS, View
from edgehone.data.samples import Columns

FEW_PICTURES = 30
FEW_BOXES = 50
CLASS_SHIFT = 0.15
SIZE_SHIFT = 0.2
DRAWS = 200
RARE_CHANCE = 0.01
MOST_PICTURES = 4000
SIZE_BINS = np.geomspace(0.002, 1.0, 40)

Table = NDArray[np.float64]
"""``[pictures, bins]``: objects of each picture in each bin."""


def check_splits(view: View, findings: Findings) -> None:
    """Every check of how the pictures are divided."""
    boxes = np.bincount(view.splits[view.labels.images()], minlength=len(SPLITS))
    for number, name in enumerate(SPLITS):
        pictures = int((view.splits == number).sum())
        if pictures and (pictures < FEW_PICTURES or boxes[number] < FEW_BOXES):
            message = f"{pictures} pictures with {boxes[number]} boxes; {FEW_PICTURES} and {FEW_BOXES} are few"
            findings.add("split-small", name, message)
    classes = class_table(view.labels, len(view.class_names))
    sizes = size_table(view.labels)
    for number in (1, 2):
        _compare(view, number, "the class shares", (classes, shares_shift, CLASS_SHIFT), findings)
        _compare(view, number, "the object sizes", (sizes, cumulative_shift, SIZE_SHIFT), findings)


Shift = Callable[[Table, Table], float]


def _compare(view: View, split: int, what: str, measure: tuple[Table, Shift, float], findings: Findings) -> None:
    table, shift, limit = measure
    mine, train = np.flatnonzero(view.splits == split), np.flatnonzero(view.splits == 0)
    if len(mine) < FEW_PICTURES or len(train) < FEW_PICTURES:
        return
    rng = np.random.default_rng(0)
    mine, train = (rng.permutation(part)[:MOST_PICTURES] for part in (mine, train))
    found = shift(table[mine], table[train])
    if found <= limit:
        return
    # Pictures, not boxes, are what was drawn: many boxes of one picture are one draw.
    pool = np.concatenate([mine, train])
    by_chance = 0
    for _ in range(DRAWS):
        rng.shuffle(pool)
        by_chance += shift(table[pool[: len(mine)]], table[pool[len(mine) :]]) >= found
    if by_chance < RARE_CHANCE * DRAWS:
        message = (
            f"{what} differ from train by {100 * found:.0f} points, chance alone gives that in fewer than 1 of 100"
        )
        findings.add("split-skew", SPLITS[split], message)


def class_table(labels: Columns, classes: int) -> Table:
    """Objects of each picture by class."""
    return _table(labels, labels.classes, classes)


def size_table(labels: Columns) -> Table:
    """Objects of each picture by sqrt(area) as a share of the input's side, in logarithmic bins."""
    sides = (labels.boxes_xyxy[:, 2:] - labels.boxes_xyxy[:, :2]) / labels.sizes[labels.images()][:, ::-1]
    bins = np.asarray(np.searchsorted(SIZE_BINS, np.sqrt(sides.prod(1)), side="right"), np.int64)
    return _table(labels, bins, len(SIZE_BINS) + 1)


def _table(labels: Columns, bins: NDArray[np.int64], count: int) -> Table:
    table = np.zeros((len(labels.sizes), count))
    np.add.at(table, (labels.images(), bins), 1.0)
    return table


def shares_shift(first: Table, second: Table) -> float:
    """Total variation distance of the shares of the bins: 0 equal, 1 nothing in common."""
    one, two = (part.sum(0) / max(part.sum(), 1) for part in (first, second))
    return float(np.abs(one - two).sum() / 2)


def cumulative_shift(first: Table, second: Table) -> float:
    """Kolmogorov-Smirnov distance: the largest difference of the shares up to a bin."""
    one, two = (np.cumsum(part.sum(0)) / max(part.sum(), 1) for part in (first, second))
    return float(np.abs(one - two).max())
