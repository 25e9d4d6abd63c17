"""Anchors: the box shapes that a head's answers are relative to.

A whole list has as many entries as the heads have together, the finest head's first, in pixels of the network input.
:func:`anchor_masks` says which head owns which of them. The official lists are Darknet's for one input size; at
others they scale along, so that an anchor keeps covering the same share of the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edgehone.space import Settings, Span
from edgehone.types import Size

Sides = NDArray[np.float64]
"""``[n, 2]`` widths and heights in pixels."""

OFFICIAL_416_PX = ((10, 14), (23, 27), (37, 58), (81, 82), (135, 169), (344, 319))
"""``anchors`` of yolov4-tiny.cfg: (width, height) at a 416 px input, for two heads."""

OFFICIAL_608_PX = (
    (12, 16), (19, 36), (40, 28), (36, 75), (76, 55), (72, 146), (142, 110), (192, 243), (459, 401),
)  # fmt: skip
"""``anchors`` of yolov4-tiny-3l.cfg: (width, height) at a 608 px input, for three heads."""

OFFICIAL_PER_HEAD = 3

TWO_HEADS = (32, 16)
"""Strides of yolov4-tiny's heads."""

MUTATED = 0.9
"""Probability that a side changes in a generation, and by how much: the authors' kmean_anchors."""
MUTATION_SIGMA = 0.1
GENERATIONS = 1000
FITNESS_SAMPLE = 3000
"""Boxes that fitness is measured on, evenly spaced by area."""

PerHead = Annotated[int, Field(ge=2, le=5)]
"""Anchors of each head. It changes the head's filters, and runs are compared on one graph: so it can be set, and
becomes a dimension with ``Span(2, 5)`` beside the bounds."""


class OfficialAnchors(Settings):
    """The anchors of yolov4-tiny.cfg (two heads) and yolov4-tiny-3l.cfg (three), clustered on COCO."""

    kind: Literal["official"] = "official"

    @property
    def per_head(self) -> int:
        """Three."""
        return OFFICIAL_PER_HEAD

    def anchors_px(self, truth_wh_px: Sides, input_size: Size, strides: Sequence[int] = TWO_HEADS) -> Sides:
        """``[3 * heads, 2]`` for a head at each of the ``strides`` and this input size; the data does not matter."""
        del truth_wh_px
        return official_px(OFFICIAL_PER_HEAD, len(strides), input_size)


class KmeansAnchors(Settings):
    """Anchors clustered on the training boxes, with 1 - shape IoU as distance.

    Source: Redmon and Farhadi, YOLOv2, 2017; Darknet's ``calc_anchors``.
    """

    kind: Literal["kmeans"] = "kmeans"
    per_head: PerHead = OFFICIAL_PER_HEAD

    def anchors_px(self, truth_wh_px: Sides, input_size: Size, strides: Sequence[int] = TWO_HEADS) -> Sides:
        """``[per_head * heads, 2]`` sorted by area. Fewer different shapes than that fall back on the official list.

        Args:
            truth_wh_px: ``[n, 2]`` sides of the training boxes at the network input.
            input_size: of the network.
            strides: of the network's heads, coarse first.
        """
        count = self.per_head * len(strides)
        if len(np.unique(truth_wh_px.round(2), axis=0)) < count:
            return official_px(self.per_head, len(strides), input_size)
        return shape_kmeans(truth_wh_px, count)


class EvolvedAnchors(Settings):
    """Anchors mutated for as long as more boxes are within a ratio of one, and closer to it.

    Starts from the clustered or the official list, whichever is fitter: clustering alone may well be worse than
    what it replaces. Source: ``kmean_anchors`` of the authors' PyTorch_YOLOv4 and of YOLOv5; ``limit`` is their
    ``anchor_t``.
    """

    kind: Literal["evolved"] = "evolved"
    per_head: PerHead = OFFICIAL_PER_HEAD
    limit: Annotated[float, Span(2.0, 8.0, log=True)] = 4.0

    def anchors_px(self, truth_wh_px: Sides, input_size: Size, strides: Sequence[int] = TWO_HEADS) -> Sides:
        """``[per_head * heads, 2]`` sorted by area; see :class:`KmeansAnchors`. Fixed seed."""
        starts = [
            KmeansAnchors(per_head=self.per_head).anchors_px(truth_wh_px, input_size, strides),
            official_px(self.per_head, len(strides), input_size),
        ]
        if not len(truth_wh_px):
            return starts[1]
        by_area = truth_wh_px[truth_wh_px.prod(1).argsort(kind="stable")]
        wh = by_area[np.linspace(0, len(by_area) - 1, min(len(by_area), FITNESS_SAMPLE)).round().astype(int)]
        best = max(starts, key=lambda anchors: ratio_fitness(wh, anchors, self.limit))
        return evolve(wh, best, self.limit)


class LevelAnchors(Settings):
    """Anchors clustered head by head, on the training boxes that a head's cells suit.

    Clusters of all boxes are dealt out by area, so where all objects are small half of them land on the coarse
    head's few cells and collide there. Here a box belongs to the head whose stride is nearest, in octaves, to a
    quarter of its sqrt(area), and each head's anchors are clustered on its own boxes (:class:`KmeansAnchors`). A
    head with fewer different shapes than anchors keeps its part of the official list.
    """

    kind: Literal["by_level"] = "by_level"
    per_head: PerHead = OFFICIAL_PER_HEAD

    def anchors_px(self, truth_wh_px: Sides, input_size: Size, strides: Sequence[int] = TWO_HEADS) -> Sides:
        """``[per_head * heads, 2]``, the finest head's first, each by area; see :class:`KmeansAnchors`."""
        listed = official_px(self.per_head, len(strides), input_size)
        level = level_of(truth_wh_px, strides)
        for head, stride in enumerate(sorted(strides)):
            mine = truth_wh_px[level == stride]
            if len(np.unique(mine.round(2), axis=0)) >= self.per_head:
                listed[head * self.per_head : (head + 1) * self.per_head] = shape_kmeans(mine, self.per_head)
        return listed


Anchors = Annotated[OfficialAnchors | KmeansAnchors | EvolvedAnchors | LevelAnchors, Field(discriminator="kind")]


def anchor_masks(heads: int, per_head: int, second_head_mask: str) -> tuple[tuple[int, ...], ...]:
    """Which anchors of the whole list each head owns, coarse head first.

    The largest belong to the coarsest head and so on down. Of two heads the finer one may be shifted by one as in
    yolov4-tiny.cfg (``second_head_mask`` "1,2,3"): the smallest anchor is then owned by nobody, and one twice.
    """
    masks = [tuple(range(per_head * k, per_head * (k + 1))) for k in reversed(range(heads))]
    if heads == 2 and second_head_mask == "1,2,3":
        masks[1] = tuple(k + 1 for k in masks[1])
    return tuple(masks)


def official_px(per_head: int, heads: int, input_size: Size) -> Sides:
    """``[per_head * heads, 2]``: the official list for these heads; for another length, evenly along its logarithms."""
    table, side = (OFFICIAL_416_PX, 416) if heads <= 2 else (OFFICIAL_608_PX, 608)
    height, width = input_size
    count = per_head * heads
    listed = np.array(table, np.float64)
    if count != len(listed):
        along = np.linspace(0, len(listed) - 1, count)
        listed = np.exp(np.stack([np.interp(along, range(len(listed)), np.log(listed[:, k])) for k in (0, 1)], 1))
    return listed * (width / side, height / side)


def level_of(wh: Sides, strides: Sequence[int]) -> NDArray[np.int64]:
    """``[n]``: the stride of which each box is nearest to four cells, in octaves."""
    octaves = np.log2(np.maximum(np.sqrt(wh.prod(1)), 1e-6))[:, None] - np.log2(4.0 * np.array(strides))
    return np.array(strides, np.int64)[np.abs(octaves).argmin(1)]


def shape_kmeans(wh: Sides, count: int, seed: int = 0, rounds: int = 50) -> Sides:
    """Cluster box shapes: ``[n, 2]`` to ``[count, 2]`` sorted by area. Best of five seeded starts."""
    rng = np.random.default_rng(seed)
    best, best_fit = wh[:count], -1.0
    for _ in range(5):
        centres = wh[rng.choice(len(wh), count, replace=False)]
        for _ in range(rounds):
            nearest = shape_iou(wh, centres).argmax(1)
            moved = np.array(
                [np.median(wh[nearest == k], axis=0) if (nearest == k).any() else centres[k] for k in range(count)]
            )
            if np.allclose(moved, centres):
                break
            centres = moved
        fit = float(shape_iou(wh, centres).max(1).mean())
        if fit > best_fit:
            best, best_fit = centres, fit
    return np.maximum(best[best.prod(1).argsort()], 1.0)


def evolve(wh: Sides, anchors: Sides, limit: float, seed: int = 0) -> Sides:
    """The fittest of :data:`GENERATIONS` mutations, each kept only if it is better; sorted by area."""
    rng = np.random.default_rng(seed)
    best, fitness = anchors, ratio_fitness(wh, anchors, limit)
    for _ in range(GENERATIONS):
        change = rng.standard_normal(anchors.shape) * MUTATION_SIGMA * rng.random()
        factor = np.where(rng.random(anchors.shape) < MUTATED, 1 + change, 1.0).clip(0.3, 3.0)
        child = np.maximum(best * factor, 2.0)
        found = ratio_fitness(wh, child, limit)
        if found > fitness:
            best, fitness = child, found
    return best[best.prod(1).argsort(kind="stable")]


def ratio_fitness(wh: Sides, anchors: Sides, limit: float) -> float:
    """Mean over boxes of how near their best anchor is, 0..1; a box with none within the ratio ``limit`` adds 0."""
    nearness = best_nearness(wh, anchors)
    return float((nearness * (nearness > 1 / limit)).mean())


def best_possible_recall(wh: Sides, anchors: Sides, limit: float) -> float:
    """Share of boxes with an anchor whose sides are within the ratio ``limit`` of theirs."""
    return float((best_nearness(wh, anchors) > 1 / limit).mean())


def best_nearness(wh: Sides, anchors: Sides) -> NDArray[np.float64]:
    """``[n]``: the smaller of both side ratios (each at most 1) to the anchor for which that is largest."""
    nearness = np.zeros(len(wh))
    for anchor in np.maximum(anchors, 1e-9):
        ratio = np.maximum(wh, 1e-9) / anchor
        width, height = np.minimum(ratio, 1 / ratio).T
        np.maximum(nearness, np.minimum(width, height), out=nearness)
    return nearness


def shape_iou(wh: Sides, anchors: Sides) -> NDArray[np.float64]:
    """IoU of ``[n, 2]`` and ``[m, 2]`` shapes on one centre: ``[n, m]``."""
    inner = np.minimum(wh[:, None], anchors[None]).prod(-1)
    return inner / np.maximum(wh.prod(-1)[:, None] + anchors.prod(-1)[None] - inner, 1e-9)
