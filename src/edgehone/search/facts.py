"""What the rules reason from: the profile, the plan's reach and the request's limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgehone.analysis import Profile
from edgehone.analysis.capacity import CapacityProfile
from edgehone.analysis.projection import ProjectionFacts
from edgehone.data import Dataset
from edgehone.space import Forbid


@dataclass(frozen=True)
class Facts:
    """What the rules reason from.

    Attributes:
        train_images: pictures in the training split.
        class_names: of the data.
        class_sides: per class, the median of sqrt(area) as a share of the input's side.
        full_images: pictures that a full training shows, by input size.
        candidates: measured projections.
        max_input: the largest input size that may be searched.
        board_limits: input sizes that boards, or limits on their latency, rule out.
        capacity: of the network, where it was measured.
    """

    train_images: int
    class_names: tuple[str, ...]
    class_sides: tuple[float, ...]
    full_images: dict[int, int]
    candidates: tuple[ProjectionFacts, ...]
    max_input: int
    board_limits: tuple[Forbid, ...] = ()
    capacity: CapacityProfile | None = None


def gather_facts(
    dataset: Dataset,
    profile: Profile,
    full_images: dict[int, int],
    max_input: int,
    limits: Sequence[Forbid] = (),
) -> Facts:
    """The facts of this run.

    Args:
        dataset: labels of the training split are read, never the test split's.
        profile: the three analyses.
        full_images: pictures that a full training shows, by input size.
        max_input: largest input size asked for.
        limits: input sizes that boards, or limits on their latency, rule out.
    """
    return Facts(
        train_images=len(dataset.train),
        class_names=dataset.class_names,
        class_sides=_class_sides(dataset),
        full_images=full_images,
        candidates=profile.projection,
        capacity=profile.capacity,
        max_input=max_input,
        board_limits=tuple(limits),
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
