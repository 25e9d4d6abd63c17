"""The data space, measured: sizes, classes, crowding, pictures. Training and validation labels only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgehone.analysis.pixels import PixelFacts, pixel_facts
from edgehone.data import Dataset
from edgehone.data.doctor.boxes import overlaps
from edgehone.data.doctor.shares import class_table, cumulative_shift, shares_shift, size_table
from edgehone.data.samples import Columns, columns_of
from edgehone.space import Settings

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
HISTOGRAM_EDGES = tuple(float(f"{edge:.4g}") for edge in np.geomspace(0.005, 1.0, 25))
CROWDED_IOU = 0.3
PICTURES_COMPARED = 20_000
"""Pictures in which objects are compared with each other; of more, a sample is taken."""

GRID = 8
EDGE_PX = 1.0
COCO_SMALL_PX, COCO_LARGE_PX = 32, 96


class SizeFacts(Settings):
    """Object sizes at one input size.

    Attributes:
        input_size: side of the (stretched) network input, pixels.
        side_px: quantile to sqrt(area) in pixels.
        side_px_by_class: class name to the median of sqrt(area), pixels.
        small: share of objects below 32 x 32 px, as COCO divides them; ``medium``: from there to below
            96 x 96 px; ``large``: the rest.
        below_stride: stride to the share of objects smaller (in sqrt(area)) than one cell.
        below_two_strides: likewise, than two cells.
        load: stride to the share of objects that are nearest (in octaves) to four cells of it.
        neighbour_cells: stride to the mean distance, in cells, from an object's centre to the nearest
            other one; empty where no picture holds two objects.
    """

    input_size: int
    side_px: dict[str, float]
    side_px_by_class: dict[str, float]
    small: float
    medium: float
    large: float
    below_stride: dict[int, float]
    below_two_strides: dict[int, float]
    load: dict[int, float]
    neighbour_cells: dict[int, float]


class Histogram(Settings):
    """Objects by sqrt(area) as a share of the input's side, in logarithmic bins.

    Attributes:
        edges_share: ascending; bin k lies between edges k and k + 1. The outer bins hold what lies beyond.
        counts: class name to the number of objects in each bin, one fewer than edges.
    """

    edges_share: tuple[float, ...]
    counts: dict[str, tuple[int, ...]]


class DataProfile(Settings):
    """Facts of the data space: what the training and validation splits hold. The test split is not looked at.

    Attributes:
        splits: train and val to their number of images and boxes.
        classes: name to boxes in the training split; likewise ``images_by_class`` to pictures that hold it.
        together: class to other class to the share of the first one's training pictures that hold the other, too.
        imbalance: boxes of the commonest class over those of the rarest.
        boxes_per_image: quantile to objects in a training picture; likewise their mean and the largest.
        empty_images: training pictures without an object.
        ignored: regions to ignore in training and validation.
        aspect: quantile to width / height at the (stretched) input.
        crowded_fraction: share of objects that overlap another by an IoU above 0.3.
        crowded_error: its standard error, where only a sample of the pictures was compared; else 0.
        neighbour_share: mean distance to the nearest other object's centre, as a share of the input's side.
        cut_fraction: share of objects that reach to within a pixel of the picture's edge: truncated, probably.
        positions: share of the objects' centres in each cell of an 8 x 8 grid over the picture, row by row.
        sizes: by input size.
        size_histogram: for charts.
        image_sizes: ``"height x width"`` to number of training pictures, the most frequent ones.
        pixels: what the training pictures look like.
        shift: how far validation is from training: ``classes``, total variation distance of the class shares;
            ``sizes``, Kolmogorov-Smirnov distance of sqrt(area); ``brightness``, difference of the means in
            standard deviations of the training pictures.
    """

    splits: dict[str, dict[str, int]]
    classes: dict[str, int]
    images_by_class: dict[str, int]
    together: dict[str, dict[str, float]]
    imbalance: float
    boxes_per_image: dict[str, float]
    boxes_per_image_mean: float
    boxes_per_image_max: int
    empty_images: int
    ignored: int
    aspect: dict[str, float]
    crowded_fraction: float
    crowded_error: float
    neighbour_share: float | None
    cut_fraction: float
    positions: tuple[tuple[float, ...], ...]
    sizes: tuple[SizeFacts, ...]
    size_histogram: Histogram
    image_sizes: dict[str, int]
    pixels: PixelFacts
    shift: dict[str, float]


def data_profile(dataset: Dataset, input_sizes: Sequence[int], strides: Sequence[int]) -> DataProfile:
    """Measure the data.

    Args:
        dataset: labels of train and validation are read, and a sample of their pictures.
        input_sizes: sides of the network input, pixels.
        strides: of the detector's heads.
    """
    names = dataset.class_names
    everything = [columns_of(dataset.train), columns_of(dataset.val)]
    train, val = (columns.objects() for columns in everything)
    counts = np.bincount(train.classes, minlength=len(names))
    boxes = np.diff(train.starts)
    shares = np.concatenate([_shares(train), _shares(val)])
    labels = np.concatenate([train.classes, val.classes])
    areas = np.sqrt(shares.prod(1))
    crowded, crowded_error, apart = _crowding([train, val])
    pixels, dark = pixel_facts(dataset)
    presence = class_table(train, len(names)) > 0
    return DataProfile(
        splits={k: _amount(c) for k, c in (("train", train), ("val", val))},
        classes={name: int(count) for name, count in zip(names, counts, strict=True)},
        images_by_class={name: int(count) for name, count in zip(names, presence.sum(0), strict=True)},
        together=_together(presence, names),
        imbalance=round(float(counts.max() / max(counts[counts > 0].min(initial=counts.max()), 1)), 2),
        boxes_per_image=_quantiles(boxes.astype(np.float64)),
        boxes_per_image_mean=round(float(boxes.mean()), 2),
        boxes_per_image_max=int(boxes.max()),
        empty_images=int((boxes == 0).sum()),
        ignored=sum(len(c.classes) for c in everything) - len(labels),
        aspect=_quantiles(shares[:, 0] / np.maximum(shares[:, 1], 1e-9)),
        crowded_fraction=round(crowded, 4),
        crowded_error=round(crowded_error, 5),
        neighbour_share=None if apart is None else round(apart, 4),
        cut_fraction=round(_cut(train, val), 4),
        positions=_positions([train, val]),
        sizes=tuple(_size_facts(size, areas, labels, names, strides, apart) for size in input_sizes),
        size_histogram=_histogram(areas, labels, names),
        image_sizes=_image_sizes(train),
        pixels=pixels,
        shift={
            "classes": round(shares_shift(*(class_table(c, len(names)) for c in (train, val))), 4),
            "sizes": round(cumulative_shift(size_table(train), size_table(val)), 4),
            "brightness": dark,
        },
    )


def _amount(columns: Columns) -> dict[str, int]:
    return {"images": len(columns.sizes), "boxes": len(columns.classes)}


def _shares(columns: Columns) -> NDArray[np.float64]:
    """``[m, 2]`` sides as shares of the picture's."""
    sides = (columns.boxes_xyxy[:, 2:] - columns.boxes_xyxy[:, :2]).astype(np.float64)
    return sides / columns.sizes[columns.images()][:, ::-1]


def _together(presence: NDArray[np.bool_], names: Sequence[str]) -> dict[str, dict[str, float]]:
    held = presence.astype(np.float64)
    both = held.T @ held
    return {
        name: {
            other: round(float(both[k, j] / both[k, k]), 3)
            for j, other in enumerate(names)
            if j != k and both[k, j] > 0
        }
        for k, name in enumerate(names)
        if both[k, k] > 0
    }


def _cut(*parts: Columns) -> float:
    """Share of the objects that end at an edge."""
    ends: list[NDArray[np.bool_]] = []
    for columns in parts:
        limits = columns.sizes[columns.images()][:, ::-1]
        low, high = columns.boxes_xyxy[:, :2], columns.boxes_xyxy[:, 2:]
        ends.append(np.asarray((low < EDGE_PX).any(1) | (high > limits - EDGE_PX).any(1)))
    return float(np.concatenate(ends).mean())


def _positions(parts: Sequence[Columns]) -> tuple[tuple[float, ...], ...]:
    grid = np.zeros((GRID, GRID))
    for columns in parts:
        centres = columns.boxes_xyxy.reshape(-1, 2, 2).mean(1) / columns.sizes[columns.images()][:, ::-1]
        cells = np.clip(centres * GRID, 0, GRID - 1).astype(np.int64)
        np.add.at(grid, (cells[:, 1], cells[:, 0]), 1.0)
    shares = grid / max(float(grid.sum()), 1.0)
    return tuple(tuple(round(float(share), 4) for share in row) for row in shares)


def _size_facts(
    size: int,
    areas: NDArray[np.float64],
    labels: NDArray[np.int64],
    names: Sequence[str],
    strides: Sequence[int],
    apart: float | None,
) -> SizeFacts:
    pixels = areas * size
    small, large = float((pixels < COCO_SMALL_PX).mean()), float((pixels >= COCO_LARGE_PX).mean())
    nearest = np.abs(np.log2(np.maximum(pixels, 1e-6))[:, None] - np.log2(4.0 * np.array(strides))[None]).argmin(1)
    return SizeFacts(
        input_size=size,
        side_px=_quantiles(pixels),
        side_px_by_class={
            name: round(float(np.median(pixels[labels == k])), 2) for k, name in enumerate(names) if (labels == k).any()
        },
        small=round(small, 4),
        medium=round(1 - small - large, 4),
        large=round(large, 4),
        below_stride={stride: round(float((pixels < stride).mean()), 4) for stride in strides},
        below_two_strides={stride: round(float((pixels < 2 * stride).mean()), 4) for stride in strides},
        load={stride: round(float((nearest == k).mean()), 4) for k, stride in enumerate(strides)},
        neighbour_cells={} if apart is None else {s: round(apart * size / s, 2) for s in strides},
    )


def _quantiles(values: NDArray[np.float64]) -> dict[str, float]:
    return {
        f"{100 * q:.0f} %": round(float(v), 3) for q, v in zip(QUANTILES, np.quantile(values, QUANTILES), strict=True)
    }


def _histogram(areas: NDArray[np.float64], labels: NDArray[np.int64], names: Sequence[str]) -> Histogram:
    inside = np.clip(areas, HISTOGRAM_EDGES[0], HISTOGRAM_EDGES[-1])
    counts = {
        name: tuple(int(c) for c in np.histogram(inside[labels == k], HISTOGRAM_EDGES)[0])
        for k, name in enumerate(names)
    }
    return Histogram(edges_share=HISTOGRAM_EDGES, counts=counts)


def _crowding(parts: Sequence[Columns]) -> tuple[float, float, float | None]:
    """Share of objects that overlap another with its standard error, and the mean share to the nearest centre."""
    crowded: list[tuple[int, int]] = []
    nearest: list[NDArray[np.float64]] = [np.zeros(0)]
    total = sum(len(columns.sizes) for columns in parts)
    rng = np.random.default_rng(0)
    for columns in parts:
        count = len(columns.sizes)
        take = min(count, -(-count * PICTURES_COMPARED // max(total, 1)))
        for picture in np.sort(rng.permutation(count)[:take]).tolist():
            rows = slice(int(columns.starts[picture]), int(columns.starts[picture + 1]))
            boxes = columns.boxes_xyxy[rows].astype(np.float64)
            if len(boxes) < 2:
                crowded.append((0, len(boxes)))
                continue
            overlap = overlaps(boxes)
            np.fill_diagonal(overlap, 0)
            crowded.append((int((overlap.max(1) > CROWDED_IOU).sum()), len(boxes)))
            height, width = columns.sizes[picture].tolist()
            centres = (boxes[:, :2] + boxes[:, 2:]) / 2 / (width, height)
            apart = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
            np.fill_diagonal(apart, np.inf)
            nearest.append(apart.min(1))
    found = np.array(crowded, np.float64).reshape(-1, 2)
    share = float(found[:, 0].sum() / max(found[:, 1].sum(), 1))
    # A ratio estimated from a sample of pictures, each of which is one draw.
    spread = float(np.std(found[:, 0] - share * found[:, 1]) * np.sqrt(len(found)) / max(found[:, 1].sum(), 1))
    distances = np.concatenate(nearest)
    return share, 0.0 if total <= PICTURES_COMPARED else spread, float(distances.mean()) if len(distances) else None


def _image_sizes(columns: Columns) -> dict[str, int]:
    sizes, counts = np.unique(columns.sizes, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:10]
    return {f"{sizes[k][0]} x {sizes[k][1]}": int(counts[k]) for k in order}
