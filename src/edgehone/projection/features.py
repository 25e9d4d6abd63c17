"""Distillation of features: what a head reads, drawn towards what the like head of a teacher reads.

Features have no common scale, and a network's loudest channels say little about which matter. So what is compared is
the pattern of each channel: its Pearson correlation over cells and pictures (Cao et al., PKD: General Distillation
Framework for Object Detectors via Pearson Correlation Coefficient, 2022), which knows neither scale nor shift. Where
student and teacher have other channels, a 1x1 convolution that learns with the student turns the one into the other
(Romero et al., FitNets: Hints for Thin Deep Nets, 2015). Cells may be all of a map, or only those at objects, as Wang
et al. (Distilling Object Detectors with Fine-grained Feature Imitation, 2019) ask; their anchors near an object are
here the cells of its box. Nothing here runs a network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from edgehone.space import Choice, Settings, Span
from edgehone.types import IGNORED, Size, Targets

FLAT = 1e-6
"""A channel whose deviations are together shorter than this says the same everywhere: it is alike to nothing."""


class NoFeatures(Settings):
    """What is inside the network is its own matter."""

    kind: Literal["off"] = "off"

    def asks_average(self, progress: float) -> bool:
        """Never."""
        del progress
        return False


class _Imitated(Settings):
    """How features count.

    ``weight`` stands beside the labels' terms: at 1, features that have nothing to do with the teacher's add 1 to the
    loss where the labels' terms are averages, and those that rise and fall with the teacher's 0. ``cells`` are all of a
    map, or those at labelled objects.
    """

    weight: Annotated[float, Span(0.1, 10.0, log=True), Field(ge=0)] = 1.0
    cells: Annotated[Literal["all", "objects"], Choice("all", "objects")] = "all"

    def loss(self, student: Sequence[Tensor], teacher: Sequence[Tensor], targets: Targets, size: Size) -> Tensor:
        """How far the student's maps are from the teacher's: a scalar with gradient to the student's alone.

        Args:
            student: for each head ``[b, c, h, w]``.
            teacher: likewise, with the same channels and cells.
            targets: the labels.
            size: of the network input, ``(height, width)``.
        """
        apart: list[Tensor] = []
        for mine, theirs in zip(student, teacher, strict=True):
            shape = (mine.shape[2], mine.shape[3])
            cells = None if self.cells == "all" else object_cells(targets, size, shape)
            apart.append(unlike(_rows(mine, cells), _rows(theirs.detach(), cells)))
        return self.weight * torch.stack(apart).mean()


class TeacherFeatures(_Imitated):
    """Those of a teacher whose inside can be read: a run of edgehone or a Darknet pair, run on the student's batches.

    Heads of the same stride are compared, through an adapter that is trained with the student and dropped at the end.
    The teacher need not know the data's classes.
    """

    kind: Literal["teacher"] = "teacher"

    def asks_average(self, progress: float) -> bool:
        """Never."""
        del progress
        return False


class AverageFeatures(_Imitated):
    """Those of the moving average of the student's own weights, after the share ``start`` of the run.

    The channels are the same ones, so that nothing is put between.
    """

    kind: Literal["average"] = "average"
    start: Annotated[float, Span(0.1, 0.8), Field(ge=0, le=1)] = 0.3

    def asks_average(self, progress: float) -> bool:
        """Whether the average must run at this share of the run."""
        return progress >= self.start


Features = Annotated[NoFeatures | TeacherFeatures | AverageFeatures, Field(discriminator="kind")]


def unlike(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - Pearson's correlation of like channels of ``[n, c]`` and ``[n, c]``, their mean: a scalar from 0 to 2.

    Half the mean squared difference of the standardised channels, as PKD writes it. 0 with fewer than two rows, which
    say nothing of a pattern; 1 for a channel that does not vary.
    """
    if len(student) < 2:
        return student.sum() * 0.0
    patterns = [
        functional.normalize(values - values.mean(0), dim=0, eps=FLAT) for values in (student.float(), teacher.float())
    ]
    return 1 - (patterns[0] * patterns[1]).sum(0).mean()


def object_cells(targets: Targets, size: Size, shape: Size) -> Tensor:
    """``[b, h, w]`` bool: the cells at objects, of maps ``shape`` over inputs of ``size``.

    Rows and columns with their centre in an object's box; of an object too small for that, those of its own centre.
    Regions to ignore are no objects.
    """
    (height, width), (rows, columns) = size, shape
    found = torch.zeros(targets.batch_size, rows, columns, dtype=torch.bool)
    real = targets.where(targets.classes != IGNORED)
    for image, box in zip(real.images, real.boxes_xyxy, strict=True):
        x1, y1, x2, y2 = (float(side) for side in box)
        across, down = _covered(x1, x2, columns / width, columns), _covered(y1, y2, rows / height, rows)
        found[int(image), down, across] = True
    return found.to(targets.boxes_xyxy.device)


def _covered(low: float, high: float, cells_per_px: float, count: int) -> slice:
    """The cells of one axis with their centre between two pixels, at least the one in the middle."""
    low, high = low * cells_per_px, high * cells_per_px
    first, last = math.ceil(low - 0.5), math.floor(high - 0.5)
    if last < first:
        first = last = math.floor((low + high) / 2)
    first, last = (min(max(cell, 0), count - 1) for cell in (first, last))
    return slice(first, last + 1)


def _rows(features: Tensor, cells: Tensor | None) -> Tensor:
    """``[n, c]``: the chosen cells of ``[b, c, h, w]``."""
    rows = features.permute(0, 2, 3, 1)
    return rows.flatten(0, 2) if cells is None else rows[cells]
