"""What the checks look at: all pictures of all splits as columns, beside what their decoding showed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgehone.data.dataset import Dataset, Sample
from edgehone.data.samples import Columns, Samples, columns_of
from edgehone.data.survey import Survey

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class View:
    """All pictures of a data set, split after split.

    Attributes:
        class_names: of the data.
        samples: the pictures.
        labels: their boxes, without regions to ignore.
        splits: ``[n]`` int64, index into :data:`SPLITS`.
        survey: what decoding found, in the same order; None where no picture could be decoded.
    """

    class_names: tuple[str, ...]
    samples: Sequence[Sample]
    labels: Columns
    splits: NDArray[np.int64]
    survey: Survey | None

    @staticmethod
    def of(dataset: Dataset, pictures: Samples | None, seen: Survey | None) -> View:
        """Bring pictures and survey into the order of the splits."""
        parts = [dataset.splits[name] for name in SPLITS]
        splits = np.repeat(np.arange(len(SPLITS)), [len(part) for part in parts])
        if pictures is None:
            together = [sample for part in parts for sample in part]
            return View(dataset.class_names, together, columns_of(together).objects(), splits, seen)
        place = {key: at for at, key in enumerate(pictures.ids)}
        order = [place[key] for part in parts if isinstance(part, Samples) for key in part.ids]
        chosen = pictures.take(order)
        sight = None if seen is None else seen.take(np.array(order, np.int64))
        return View(dataset.class_names, chosen, chosen.columns.objects(), splits, sight)

    def id(self, picture: int) -> str:
        """The name of a picture."""
        return self.samples.ids[picture] if isinstance(self.samples, Samples) else self.samples[picture].id

    def where(self, picture: int, box: int) -> str:
        """File and place of a box (its row in :attr:`labels`)."""
        if not isinstance(self.samples, Samples):
            return f"{self.id(picture)} object {box - int(self.labels.starts[picture]) + 1}"
        unit = self.samples.units[picture]
        return f"{unit} {self.labels.numbers[box]}"

    def box(self, row: int) -> tuple[float, float, float, float]:
        """A box rounded for people."""
        x1, y1, x2, y2 = (round(float(v), 1) for v in self.labels.boxes_xyxy[row])
        return x1, y1, x2, y2
