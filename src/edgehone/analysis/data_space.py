"""The data space, measured: sizes, classes, crowding, pictures. Training and validation labels only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgehone.data import Dataset, Sample
from edgehone.space import Settings

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
HISTOGRAM_EDGES = tuple(float(f"{edge:.4g}") for edge in np.geomspace(0.005, 1.0, 25))
CROWDED_IOU = 0.3
PICTURES_READ = 64
COCO_SMALL_PX, COCO_LARGE_PX = 32, 96
GRAY_SPREAD = 2.0
"""A picture whose channels differ by less (of 255, on average) has no colour; JPEG leaves a little."""


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
        classes: name to boxes in the training split.
        imbalance: boxes of the commonest class over those of the rarest.
        boxes_per_image_mean: in training pictures; likewise the largest.
        empty_images: training pictures without an object.
        aspect: quantile to width / height at the (stretched) input.
        crowded_fraction: share of objects that overlap another by an IoU above 0.3.
        neighbour_share: mean distance to the nearest other object's centre, as a share of the input's side.
        sizes: by input size.
        size_histogram: for charts.
        image_sizes: ``"height x width"`` to number of training pictures, the most frequent ones.
        gray: share of sampled pictures without colour.
        brightness: mean of sampled pictures, 0 to 255; likewise ``contrast``, their standard deviation.
    """

    splits: dict[str, dict[str, int]]
    classes: dict[str, int]
    imbalance: float
    boxes_per_image_mean: float
    boxes_per_image_max: int
    empty_images: int
    aspect: dict[str, float]
    crowded_fraction: float
    neighbour_share: float | None
    sizes: tuple[SizeFacts, ...]
    size_histogram: Histogram
    image_sizes: dict[str, int]
    gray: float
    brightness: float
    contrast: float


def data_profile(dataset: Dataset, input_sizes: Sequence[int], strides: Sequence[int]) -> DataProfile:
    """Measure the data.

    Args:
        dataset: labels of train and validation are read, and up to 64 training pictures.
        input_sizes: sides of the network input, pixels.
        strides: of the detector's heads.
    """
    train = dataset.train
    names = dataset.class_names
    counts = np.bincount(np.concatenate([s.classes for s in train]), minlength=len(names))
    shares, labels = _shares([*train, *dataset.val])
    areas = np.sqrt(shares.prod(1))
    boxes = [len(s.classes) for s in train]
    crowded, apart = _crowding([*train, *dataset.val])
    gray, brightness, contrast = _pictures(train)
    return DataProfile(
        splits={k: _amount(dataset.splits[k]) for k in ("train", "val")},
        classes={name: int(count) for name, count in zip(names, counts, strict=True)},
        imbalance=round(float(counts.max() / max(counts[counts > 0].min(), 1)), 2),
        boxes_per_image_mean=round(float(np.mean(boxes)), 2),
        boxes_per_image_max=int(max(boxes)),
        empty_images=sum(count == 0 for count in boxes),
        aspect=_quantiles(shares[:, 0] / np.maximum(shares[:, 1], 1e-9)),
        crowded_fraction=round(crowded, 4),
        neighbour_share=None if apart is None else round(apart, 4),
        sizes=tuple(_size_facts(size, areas, labels, names, strides, apart) for size in input_sizes),
        size_histogram=_histogram(areas, labels, names),
        image_sizes=_image_sizes(train),
        gray=round(gray, 3),
        brightness=round(brightness, 1),
        contrast=round(contrast, 1),
    )


def _amount(samples: Sequence[Sample]) -> dict[str, int]:
    return {"images": len(samples), "boxes": sum(len(s.classes) for s in samples)}


def _shares(samples: Sequence[Sample]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """``[n, 2]`` sides as shares of the picture's, and ``[n]`` classes."""
    sides: list[NDArray[np.float64]] = []
    for sample in samples:
        height, width = sample.size
        sides.append((sample.boxes_xyxy[:, 2:] - sample.boxes_xyxy[:, :2]).astype(np.float64) / (width, height))
    return np.concatenate(sides), np.concatenate([s.classes for s in samples])


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


def _crowding(samples: Sequence[Sample]) -> tuple[float, float | None]:
    """Share of objects that overlap another, and the mean share of the side to the nearest other centre."""
    crowded: list[NDArray[np.bool_]] = []
    nearest: list[NDArray[np.float64]] = [np.zeros(0)]
    for sample in samples:
        boxes = sample.boxes_xyxy.astype(np.float64)
        if len(boxes) < 2:
            crowded.append(np.zeros(len(boxes), bool))
            continue
        low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
        high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
        inner = np.clip(high - low, 0, None).prod(-1)
        area = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
        overlap = inner / (area[:, None] + area[None] - inner)
        np.fill_diagonal(overlap, 0)
        crowded.append(overlap.max(1) > CROWDED_IOU)
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2 / (sample.size[1], sample.size[0])
        apart = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
        np.fill_diagonal(apart, np.inf)
        nearest.append(apart.min(1))
    distances = np.concatenate(nearest)
    return float(np.concatenate(crowded).mean()), float(distances.mean()) if len(distances) else None


def _image_sizes(samples: Sequence[Sample]) -> dict[str, int]:
    found: dict[str, int] = {}
    for sample in samples:
        key = f"{sample.size[0]} x {sample.size[1]}"
        found[key] = found.get(key, 0) + 1
    return dict(sorted(found.items(), key=lambda item: -item[1])[:10])


def _pictures(samples: Sequence[Sample]) -> tuple[float, float, float]:
    """Share without colour, mean brightness, mean contrast of evenly spaced pictures."""
    chosen = np.linspace(0, len(samples) - 1, min(len(samples), PICTURES_READ)).round().astype(int)
    gray: list[bool] = []
    brightness: list[float] = []
    contrast: list[float] = []
    for index in chosen:
        image = samples[int(index)].source.read().astype(np.float32)
        gray.append(float(np.ptp(image, axis=-1).mean()) < GRAY_SPREAD)
        brightness.append(float(image.mean()))
        contrast.append(float(image.std()))
    return float(np.mean(gray)), float(np.mean(brightness)), float(np.mean(contrast))
