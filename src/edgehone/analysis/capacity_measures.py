"""Capacity measured without training, on a seeded sample of the training pictures."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from edgehone.analysis.capacity_features import head_ranks, layer_sensitivity
from edgehone.analysis.capacity_reach import EffectiveField, effective_fields
from edgehone.analysis.capacity_scores import naswot, synflow
from edgehone.augment import fit_picture
from edgehone.data import Sample
from edgehone.models import Graph, Network
from edgehone.space import Settings

PICTURES = 8
"""Of the sample. The gradients of the effective field are averaged over half of it, sensitivity over a quarter."""

GFLOPS_PER_PICTURE = 8.0
"""A larger network is measured at a smaller input: with this limit all measures take a few seconds on one core."""

GFLOPS_OF_SENSITIVITY = 90.0
"""Likewise for one pass for every layer."""


class FeatureRank(Settings):
    """The features that one head reads.

    Attributes:
        stride: of the head.
        channels: that it reads in each cell.
        effective_rank: see :func:`edgehone.analysis.capacity_features.effective_rank`, at most ``channels``.
    """

    stride: int
    channels: int
    effective_rank: float


class MeasuredCapacity(Settings):
    """What an untrained network of these weights is and does, with batch norms fitted to the sample.

    Attributes:
        pictures: of the sample.
        input_size: side of the (stretched) network input, pixels.
        seed: of sample and weights.
        effective_fields: coarse head first.
        feature_ranks: likewise.
        synflow: see :func:`edgehone.analysis.capacity_scores.synflow`.
        naswot: see :func:`edgehone.analysis.capacity_scores.naswot`.
        sensitivity: layer to :func:`edgehone.analysis.capacity_features.layer_sensitivity`.
    """

    pictures: int
    input_size: int
    seed: int
    effective_fields: tuple[EffectiveField, ...]
    feature_ranks: tuple[FeatureRank, ...]
    synflow: float
    naswot: float | None
    sensitivity: dict[str, float]


def measure_capacity(graph: Graph, samples: Sequence[Sample], input_size: int, seed: int = 0) -> MeasuredCapacity:
    """Measure fresh weights of a graph on a few pictures; a function of its arguments alone.

    Args:
        graph: the detector.
        samples: the training split; at least one picture.
        input_size: largest side of interest, pixels.
        seed: of the pictures chosen and of the weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Network(graph)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(samples))[:PICTURES])
    side = affordable_side(graph, input_size, GFLOPS_PER_PICTURE)
    pictures = [samples[int(k)] for k in chosen]
    return measure_network(network, stretched(pictures, side), seed)


def measure_network(network: Network, pixels: Tensor, seed: int = 0) -> MeasuredCapacity:
    """Measure a network's present weights on pictures ``[b, 3, h, h]``; the network is left as it is."""
    network = with_statistics(network, pixels)
    graph, strides, count = network.graph, network.graph.strides, len(pixels)
    few = pixels[: max(1, count // 4)]
    passes = len(few) * len(network.convolutions)
    small = affordable_side(graph, pixels.shape[-1] // 2, GFLOPS_OF_SENSITIVITY / passes)
    ranks = head_ranks(network, pixels, seed)
    return MeasuredCapacity(
        pictures=count,
        input_size=pixels.shape[-1],
        seed=seed,
        effective_fields=effective_fields(network, pixels[: max(1, count // 2)]),
        feature_ranks=tuple(
            FeatureRank(stride=stride, channels=channels, effective_rank=round(rank, 2))
            for stride, (channels, rank) in zip(strides, ranks, strict=True)
        ),
        synflow=round(synflow(network), 4),
        naswot=_rounded(naswot(network, _shrunk(pixels, small))),
        sensitivity=layer_sensitivity(network, _shrunk(few, small), seed),
    )


def with_statistics(network: Network, pixels: Tensor) -> Network:
    """A copy in evaluation mode, its weights fixed, whose batch norms have the statistics of these pictures."""
    found = copy.deepcopy(network).requires_grad_(False).train()
    for module in found.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    with torch.no_grad():
        found(pixels)
    return found.eval()


def affordable_side(graph: Graph, largest: int, gflops: float) -> int:
    """The largest side up to ``largest`` at which a picture costs at most this much, at least two coarse cells."""
    step = max(node.stride for node in graph.nodes())
    sides = range(2 * step, max(largest, 2 * step) + 1, step)
    cost = 2 * sum(row.macs for row in graph.layer_costs((sides[-1], sides[-1]))) / 1e9
    fitting = [side for side in sides if cost * (side / sides[-1]) ** 2 <= gflops]
    return fitting[-1] if fitting else sides[0]


def stretched(samples: Sequence[Sample], side: int) -> Tensor:
    """``[b, 3, side, side]`` float32 in 0..1."""
    images = np.stack([fit_picture(sample.source.read(), (side, side), "stretch") for sample in samples])
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def _shrunk(pixels: Tensor, side: int) -> Tensor:
    return nn.functional.interpolate(pixels, size=(side, side), mode="bilinear", antialias=True)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
