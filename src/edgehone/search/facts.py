"""Collecting what the rules reason from: the profile, the plan's reach and the request's limits."""

from __future__ import annotations

import numpy as np

from edgehone.analysis import Profile
from edgehone.data import Dataset
from edgehone.search.latency import LatencyLimit
from edgehone.search.rules import Facts


def gather_facts(
    dataset: Dataset,
    profile: Profile,
    full_images: dict[int, int],
    max_input: int,
    latency: tuple[LatencyLimit, dict[int, float]] | None,
) -> Facts:
    """The facts of this run.

    Args:
        dataset: labels of the training split are read, never the test split's.
        profile: the three analyses.
        full_images: pictures that a full training shows, by input size.
        max_input: largest input size asked for.
        latency: a limit with the upper end of the latency (ms) by input size.
    """
    return Facts(
        train_images=len(dataset.train),
        class_names=dataset.class_names,
        class_sides=_class_sides(dataset),
        full_images=full_images,
        candidates=profile.projection,
        capacity=profile.capacity,
        max_input=max_input,
        latency_ms={} if latency is None else latency[1],
        latency_limit_ms=None if latency is None else latency[0].milliseconds,
    )


def _class_sides(dataset: Dataset) -> tuple[float, ...]:
    """Per class, the median of sqrt(area) as a share of a stretched input's side."""
    shares: list[list[float]] = [[] for _ in dataset.class_names]
    for sample in dataset.train:
        height, width = sample.size
        sides = (sample.boxes_xyxy[:, 2:] - sample.boxes_xyxy[:, :2]) / (width, height)
        for label, share in zip(sample.classes, np.sqrt(sides.prod(1)), strict=True):
            shares[int(label)].append(float(share))
    return tuple(float(np.median(found)) if found else 1.0 for found in shares)


__all__ = ["LatencyLimit", "gather_facts"]
