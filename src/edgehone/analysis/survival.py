"""How much of the truth survives a projection, measured fast: the filter of a search, never its ranking.

What the profile's ceilings are made of, on fewer pictures and without COCO's protocol. A perfect network answers
nothing wrong, so that its AP is its recall, averaged over classes and IoU 0.50 to 0.95.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from edgehone.analysis.ceiling import perfect_network
from edgehone.analysis.projection import candidate_lattice, evenly, teach
from edgehone.data import Sample
from edgehone.projection import Projection
from edgehone.space import Settings
from edgehone.strategy import Strategy
from edgehone.training import truth_sides_px

PICTURES, OBJECTS = 40, 1000
"""At most so many pictures, fewer where they hold more objects than these (but at least :data:`LEAST_PICTURES`)."""

LEAST_PICTURES = 8

IOUS = tuple(0.5 + 0.05 * k for k in range(10))


class Survival(Settings):
    """What is left of the labels.

    Attributes:
        ceiling: AP of a perfect network, 0..1.
        lost: by class name, objects that it does not find at IoU 0.5; ``objects`` how many there are.
    """

    ceiling: float
    lost: dict[str, int]
    objects: dict[str, int]


def projected(strategy: Strategy) -> Strategy:
    """What a ceiling depends on, everything else at its default: to measure nothing twice.

    An untrained network says the same of every slot, so that losses and their weights move no assignment.
    """
    said = strategy.projection
    kept = Projection(
        anchors=said.anchors, second_head_mask=said.second_head_mask, coding=said.coding, assigner=said.assigner
    )
    return Strategy(input=strategy.input, projection=kept)


def few_pictures(train: Sequence[Sample]) -> list[Sample]:
    """Evenly spaced ones with objects."""
    labelled = [sample for sample in train if len(sample.classes)]
    objects = sum(len(sample.classes) for sample in labelled)
    room = OBJECTS * len(labelled) // max(objects, 1)
    return evenly(labelled, max(min(PICTURES, room), LEAST_PICTURES))


def survival(
    strategy: Strategy, strides: Sequence[int], class_names: Sequence[str], samples: Sequence[Sample]
) -> Survival:
    """Measure a strategy's projection on the labels of these pictures, anchors fitted to them; no network runs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # many small operations: several threads would spend their time waiting
    try:
        lattice = candidate_lattice(strategy, strides, truth_sides_px(samples, strategy))
        taught = teach(strategy, lattice, samples, len(class_names))
        perfect = perfect_network(taught, samples)
    finally:
        torch.set_num_threads(threads)
    classes, found = taught.targets.classes.numpy(), perfect.found.numpy()
    said = np.where(found, perfect.said.double().numpy(), -1.0)
    reached = np.mean([said >= iou - 1e-6 for iou in IOUS], axis=0)
    present = [k for k in range(len(class_names)) if (classes == k).any()]
    return Survival(
        ceiling=round(float(np.mean([reached[classes == k].mean() for k in present])), 4) if present else 0.0,
        lost={class_names[k]: int((~found[classes == k]).sum()) for k in present},
        objects={class_names[k]: int((classes == k).sum()) for k in present},
    )
