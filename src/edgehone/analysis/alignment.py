"""How well a network's features line up with what a projection asks of them.

For each head, the features that it reads, cell by cell, are held against what the cell is taught: whether it answers
for an object, of which class, and with which code of its box; cells whose silence is not asked for are left out. What
is taught is what the assigner gives the untrained network, also after some steps. Both are compared as similarities
between cells, by centred kernel alignment with linear kernels (Cortes et al., Algorithms for Learning Kernels Based on
Centered Alignment, 2012; Kornblith et al., Similarity of Neural Network Representations Revisited, 2019) in the
estimate that is unbiased by the number of cells (Song et al., Feature Selection via Dependence Maximization, 2012).
1: cells that are taught alike have features alike; 0: one says nothing of the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from edgehone.analysis.capacity_measures import with_statistics
from edgehone.analysis.ceiling import Taught
from edgehone.analysis.projection import candidate_lattice, evenly, teach
from edgehone.data import Dataset
from edgehone.inference import Detector, Precision, TorchRuntime
from edgehone.models import Network
from edgehone.strategy import Strategy
from edgehone.training import Job, detector_info, train, truth_sides_px

PICTURES = 32
CELLS = 1024
"""Of a head, half of them positives; of more, a seeded sample is taken."""

BATCH = 8
FARTHEST = 8.0
"""Codes of boxes that the coding cannot reach are infinite; 8 is as good as that in log-odds."""


def alignment_scores(
    strategy: Strategy,
    model: str,
    dataset: Dataset,
    steps: Sequence[int] = (0, 20),
    seed: int = 0,
    precision: Precision = "fp32",
) -> dict[str, float]:
    """Alignment on training pictures after so many steps of training; 0 is before it.

    Args:
        strategy: whose projection, and whose training.
        model: name of the architecture.
        dataset: its training split is used.
        steps: lengths of training, each with its schedule compressed to it.
        seed: of weights, batches and cells.
        precision: of the trainings.

    Returns:
        ``alignment after N steps`` to its value, at most 1.
    """
    samples = evenly(dataset.train, PICTURES)
    network, detector = _fresh(strategy, model, dataset, seed)
    lattice = candidate_lattice(strategy, network.graph.strides, truth_sides_px(dataset.train, strategy))
    taught = teach(strategy, lattice, samples, len(dataset.class_names))
    pixels = torch.stack([detector.prepare(sample.source.read()) for sample in samples])
    found: dict[str, float] = {}
    for count in steps:
        learnt = network
        if count:
            job = Job(
                model=model, strategy=strategy, steps=count, batch_size=BATCH, seed=seed, precision=precision
            )  # fmt: skip
            learnt = train(job, dataset.class_names, dataset.train).network
        value = alignment(with_statistics(learnt, pixels), taught, pixels, len(dataset.class_names), seed)
        found[f"alignment after {count} steps"] = round(value, 4)
    return found


def _fresh(strategy: Strategy, model: str, dataset: Dataset, seed: int) -> tuple[Network, Detector]:
    info = detector_info(model, strategy, dataset.class_names, dataset.train)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = info.network()
    return network, Detector(info, TorchRuntime(network))


@torch.no_grad()
def alignment(network: Network, taught: Taught, pixels: Tensor, classes: int, seed: int = 0) -> float:
    """Mean over the heads, by their positives; 0 where no head has any.

    Args:
        network: in evaluation mode.
        taught: the labels of the pictures, assigned.
        pixels: ``[b, 3, h, w]``, the same pictures.
        classes: of the data.
        seed: of the sample of cells.
    """
    levels = enumerate(features_read(network, pixels))
    found = [level_alignment(features, taught, level, classes, seed) for level, features in levels]
    weight = sum(cells for cells, value in found if value is not None)
    return sum(cells * value for cells, value in found if value is not None) / weight if weight else 0.0


@torch.no_grad()
def features_read(network: Network, pixels: Tensor) -> list[Tensor]:
    """``[b, c, h, w]`` each: what the heads read of pictures ``[b, 3, h, w]``, coarse stride first."""
    reads = [network.nodes[index].inputs[0] for index in network.graph.outputs]
    _, maps = network.heads_and_maps(pixels, reads)
    return [maps[index] for index in reads]


def level_alignment(
    features: Tensor, taught: Taught, level: int, classes: int, seed: int = 0
) -> tuple[int, float | None]:
    """Of what one head reads: the positive cells compared, and the alignment; None where they are fewer than four."""
    cells, targets = taught_cells(taught, level, classes, torch.Generator().manual_seed(seed))
    positives = int(targets[:, 0].sum())
    if len(cells) < 8:  # the estimate divides by n - 3
        return positives, None
    chosen = features[cells[:, 0], :, cells[:, 1], cells[:, 2]]
    return positives, linear_cka(chosen.double(), targets.double())


def taught_cells(taught: Taught, level: int, classes: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Cells of a head and what they are taught: as many that answer for an object as that must not.

    Returns:
        ``[n, 3]`` int64 (image, row, column), and ``[n, 5 + c]`` float32: 1 for a positive, its class one-hot, and its
        box as the coding says it, each number divided by its deviation.
    """
    lattice, assignment = taught.lattice, taught.assignment
    anchors, rows, columns = lattice.shapes[level]
    mine = (lattice.levels[assignment.slots] == level).nonzero()[:, 0]
    xy = lattice.cells_xy[assignment.slots[mine]].long()
    place = (assignment.images[mine] * rows + xy[:, 1]) * columns + xy[:, 0]
    none = len(assignment.slots)
    owner = torch.full((len(assignment.ignored) * rows * columns,), none)
    owner = owner.scatter_reduce(0, place, mine, "amin")  # of several answers in a cell, the first
    excused = assignment.ignored[:, lattice.levels == level].view(-1, anchors, rows * columns).any(1).flatten()
    positive = _drawn((owner < none).nonzero()[:, 0], CELLS // 2, generator)
    negative = _drawn(((owner == none) & ~excused).nonzero()[:, 0], len(positive), generator)
    chosen = torch.cat([positive, negative])
    cells = torch.stack([chosen // (rows * columns), chosen // columns % rows, chosen % columns], 1)
    targets = torch.zeros(len(chosen), 5 + classes)
    known, first = owner[positive], slice(len(positive))
    targets[first, 0] = 1
    targets[torch.arange(len(known)), 1 + taught.targets.classes[assignment.truths[known]]] = 1
    code = taught.codes(known).clamp(-FARTHEST, FARTHEST)
    spread = code.std(0) if len(code) > 1 else torch.ones(4)
    targets[first, 1 + classes :] = (code - code.mean(0)) / spread.clamp(min=1e-3)
    return cells, targets


def _drawn(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    return rows[torch.randperm(len(rows), generator=generator)[:count]]


def linear_cka(first: Tensor, second: Tensor) -> float:
    """Centred kernel alignment of two descriptions ``[n, p]``, ``[n, q]`` of the same things, n > 3; at most 1.

    Linear kernels, unbiased estimates; 0 where one of them does not vary.
    """
    kernels = [(values - values.mean(0)) @ (values - values.mean(0)).T for values in (first, second)]
    own = [_hsic(kernel, kernel) for kernel in kernels]
    if min(own) <= 0:
        return 0.0
    return _hsic(*kernels) / (own[0] * own[1]) ** 0.5


def _hsic(first: Tensor, second: Tensor) -> float:
    """Hilbert-Schmidt independence criterion, unbiased (Song et al., 2012, equation 5)."""
    n = len(first)
    off = 1 - torch.eye(n, dtype=first.dtype)
    k, m = first * off, second * off
    joint = float((k * m).sum())
    apart = float(k.sum()) * float(m.sum()) / ((n - 1) * (n - 2))
    crossed = 2 * float(k.sum(0) @ m.sum(0)) / (n - 2)
    return (joint + apart - crossed) / (n * (n - 3))
