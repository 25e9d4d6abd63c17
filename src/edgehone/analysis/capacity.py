"""Representational capacity: what the graph alone tells, held against the objects of the data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgehone.analysis.capacity_measures import MeasuredCapacity
from edgehone.analysis.capacity_probe import ProbeFacts
from edgehone.data import Sample
from edgehone.models import Graph
from edgehone.space import Settings
from edgehone.types import LayerCost

INT8_PART = 4
"""A float32 number is this many bytes, one of int8; biases stay 32 bit integers."""


class HeadFacts(Settings):
    """One head.

    Attributes:
        stride: pixels per cell.
        channels: features that the head's convolution reads in each cell.
        receptive_field_px: side of the square of input pixels that a cell can see, in theory; 0 is the whole picture.
    """

    stride: int
    channels: int
    receptive_field_px: int


class LayerFacts(Settings):
    """One row of the graph's table, at the largest input size.

    Attributes:
        name: as in the exported graph.
        output_shape: ``(channels, height, width)``.
        stride: pixels of the picture per cell.
        receptive_field_px: see :class:`HeadFacts`.
        parameters: weights, scales, biases.
        bflops: 2 x MAC of one picture, in thousands of millions.
        macs: multiply-accumulate operations of one picture.
        weight_bytes: of the folded float32 layer; ``weight_bytes_int8`` with weights of one byte.
        activation_bytes: of its float32 output; ``activation_bytes_int8`` with one byte a number.
    """

    name: str
    output_shape: tuple[int, int, int]
    stride: int
    receptive_field_px: int
    parameters: int
    bflops: float
    macs: int
    weight_bytes: int
    weight_bytes_int8: int
    activation_bytes: int
    activation_bytes_int8: int


class Coverage(Settings):
    """One head against the objects of the training and validation splits, at one (stretched) input size.

    Attributes:
        input_size: side of the network input, pixels.
        stride: of the head.
        smaller_than_cell: share of objects whose sqrt(area) is less than one cell.
        larger_than_field: share of objects whose longer side is more than the theoretical receptive field.
        within_effective: share of objects whose longer side fits into the square that holds 95 % of the effective
            receptive field; None where that was not measured.
    """

    input_size: int
    stride: int
    smaller_than_cell: float
    larger_than_field: float
    within_effective: float | None = None


class CapacityProfile(Settings):
    """Facts of the network.

    Attributes:
        parameters: weights, scales, biases.
        weight_bytes: of the folded float32 graph; ``weight_bytes_int8`` with weights of one byte.
        bflops: input size to 2 x MAC of one picture, in thousands of millions.
        largest_map_bytes: input size to bytes of the largest float32 feature map.
        heads: coarse stride first.
        layers: of the graph.
        coverage: each head at each input size; empty without data.
        measured: without training, on a sample of the training pictures; None where that was not asked for.
        probe: with a little training; None without a budget for it.
    """

    parameters: int
    weight_bytes: int
    weight_bytes_int8: int
    bflops: dict[int, float]
    largest_map_bytes: dict[int, int]
    heads: tuple[HeadFacts, ...]
    layers: tuple[LayerFacts, ...]
    coverage: tuple[Coverage, ...] = ()
    measured: MeasuredCapacity | None = None
    probe: ProbeFacts | None = None


def capacity_profile(
    graph: Graph,
    input_sizes: Sequence[int],
    samples: Sequence[Sample] = (),
    measured: MeasuredCapacity | None = None,
    probe: ProbeFacts | None = None,
) -> CapacityProfile:
    """Measure a graph at square inputs of these sides.

    Args:
        graph: of any layers.
        input_sizes: sides in pixels, multiples of the coarsest stride.
        samples: pictures whose objects the heads are held against.
        measured: taken over, and used in the coverage.
        probe: taken over.
    """
    costs = {size: graph.layer_costs((size, size)) for size in input_sizes}
    layers = _layer_facts(graph, costs[max(input_sizes)])
    nodes = graph.nodes()
    heads = tuple(
        HeadFacts(stride=nodes[i].stride, channels=nodes[i].in_channels, receptive_field_px=nodes[i].receptive_field)
        for i in graph.outputs
    )
    return CapacityProfile(
        parameters=sum(layer.parameters for layer in layers),
        weight_bytes=sum(layer.weight_bytes for layer in layers),
        weight_bytes_int8=sum(layer.weight_bytes_int8 for layer in layers),
        bflops={size: round(2 * sum(c.macs for c in rows) / 1e9, 4) for size, rows in costs.items()},
        largest_map_bytes={size: max(c.activation_bytes for c in rows) for size, rows in costs.items()},
        heads=heads,
        layers=layers,
        coverage=_coverage(heads, samples, input_sizes, measured),
        measured=measured,
        probe=probe,
    )


def _layer_facts(graph: Graph, costs: Sequence[LayerCost]) -> tuple[LayerFacts, ...]:
    return tuple(
        LayerFacts(
            name=cost.name,
            output_shape=cost.output_shape,
            stride=node.stride,
            receptive_field_px=node.receptive_field,
            parameters=cost.parameters,
            bflops=2 * cost.macs / 1e9,
            macs=cost.macs,
            weight_bytes=cost.weight_bytes,
            weight_bytes_int8=_int8_bytes(cost),
            activation_bytes=cost.activation_bytes,
            activation_bytes_int8=cost.activation_bytes // INT8_PART,
        )
        for node, cost in zip(graph.nodes(), costs, strict=True)
    )


def _int8_bytes(cost: LayerCost) -> int:
    """A folded convolution keeps one bias of 32 bits for each filter."""
    biases = cost.output_shape[0] * INT8_PART if cost.kind == "conv" else 0
    return (cost.weight_bytes - biases) // INT8_PART + biases


def _coverage(
    heads: Sequence[HeadFacts],
    samples: Sequence[Sample],
    input_sizes: Sequence[int],
    measured: MeasuredCapacity | None,
) -> tuple[Coverage, ...]:
    sides = object_sides(samples)
    if not len(sides):
        return ()
    fields = [None] * len(heads) if measured is None else [f.holds_95_px for f in measured.effective_fields]
    found: list[Coverage] = []
    for size in input_sizes:
        root, longest = np.sqrt(sides.prod(1)) * size, sides.max(1) * size
        for head, effective in zip(heads, fields, strict=True):
            seen = head.receptive_field_px or np.inf
            found.append(
                Coverage(
                    input_size=size,
                    stride=head.stride,
                    smaller_than_cell=_share(root < head.stride),
                    larger_than_field=_share(longest > seen),
                    within_effective=None if effective is None else _share(longest <= effective),
                )
            )
    return tuple(found)


def object_sides(samples: Sequence[Sample]) -> NDArray[np.float64]:
    """``[n, 2]``: width and height of every object as shares of its picture's."""
    sides = [np.zeros((0, 2))]
    for sample in samples:
        height, width = sample.size
        sides.append((sample.boxes_xyxy[:, 2:] - sample.boxes_xyxy[:, :2]) / (width, height))
    return np.concatenate(sides).astype(np.float64)


def _share(which: NDArray[np.bool_]) -> float:
    return round(float(which.mean()), 4)
