"""Capacity that costs nothing at inference: what a network is given for its training only.

Each part is folded into the plain layers, or dropped, when the training ends; the graph stays as it is. A layer whose
form would not fold exactly is left alone, and :class:`CapacityPlan` says which and why.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from edgehone.models.graph import CHECKED_CELLS, Graph
from edgehone.models.layers import Convolutional, Head, Upsample
from edgehone.models.network import Network
from edgehone.models.training_forms import AuxiliaryHeads, Branched, ImplicitConvolution
from edgehone.space import Choice, Settings, Span
from edgehone.types import LayerCost

Place = Literal["backbone", "all"]

NUMBER_MACS = 300
"""What norm, activation and memory of a convolution's result cost in training, for each number of it, in MACs.

Measured as processor time of steps (``benchmarks/training_forms.py``, one core, AMD EPYC with bf16): with all branches
yolov4-tiny takes 1.34 to 1.40 times as long (this says 1.35, FLOPs alone 1.11), at half the width 1.50 (1.46; 1.11),
Yolo-Fastest 1.1-xl 1.36 (1.36; 1.02).
"""


class PlainConvolutions(Settings):
    """As they will be at inference."""

    kind: Literal["plain"] = "plain"


class BranchedConvolutions(Settings):
    """3x3 convolutions with parallel 1x1 and identity branches (RepVGG); see :class:`Branched`.

    Attributes:
        layers: those of the backbone (before the first head and the first upsampling), or all.
    """

    kind: Literal["branched"] = "branched"
    layers: Annotated[Place, Choice("backbone", "all")] = "all"


Convolutions = Annotated[PlainConvolutions | BranchedConvolutions, Field(discriminator="kind")]


class NoAuxiliary(Settings):
    """The network's own heads alone."""

    kind: Literal["off"] = "off"


class AuxiliaryLoss(Settings):
    """A second head for each head, taught by the same projection at the same stride; see :class:`AuxiliaryHeads`.

    Attributes:
        reads: the last map of the head's stride before the one that the head reads, of the whole network or of the
            backbone (deep supervision).
        weight: of the loss of these heads beside the loss of the network's own.
    """

    kind: Literal["heads"] = "heads"
    reads: Annotated[Place, Choice("backbone", "all")] = "backbone"
    weight: Annotated[float, Span(0.05, 0.5, log=True), Field(gt=0)] = 0.25


Auxiliary = Annotated[NoAuxiliary | AuxiliaryLoss, Field(discriminator="kind")]


@dataclass(frozen=True)
class CapacityPlan:
    """Where a graph takes which form; indices are those of its layers.

    Attributes:
        branched: convolutions with parallel branches.
        implicit: heads between learnt vectors.
        taps: what the auxiliary head of each head reads (-1: the picture), coarse stride first; empty without any.
        left: layers that were asked for and stay plain, with the reason.
    """

    branched: tuple[int, ...] = ()
    implicit: tuple[int, ...] = ()
    taps: tuple[int, ...] = ()
    left: tuple[tuple[int, str], ...] = ()

    def describe(self, graph: Graph) -> dict[str, object]:
        """Names of layers, for people."""
        heads = zip(graph.outputs, self.taps, strict=False)
        return {
            "branched": [graph.name(i) for i in self.branched],
            "implicit": [graph.name(i) for i in self.implicit],
            "auxiliary": {graph.name(head): graph.name(tap) if tap >= 0 else "picture" for head, tap in heads},
            "left": {graph.name(i): reason for i, reason in self.left},
            "flops_ratio": round(self.flops_ratio(graph), 4),
        }

    def flops_ratio(self, graph: Graph) -> float:
        """FLOPs of the training form's forward pass over those of the plain one; counted, convolutions only."""
        plain, more = self._macs(graph, _costs(graph))
        return 1 + more / plain

    def time_ratio(self, graph: Graph) -> float:
        """Time of a step of training over that of the plain form: FLOPs with norms, sums and the memory they read.

        Each number that a convolution gives counts as :data:`NUMBER_MACS`, and once more where it has branches.
        """
        costs = _costs(graph)
        plain, more = self._macs(graph, costs)
        numbers = {i: math.prod(cost.output_shape) for i, cost in enumerate(costs) if cost.macs}
        plain += NUMBER_MACS * sum(numbers.values())
        more += NUMBER_MACS * sum(numbers[i] for i in self.branched)
        return 1 + more / plain

    def _macs(self, graph: Graph, costs: Sequence[LayerCost]) -> tuple[int, int]:
        """Of the plain network, and what its training form adds."""
        nodes = graph.nodes()
        more = sum(costs[i].macs // costs[i].kernel ** 2 for i in self.branched)
        for head, tap in zip(graph.outputs, self.taps, strict=False):
            filters, rows, columns = costs[head].output_shape
            more += filters * rows * columns * (nodes[tap].channels if tap >= 0 else graph.channels)
        return sum(cost.macs for cost in costs), more


def _costs(graph: Graph) -> Sequence[LayerCost]:
    side = CHECKED_CELLS * graph.coarsest
    return graph.layer_costs((side, side))


class FreeCapacity(Settings):
    """What a network has in training beyond its graph.

    Attributes:
        convolutions: their form.
        implicit: YOLOR's vectors around the heads; see :class:`ImplicitConvolution`.
        auxiliary: heads for training only.
    """

    convolutions: Convolutions = PlainConvolutions()
    implicit: Annotated[bool, Choice(False, True)] = False
    auxiliary: Auxiliary = NoAuxiliary()

    def plan(self, graph: Graph, frozen: Collection[int] = ()) -> CapacityPlan:
        """Which layers of a graph take which form; ``frozen`` ones, which learn nothing, stay plain."""
        left: list[tuple[int, str]] = []
        branched: list[int] = []
        implicit: list[int] = []
        for index, layer in enumerate(graph.layers):
            if not isinstance(layer, Convolutional) or not self._asks(graph, index, layer):
                continue
            head = index in graph.outputs
            reason = "it is frozen" if index in frozen else _unfit_head(layer) if head else _unfit(layer)
            if reason:
                left.append((index, reason))
            else:
                (implicit if head else branched).append(index)
        return CapacityPlan(tuple(branched), tuple(implicit), self._taps(graph), tuple(left))

    def _asks(self, graph: Graph, index: int, layer: Convolutional) -> bool:
        if index in graph.outputs:
            return self.implicit
        if not isinstance(self.convolutions, BranchedConvolutions) or layer.size != 3:
            return False
        return self.convolutions.layers == "all" or index < backbone_end(graph)

    def _taps(self, graph: Graph) -> tuple[int, ...]:
        if not isinstance(self.auxiliary, AuxiliaryLoss):
            return ()
        end = backbone_end(graph) if self.auxiliary.reads == "backbone" else len(graph.layers)
        return tuple(_earlier_map(graph, head, end) for head in graph.outputs)


def widen(network: Network, plan: CapacityPlan, carried: Collection[int] = ()) -> AuxiliaryHeads | None:
    """Give a plain network its training form, in place.

    Args:
        network: fresh, or filled from weights; its 3x3 convolutions become those of the branches.
        plan: of its graph.
        carried: layers that start from weights: they begin as what was carried over.

    Returns:
        The heads to be trained beside it, if there are any.
    """
    for index in plan.branched:
        convolution, norm = network.block(index)
        assert norm is not None
        after = list(network.convolutions[str(index)].children())[2:]
        network.convolutions[str(index)] = nn.Sequential(Branched(convolution, norm, index in carried), *after)
    for index in plan.implicit:
        network.convolutions[str(index)] = nn.Sequential(ImplicitConvolution(network.head_convolution(index)))
    return AuxiliaryHeads(network, plan.taps) if plan.taps else None


def backbone_end(graph: Graph) -> int:
    """Layers with a lower index are the backbone: those before the first head and the first upsampling."""
    ends = [
        i - 1 if isinstance(la, Head) else i for i, la in enumerate(graph.layers) if isinstance(la, Head | Upsample)
    ]
    return min(ends, default=len(graph.layers))


def _unfit(layer: Convolutional) -> str:
    """Why branches beside a 3x3 convolution would not fold into it; empty where they do."""
    if not layer.batch_normalize:
        return "it has no batch norm"
    if layer.border != layer.dilation:
        return f"its kernel is not centred: padding {layer.border}"
    return ""


def _unfit_head(layer: Convolutional) -> str:
    """Why vectors around a head would not fold into it; empty where they do."""
    if layer.batch_normalize:
        return "it has a batch norm"
    if layer.size != 1 or layer.border:
        return f"what is added at its border cannot fold: size {layer.size}, padding {layer.border}"
    return ""


def _earlier_map(graph: Graph, head: int, end: int) -> int:
    """The last layer before ``end`` and before what a head reads that gives a map of the head's stride.

    Where there is none, what the head reads itself.
    """
    nodes, own = graph.nodes(), head - 1
    earlier = [
        index
        for index, layer in enumerate(graph.layers[: max(0, min(own, end))])
        if nodes[index].strides == nodes[head].strides and index not in graph.outputs and not isinstance(layer, Head)
    ]
    return earlier[-1] if earlier else own
