"""Boxes that a file gives in any order, kept in columns and given back picture by picture."""

from __future__ import annotations

import functools
from array import array

import numpy as np
from numpy.typing import NDArray

from edgehone.data.checks import Findings
from edgehone.data.dataset import RawBox
from edgehone.data.folder import SPLIT_NAMES, Folder

Corners = tuple[float, float, float, float]


class Grouped:
    """Many boxes in little memory."""

    def __init__(self) -> None:
        self.pictures: dict[str, int] = {}
        self.labels: dict[str, int] = {}
        self.at: array[int] = array("q")
        self.label: array[int] = array("q")
        self.corners: array[float] = array("d")
        self.numbers: array[int] = array("q")
        self.ignored: array[int] = array("b")

    def picture(self, key: str) -> int:
        """Make a picture known, with or without boxes."""
        return self.pictures.setdefault(key, len(self.pictures))

    def add(self, key: str, box: RawBox) -> None:
        """A box of a picture, in pixels."""
        self.at.append(self.picture(key))
        self.label.append(self.labels.setdefault(box.label, len(self.labels)))
        self.corners.extend(box.xyxy)
        self.numbers.append(box.number)
        self.ignored.append(box.ignored)

    def of(self, key: str) -> list[RawBox]:
        """The boxes of a picture, in the order of the file. Only when all have been added."""
        place = self.pictures.get(key)
        if place is None:
            return []
        order, starts = self._sorted
        boxes: list[RawBox] = []
        for row in map(int, order[starts[place] : starts[place + 1]]):
            x1, y1, x2, y2 = self.corners[4 * row : 4 * row + 4]
            label, number = self._names[self.label[row]], self.numbers[row]
            boxes.append(RawBox(label, (x1, y1, x2, y2), number, ignored=bool(self.ignored[row])))
        return boxes

    def repeated_numbers(self) -> list[int]:
        """Numbers that several boxes have."""
        values, counts = np.unique(np.array(self.numbers, np.int64), return_counts=True)
        return values[counts > 1].tolist()

    @functools.cached_property
    def _names(self) -> list[str]:
        return list(self.labels)

    @functools.cached_property
    def _sorted(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rows by picture, and where each picture's begin."""
        owners = np.array(self.at, np.int64)
        order = np.argsort(owners, kind="stable")
        return order, np.searchsorted(owners[order], np.arange(len(self.pictures) + 1))


def named_split(name: str) -> str | None:
    """The split in names such as ``instances_train2017``."""
    for word in name.lower().replace("-", "_").split("_"):
        if word.rstrip("0123456789") in SPLIT_NAMES:
            return SPLIT_NAMES[word.rstrip("0123456789")]
    return None


def place_picture(folder: Folder, name: str, split: str | None, where: str, findings: Findings) -> str | None:
    """The picture that a label file names; its absence is a finding.

    Pictures of equal name in train/ and test/ are told apart by the split of the file that lists them.
    """
    if not folder.pictures and name:
        findings.add("label-without-image", f"{where} image {name!r}", "there is no picture at all")
        return name
    hints = [f"{split}/{name}", name] if split else [name]
    for hint in hints:
        found = folder.picture_named(hint) if name else None
        if found is not None:
            return found
    found = folder.picture_in_other_case(name) if name else None
    if found is not None:
        findings.add("name-case", where, f"names {name}, the file is {found}", sample=found)
    elif name and folder.escapes(name, where.rpartition("/")[0]):
        findings.add("path-escape", where, f"names {name}")
    else:
        findings.add("label-without-image", f"{where} image {name!r}", "its picture was not found")
    return found
