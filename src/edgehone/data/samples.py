"""Very many samples in little memory: columns of all labels, from which a sample is made when it is asked for."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from edgehone.data.dataset import Sample
from edgehone.data.picture import FileImage
from edgehone.types import IGNORED, Size

MISSING = -2


@dataclass(frozen=True)
class Columns:
    """The labels of ``n`` pictures with ``m`` boxes in all.

    Attributes:
        sizes: ``[n, 2]`` int64, height and width in pixels.
        starts: ``[n + 1]`` int64; picture i holds the boxes ``starts[i]`` to ``starts[i + 1]``.
        boxes_xyxy: ``[m, 4]`` float32, pixels.
        classes: ``[m]`` int64, :data:`~edgehone.types.IGNORED` for regions to ignore.
        numbers: ``[m]`` int64, line, object or annotation number of each box.
    """

    sizes: NDArray[np.int64]
    starts: NDArray[np.int64]
    boxes_xyxy: NDArray[np.float32]
    classes: NDArray[np.int64]
    numbers: NDArray[np.int64]

    def images(self) -> NDArray[np.int64]:
        """``[m]``, the picture of each box."""
        return np.repeat(np.arange(len(self.sizes)), np.diff(self.starts))

    def objects(self) -> Columns:
        """Without the regions to ignore."""
        keep = self.classes != IGNORED
        return Columns(self.sizes, starts_of(self.images()[keep], len(self.sizes)), *self._rows(keep))

    def take(self, pictures: NDArray[np.int64]) -> Columns:
        """These pictures, in this order."""
        lengths = np.diff(self.starts)[pictures]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        rows = np.arange(int(starts[-1]), dtype=np.int64) + np.repeat(self.starts[pictures] - starts[:-1], lengths)
        return Columns(self.sizes[pictures], starts, *self._rows(rows))

    def renumbered(self, numbers: Mapping[int, int]) -> Columns:
        """With other class numbers; boxes of classes that have none are left out."""
        size = max([*numbers, int(self.classes.max(initial=0)), 0]) + 2
        table = np.full(size, MISSING, np.int64)
        table[IGNORED] = IGNORED  # the last entry, as Python counts from the end
        for old, new in numbers.items():
            table[old] = new
        classes = table[self.classes]
        keep = classes != MISSING
        starts = starts_of(self.images()[keep], len(self.sizes))
        return Columns(self.sizes, starts, self.boxes_xyxy[keep], classes[keep], self.numbers[keep])

    def _rows(
        self, rows: NDArray[np.int64] | NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
        return self.boxes_xyxy[rows], self.classes[rows], self.numbers[rows]


def starts_of(images: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """``[count + 1]``: where each picture's boxes begin, of boxes in the order of their pictures."""
    return np.concatenate([[0], np.cumsum(np.bincount(images, minlength=count))]).astype(np.int64)


class Samples(Sequence[Sample]):
    """Pictures below one folder; their ids are their paths in it.

    Attributes:
        root: the folder.
        ids: of the pictures.
        columns: their labels.
        units: what the numbers of each picture's boxes count, like ``labels/a.txt line``.
    """

    def __init__(self, root: Path, ids: Sequence[str], columns: Columns, units: Sequence[str]) -> None:
        self.root = root
        self.ids = tuple(ids)
        self.columns = columns
        self.units = tuple(units)

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Samples: ...
    def __getitem__(self, index: int | slice) -> Sample | Samples:
        if isinstance(index, slice):
            return self.take(range(len(self))[index])
        place = range(len(self))[index]
        data = self.columns
        rows = slice(int(data.starts[place]), int(data.starts[place + 1]))
        boxes, classes = data.boxes_xyxy[rows], data.classes[rows]
        real = classes != IGNORED
        height, width = data.sizes[place].tolist()
        source = FileImage(self.root / self.ids[place])
        return Sample(self.ids[place], (height, width), boxes[real], classes[real], source, boxes[~real])

    def __iter__(self) -> Iterator[Sample]:
        return (self[place] for place in range(len(self)))

    def take(self, pictures: Sequence[int]) -> Samples:
        """Some of the pictures, in this order."""
        chosen = np.asarray(pictures, np.int64).reshape(-1)
        ids, units = ([names[place] for place in chosen] for names in (self.ids, self.units))
        return Samples(self.root, ids, self.columns.take(chosen), units)

    def where(self, picture: int, box: int) -> str:
        """File and place of a box: ``labels/a.txt line 3``; ``box`` counts through all columns."""
        return f"{self.units[picture]} {self.columns.numbers[box]}"


def columns_of(samples: Sequence[Sample]) -> Columns:
    """The labels of any samples as columns; regions to ignore come last in each picture."""
    if isinstance(samples, Samples):
        return samples.columns
    growing = GrowingColumns()
    for sample in samples:
        regions = [IGNORED] * len(sample.ignored_xyxy)
        boxes = np.concatenate([sample.boxes_xyxy, sample.ignored_xyxy])
        growing.add(sample.size, boxes.tolist(), [*sample.classes.tolist(), *regions], range(len(boxes)))
    return growing.columns()


@dataclass
class GrowingColumns:
    """Columns while they are read."""

    sizes: array[int] = field(default_factory=lambda: array("q"))
    lengths: array[int] = field(default_factory=lambda: array("q"))
    boxes: array[float] = field(default_factory=lambda: array("f"))
    classes: array[int] = field(default_factory=lambda: array("q"))
    numbers: array[int] = field(default_factory=lambda: array("q"))

    def add(self, size: Size, boxes: Sequence[Sequence[float]], classes: Sequence[int], numbers: Sequence[int]) -> None:
        """One more picture."""
        self.numbers.extend(numbers)
        self.sizes.extend(size)
        self.lengths.append(len(classes))
        self.classes.extend(classes)
        for box in boxes:
            self.boxes.extend(box)

    def columns(self) -> Columns:
        """What was added."""
        lengths = np.array(self.lengths, np.int64)
        return Columns(
            np.array(self.sizes, np.int64).reshape(-1, 2),
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            np.array(self.boxes, np.float32).reshape(-1, 4),
            np.array(self.classes, np.int64),
            np.array(self.numbers, np.int64),
        )
