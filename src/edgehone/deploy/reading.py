"""How the heads of a detector are read, in plain numbers: what a manifest says and what a graph can decode itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgehone.inference import DetectorInfo
from edgehone.projection import Coding

Activation = Literal["sigmoid", "softmax"]


@dataclass(frozen=True)
class HeadReading:
    """One head.

    Attributes:
        stride: pixels per cell.
        rows: of cells; likewise ``columns``.
        anchors_px: (width, height) at the network input of each anchor of a cell.
        coding: how its boxes are coded.
    """

    stride: int
    rows: int
    columns: int
    anchors_px: tuple[tuple[float, float], ...]
    coding: Coding

    @property
    def slots(self) -> int:
        """Boxes that it gives."""
        return self.rows * self.columns * len(self.anchors_px)


def head_readings(info: DetectorInfo) -> tuple[HeadReading, ...]:
    """Of every head, coarse stride first."""
    lattice, strides = info.lattice(), info.graph().strides
    found: list[HeadReading] = []
    start = 0
    for level, (stride, (anchors, rows, columns)) in enumerate(zip(strides, lattice.shapes, strict=True)):
        cells = rows * columns
        slots_of_anchors = [lattice.anchors_px[start + k * cells] for k in range(anchors)]
        anchors_px = tuple((float(sides[0]), float(sides[1])) for sides in slots_of_anchors)
        coding = info.strategy.projection.coding if info.reading is None else info.reading.codings[level]
        found.append(HeadReading(stride, rows, columns, anchors_px, coding))
        start += anchors * cells
    return tuple(found)


def class_activation(info: DetectorInfo) -> Activation:
    """What makes probabilities of a detector's class outputs."""
    exclusive = info.reading is None and info.strategy.projection.classification.loss.kind == "softmax"
    return "softmax" if exclusive else "sigmoid"
