"""The three analyses: data space, representational capacity, knowledge projection. Facts, no decisions."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from edgehone.analysis.capacity import CapacityProfile, capacity_profile
from edgehone.analysis.capacity_measures import measure_capacity
from edgehone.analysis.capacity_probe import ProbeFacts, Say, probe, quiet
from edgehone.analysis.data_space import DataProfile, data_profile
from edgehone.analysis.head_alignment import AlignmentFacts, HeadAlignment, alignment_facts, alignment_side
from edgehone.analysis.projection import Candidate, ProjectionFacts, projection_facts
from edgehone.data import Dataset
from edgehone.models import architecture
from edgehone.projection import KmeansAnchors, TaskAligned
from edgehone.space import Settings, replace
from edgehone.strategy import AUTHORS, DARKNET, Strategy


class Profile(Settings):
    """What was measured before anything is trained.

    ``alignment`` describes; nothing is decided by it, for nobody has shown that it ranks strategies (ADR 0024).
    """

    data: DataProfile
    capacity: CapacityProfile
    projection: tuple[ProjectionFacts, ...]
    alignment: tuple[AlignmentFacts, ...] = ()


def analyse(
    dataset: Dataset,
    model: str,
    input_sizes: Sequence[int],
    *,
    probe_budget_s: float = 0.0,
    say: Say = quiet,
) -> Profile:
    """All three analyses at the candidate input sizes; labels of train and validation only.

    Args:
        dataset: the data.
        model: name of the architecture.
        input_sizes: sides of the network input in pixels.
        probe_budget_s: wall-clock for measuring capacity with a little training, 0 for none.
        say: told what that will cost before it starts, and how it goes.

    Raises:
        UsageError: a probe budget that buys no probe.
    """
    # The ceilings are many small tensor operations: several threads would spend their time waiting.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _measure(dataset, model, input_sizes, probe_budget_s, say)
    finally:
        torch.set_num_threads(threads)


def _measure(dataset: Dataset, model: str, input_sizes: Sequence[int], probe_budget_s: float, say: Say) -> Profile:
    deadline = time.monotonic() + probe_budget_s
    graph = architecture(model).graph(len(dataset.class_names))
    shown = _spread(input_sizes)
    candidates = [candidate for size in shown for candidate in projection_candidates(size)]
    probed = probe(model, dataset.class_names, dataset.train, probe_budget_s, say=say) if probe_budget_s > 0 else None
    small = projection_candidates(alignment_side(graph, input_sizes))
    aligned = alignment_facts(small, model, dataset, deadline=deadline if probe_budget_s > 0 else None, say=say)
    return Profile(
        data=data_profile(dataset, input_sizes, graph.strides),
        capacity=capacity_profile(
            graph,
            input_sizes,
            [*dataset.train, *dataset.val],
            measure_capacity(graph, dataset.train, max(input_sizes)),
            probed,
        ),
        projection=tuple(
            projection_facts(candidate, DARKNET, model, dataset.class_names, dataset.train) for candidate in candidates
        ),
        alignment=aligned,
    )


def projection_candidates(size: int) -> list[Candidate]:
    """The presets' projections, anchors clustered in two ways, and task-aligned assignment, at one input size."""
    clustered = replace(DARKNET, {"projection.anchors.kind": "kmeans", "projection.second_head_mask": "0,1,2"})
    aligned = clustered.model_copy(
        update={
            "projection": AUTHORS.projection.model_copy(
                update={"anchors": KmeansAnchors(), "second_head_mask": "0,1,2", "assigner": TaskAligned()}
            )
        }
    )
    authors = DARKNET.model_copy(update={"projection": AUTHORS.projection})
    by_level = replace(clustered, {"projection.anchors.kind": "by_level"})
    named = {
        "darknet": DARKNET,
        "authors": authors,
        "kmeans": clustered,
        "by_level": by_level,
        "task_aligned": aligned,
    }
    return [Candidate(label, _at(strategy, size)) for label, strategy in named.items()]


def _at(strategy: Strategy, size: int) -> Strategy:
    return replace(strategy, {"input.size": size})


def _spread(sizes: Sequence[int]) -> list[int]:
    """Smallest, middle and largest: the ceiling changes slowly with the input size."""
    ordered = sorted(set(sizes))
    return sorted({ordered[0], ordered[len(ordered) // 2], ordered[-1]})


__all__ = [
    "AlignmentFacts",
    "CapacityProfile",
    "DataProfile",
    "HeadAlignment",
    "ProbeFacts",
    "Profile",
    "ProjectionFacts",
    "Say",
    "analyse",
    "capacity_profile",
    "data_profile",
    "projection_candidates",
    "projection_facts",
    "quiet",
]
