"""How well a network's features align with what candidate projections ask of them, head by head, at a bounded cost.

See :mod:`edgehone.analysis.alignment` for the measure. It describes: no rule reads it (ADR 0024).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edgehone.analysis.alignment import BATCH, PICTURES, features_read, level_alignment
from edgehone.analysis.capacity_measures import with_statistics
from edgehone.analysis.capacity_probe import Ends, OutOfTime, Say, quiet
from edgehone.analysis.ceiling import Taught
from edgehone.analysis.projection import Candidate, candidate_lattice, evenly, teach
from edgehone.augment import fit_picture
from edgehone.data import Dataset, Sample
from edgehone.models import Graph, Network, architecture
from edgehone.space import Settings
from edgehone.strategy import Strategy
from edgehone.training import Diverged, Job, Progress, graph_flops, train, truth_sides_px

GFLOPS_PER_PICTURE = 2.0
"""The largest input at which a picture costs at most this much is measured: two passes over all pictures take a few
seconds on one core."""

MOST_STEPS, LEAST_STEPS = 20, 4
"""Steps after which it is measured again: what the budget pays for all candidates, or none."""

TIMED_STEPS = 2
MARGIN = 0.8
"""Share of the time that is left which is planned."""


class HeadAlignment(Settings):
    """One head.

    Attributes:
        stride: of the head, pixels.
        cells: positive ones that were compared, beside as many that must be silent.
        before: alignment before training, at most 1; None with fewer than four positive cells.
        after: after the steps; None without a budget for them, or where they diverged.
    """

    stride: int
    cells: int
    before: float | None
    after: float | None = None


class AlignmentFacts(Settings):
    """One candidate projection.

    Attributes:
        label: for people, as in :class:`~edgehone.analysis.projection.ProjectionFacts`.
        input_size: side of the network input that it was measured at, pixels.
        pictures: of the training split, evenly spaced, without augmentation.
        steps: of training before ``after``; 0 without any.
        heads: coarse stride first.
    """

    label: str
    input_size: int
    pictures: int
    steps: int
    heads: tuple[HeadAlignment, ...]


def alignment_side(graph: Graph, input_sizes: Sequence[int]) -> int:
    """The largest of these sizes that costs at most :data:`GFLOPS_PER_PICTURE`, else the smallest."""
    affordable = [size for size in input_sizes if graph_flops(graph, size) <= 1e9 * GFLOPS_PER_PICTURE]
    return max(affordable, default=min(input_sizes))


def alignment_facts(
    candidates: Sequence[Candidate],
    model: str,
    dataset: Dataset,
    *,
    deadline: float | None = None,
    seed: int = 0,
    say: Say = quiet,
) -> tuple[AlignmentFacts, ...]:
    """Measure candidates of one input; before training a function of its arguments alone.

    Args:
        candidates: they differ in their projection.
        model: name of the architecture.
        dataset: its training split is used.
        deadline: of ``time.monotonic()``: until then candidates are trained for some steps and measured again.
        seed: of weights, batches and cells.
        say: told what the trainings will cost.
    """
    view = _view(candidates[0].strategy, evenly(dataset.train, PICTURES), len(dataset.class_names), seed)
    graph = architecture(model).graph(len(dataset.class_names))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Network(graph)
    # What heads read does not depend on the projection: one pass serves all candidates.
    features = view.features(network)
    all_taught = [_taught(candidate, dataset, view, graph.strides) for candidate in candidates]
    before = [view.values(features, taught) for taught in all_taught]
    after, steps = _learnt(candidates, model, dataset, deadline, (view, all_taught, say))
    return tuple(
        AlignmentFacts(
            label=candidate.label,
            input_size=candidate.strategy.input.size,
            pictures=len(view.samples),
            steps=steps,
            heads=tuple(
                HeadAlignment(stride=stride, cells=cells, before=value, after=later)
                for stride, (cells, value), later in zip(graph.strides, first, second, strict=True)
            ),
        )
        for candidate, first, second in zip(candidates, before, after, strict=True)
    )


@dataclass(frozen=True)
class _View:
    """The pictures that are looked at: ``pixels`` ``[b, 3, h, w]``; the data's ``classes``, the ``seed`` of cells."""

    samples: Sequence[Sample]
    pixels: Tensor
    classes: int
    seed: int

    def features(self, network: Network) -> list[Tensor]:
        return features_read(with_statistics(network, self.pixels), self.pixels)

    def values(self, features: Sequence[Tensor], taught: Taught) -> list[tuple[int, float | None]]:
        """Of each head, the positive cells compared and the alignment, rounded."""
        found = [level_alignment(one, taught, level, self.classes, self.seed) for level, one in enumerate(features)]
        return [(cells, None if value is None else round(value, 3)) for cells, value in found]


def _view(strategy: Strategy, samples: Sequence[Sample], classes: int, seed: int) -> _View:
    shape, fit = strategy.input.shape, strategy.input.fit
    images = np.stack([fit_picture(sample.source.read(), shape, fit) for sample in samples])
    return _View(samples, torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255, classes, seed)


def _taught(candidate: Candidate, dataset: Dataset, view: _View, strides: Sequence[int]) -> Taught:
    strategy = candidate.strategy
    lattice = candidate_lattice(strategy, strides, truth_sides_px(dataset.train, strategy))
    return teach(strategy, lattice, view.samples, view.classes)


def _learnt(
    candidates: Sequence[Candidate],
    model: str,
    dataset: Dataset,
    deadline: float | None,
    known: tuple[_View, Sequence[Taught], Say],
) -> tuple[list[list[float | None]], int]:
    """Of each candidate the alignment of each head after some steps, and how many; 0 where there is no time for all."""
    view, all_taught, say = known
    jobs = [
        Job(model=model, strategy=c.strategy, steps=MOST_STEPS, batch_size=BATCH, seed=view.seed) for c in candidates
    ]
    nothing: list[list[float | None]] = [[None] * len(taught.lattice.shapes) for taught in all_taught]
    steps = 0 if deadline is None else _affordable_steps(jobs, dataset, deadline)
    if not steps:
        if deadline is not None:
            say("alignment: what the probe left of the budget does not pay for trainings; shown before them only")
        return nothing, 0
    say(f"alignment: {len(jobs)} trainings of {steps} steps of {BATCH} pictures with what is left of the budget")
    found = nothing
    for place, (job, taught) in enumerate(zip(jobs, all_taught, strict=True)):
        try:
            short = job.model_copy(update={"steps": steps})
            network = train(short, dataset.class_names, dataset.train, watch=Ends(deadline)).network
        except Diverged:
            continue
        except OutOfTime:
            say("alignment: the budget ended before its last training")
            break
        found[place] = [value for _, value in view.values(view.features(network), taught)]
    return found, steps


def _affordable_steps(jobs: Sequence[Job], dataset: Dataset, deadline: float) -> int:
    """Steps for each of the jobs, by the time that one takes; 0 where they are fewer than :data:`LEAST_STEPS`."""
    ticks: list[float] = []

    def watch(progress: Progress) -> None:
        ticks.append(progress.seconds)
        Ends(deadline)(progress)

    started = time.monotonic()
    try:
        train(jobs[0].model_copy(update={"steps": TIMED_STEPS}), dataset.class_names, dataset.train, watch=watch)
    except (OutOfTime, Diverged):
        return 0
    each = ticks[-1] - ticks[0]
    begun = time.monotonic() - started - each  # a training's own cost, before and beside its steps
    left = MARGIN * (deadline - time.monotonic()) / len(jobs) - begun
    steps = min(MOST_STEPS, int(left / max(each, 1e-6)))
    return steps if steps >= LEAST_STEPS else 0
