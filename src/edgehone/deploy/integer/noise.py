"""How far 8 bits move the answers, in decibels, and which layers do it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from edgehone.boards import Precision
from edgehone.deploy.integer.plan import Plan, passes_on
from edgehone.deploy.integer.simulator import Simulator
from edgehone.deploy.integer.tensors import part_channels, tensor_name
from edgehone.models import Graph, Network
from edgehone.space import Settings

ENOUGH_DB = 20.0
"""The vendor's guide for 8 bits (Kneron, quantization 1.3)."""
QUIET_DB = 30.0
"""From here on AP hardly moves: see the table of `docs/measurements.md`."""
CLEAN_DB = 120.0
"""Reported where nothing, or next to nothing, moved."""


class LayerNoise(Settings):
    """What one layer does.

    Attributes:
        name: of the tensor that it gives.
        index: of the layer; -1 is the picture.
        result_db: of its result, everything calculated as planned.
        alone_db: of the worst part of the heads, this layer alone calculated as planned and the rest in fp32.
    """

    name: str
    index: int
    result_db: float
    alone_db: float


class Noise(Settings):
    """Signal over noise.

    Attributes:
        outputs: head or part of a head (``stride32_box``) to decibels.
        layers: all that calculate, worst alone first.
    """

    outputs: dict[str, float]
    layers: tuple[LayerNoise, ...]

    @property
    def weak(self) -> tuple[str, ...]:
        """Outputs below :data:`ENOUGH_DB`."""
        return tuple(name for name, decibels in self.outputs.items() if decibels < ENOUGH_DB)


def signal_to_noise_db(wanted: Tensor, got: Tensor) -> float:
    """Ten times the logarithm of power of the signal over power of the difference, at most :data:`CLEAN_DB`."""
    signal, noise = float(wanted.double().square().sum()), float((wanted - got).double().square().sum())
    if noise == 0 or signal == 0:
        return CLEAN_DB if noise == 0 else -CLEAN_DB
    return max(-CLEAN_DB, min(CLEAN_DB, 10 * math.log10(signal / noise)))


def measure_noise(folded: Network, plan: Plan, pixels: Tensor, wanted: Sequence[Tensor] | None = None) -> Noise:
    """Compare the planned arithmetic with fp32 on a few pictures ``[k, 3, h, w]`` in 0..1.

    Args:
        folded: the network, batch norms folded.
        plan: its arithmetic.
        pixels: the pictures.
        wanted: what the heads should say; None: what this network says in fp32.
    """
    graph = folded.graph
    real, planned = _results(folded, _all_real(plan), pixels), _results(folded, plan, pixels)
    said = [real[index] for index in graph.outputs]
    wanted = said if wanted is None else wanted
    layers = [
        LayerNoise(
            name=tensor_name(graph, index),
            index=index,
            result_db=signal_to_noise_db(real[index], planned[index]),
            alone_db=min(
                _by_part(graph, plan, said, Simulator(folded, plan.only(graph, index)).heads(pixels)).values()
            ),
        )
        for index in calculating(graph)
    ]
    heads = [planned[index] for index in graph.outputs]
    whole = {
        tensor_name(graph, index): signal_to_noise_db(head, got)
        for index, head, got in zip(graph.outputs, wanted, heads, strict=True)
    }
    ranked = tuple(sorted(layers, key=lambda layer: layer.alone_db))
    return Noise(outputs={**whole, **_by_part(graph, plan, wanted, heads)}, layers=ranked)


def least_db(folded: Network, plan: Plan, pixels: Tensor, wanted: Sequence[Tensor]) -> float:
    """Signal over noise of the worst part of the heads; pictures ``[k, 3, h, w]`` in 0..1 should give ``wanted``."""
    return min(_by_part(folded.graph, plan, wanted, Simulator(folded, plan).heads(pixels)).values())


def calculating(graph: Graph) -> list[int]:
    """Layers whose result is rounded: all but those that pass on what they read."""
    return [index for index, layer in enumerate(graph.layers) if not passes_on(layer)]


def _all_real(plan: Plan) -> Plan:
    real: Precision = "fp32"
    return replace(plan, usual=real, results={}, weights={})


def _results(folded: Network, plan: Plan, pixels: Tensor) -> dict[int, Tensor]:
    found: dict[int, Tensor] = {}
    with torch.inference_mode():
        Simulator(folded, plan).run(pixels, found.__setitem__)
    return found


def _by_part(graph: Graph, plan: Plan, wanted: Sequence[Tensor], heads: Sequence[Tensor]) -> dict[str, float]:
    """Part of a head to decibels: boxes, objectness and classes differ in range, and noise hides in the largest."""
    found: dict[str, float] = {}
    for index, true, head in zip(graph.outputs, wanted, heads, strict=True):
        for part, channels in part_channels(head.shape[1], plan.fields).items():
            decibels = signal_to_noise_db(true[:, channels], head[:, channels])
            found[f"{tensor_name(graph, index)}_{part}"] = decibels
    return found
