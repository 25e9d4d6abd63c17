"""Representational capacity, as far as the graph alone tells it."""

from __future__ import annotations

from collections.abc import Sequence

from edgehone.models import Graph
from edgehone.space import Settings


class HeadFacts(Settings):
    """One head.

    Attributes:
        stride: pixels per cell.
        channels: features that the head's convolution reads in each cell.
        receptive_field_px: side of the square of input pixels that a cell can see, in theory.
    """

    stride: int
    channels: int
    receptive_field_px: int


class LayerFacts(Settings):
    """One row of the graph's table, at the largest input size."""

    name: str
    output_shape: tuple[int, int, int]
    parameters: int
    bflops: float


class CapacityProfile(Settings):
    """Facts of the network.

    Attributes:
        parameters: weights, scales, biases.
        weight_bytes: of the folded float32 graph.
        bflops: input size to 2 x MAC of one picture, in thousands of millions.
        largest_map_bytes: input size to bytes of the largest float32 feature map.
        heads: coarse stride first.
        layers: of the graph.
    """

    parameters: int
    weight_bytes: int
    bflops: dict[int, float]
    largest_map_bytes: dict[int, int]
    heads: tuple[HeadFacts, ...]
    layers: tuple[LayerFacts, ...]


def capacity_profile(graph: Graph, input_sizes: Sequence[int]) -> CapacityProfile:
    """Measure a graph at square inputs of these sides."""
    costs = {size: graph.layer_costs((size, size)) for size in input_sizes}
    largest = costs[max(input_sizes)]
    nodes = graph.nodes()
    return CapacityProfile(
        parameters=sum(cost.parameters for cost in largest),
        weight_bytes=sum(cost.weight_bytes for cost in largest),
        bflops={size: round(2 * sum(c.macs for c in rows) / 1e9, 4) for size, rows in costs.items()},
        largest_map_bytes={size: max(c.activation_bytes for c in rows) for size, rows in costs.items()},
        heads=tuple(
            HeadFacts(
                stride=nodes[i].stride, channels=nodes[i].in_channels, receptive_field_px=nodes[i].receptive_field
            )
            for i in graph.outputs
        ),
        layers=tuple(
            LayerFacts(name=c.name, output_shape=c.output_shape, parameters=c.parameters, bflops=2 * c.macs / 1e9)
            for c in largest
        ),
    )
