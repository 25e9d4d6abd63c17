"""Which numbers of a detector are held in how many bits, and how long their steps are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgehone.boards import Precision
from edgehone.deploy.integer.calibration import Calibrator, Max
from edgehone.deploy.integer.scheme import LEVELS, Scheme
from edgehone.deploy.integer.tensors import Seen, part_channels, tensor_name
from edgehone.models import Dropout, Graph, Head, Layer, Maxpool, Reorg, Route, Upsample


@dataclass(frozen=True)
class Format:
    """How a tensor is held.

    Attributes:
        precision: of its numbers.
        step: real size of a step, float32, for all channels or ``[c, 1, 1]``; None: the numbers are real.
    """

    precision: Precision
    step: Tensor | None = None


@dataclass(frozen=True)
class Plan:
    """Formats of all results and weights: 8 bits, but for the exceptions.

    Attributes:
        scheme: arithmetic of the board.
        amax: tensor name to the largest number that its 8-bit format must hold.
        peaks: tensor name to the largest number seen: what 16 bits hold.
        fields: numbers of an anchor in a head: 5 + classes.
        usual: of all that is not named below.
        results: layer to how its result is held.
        weights: convolution to how its weights are held.
        means: tensor name to the mean of each channel, ``[c]``; with them biases make good what rounded weights add on
            average (:mod:`edgehone.deploy.integer.bias_correction`). Empty: biases are as they were trained.
    """

    scheme: Scheme
    amax: Mapping[str, float]
    peaks: Mapping[str, float]
    fields: int
    usual: Precision = "int8"
    results: Mapping[int, Precision] = field(default_factory=dict[int, Precision])
    weights: Mapping[int, Precision] = field(default_factory=dict[int, Precision])
    means: Mapping[str, NDArray[np.float64]] = field(default_factory=dict[str, NDArray[np.float64]])

    def weight_precision(self, index: int) -> Precision:
        """Of a convolution's weights."""
        return self.weights.get(index, self.usual)

    def widened(self, index: int) -> Plan:
        """The same, but one layer calculated in what its board offers beside 8 bits."""
        wide: Precision = self.scheme.wide
        weights = self.weights if wide == "int16" else {**self.weights, index: wide}
        return replace(self, results={**self.results, index: wide}, weights=weights)

    def result_precision(self, graph: Graph, index: int) -> Precision:
        """Of what a layer gives, or of the picture (-1); of a layer that passes on what it reads, not to be asked."""
        usual = self.scheme.outputs if index in graph.outputs and self.usual == "int8" else self.usual
        return self.results.get(index, usual)

    def only(self, graph: Graph, index: int) -> Plan:
        """Everything in fp32 but one layer: its weights and its result."""
        held = self.result_precision(graph, index)
        return replace(self, usual="fp32", results={index: held}, weights={index: self.weight_precision(index)})

    def eight_bits(self, name: str) -> Format:
        """The 8-bit format of a tensor."""
        return Format("int8", torch.tensor(self.scheme.step(self.amax[name])))

    def read_format(self, name: str, form: Format) -> Format:
        """What a convolution with whole weights makes of a tensor in a format: 8 bits of it if it is real."""
        return self.eight_bits(name) if form.step is None else form

    def formats(self, graph: Graph) -> dict[int, Format]:
        """How the picture (-1) and the result of every layer are held."""
        found = {-1: self._format(tensor_name(graph, -1), self.result_precision(graph, -1))}
        for index, layer in enumerate(graph.layers):
            if passes_on(layer):
                found[index] = found[layer.reads(index)[0]]
            elif index in graph.outputs:
                found[index] = self._head_format(graph, index)
            else:
                found[index] = self._format(tensor_name(graph, index), self.result_precision(graph, index))
        return found

    def _format(self, name: str, precision: Precision) -> Format:
        if precision not in LEVELS:
            return Format(precision)
        reach = self.amax[name] if precision == "int8" else self.peaks[name]
        return Format(precision, torch.tensor(self.scheme.step(reach, precision)))

    def _head_format(self, graph: Graph, index: int) -> Format:
        precision, name = self.result_precision(graph, index), tensor_name(graph, index)
        alone = all(index not in la.reads(i) for i, la in enumerate(graph.layers) if not isinstance(la, Head))
        if precision not in LEVELS or self.scheme.heads == "joint" or not alone:
            return self._format(name, precision)
        channels = graph.nodes()[index].channels
        steps = torch.empty(channels, 1, 1)
        for part, places in part_channels(channels, self.fields).items():
            step = self._format(f"{name}_{part}", precision).step
            assert step is not None
            steps[places] = step
        return Format(precision, steps)


def passes_on(layer: Layer) -> bool:
    """Whether a layer only chooses among the numbers that it reads: its result has their format."""
    if isinstance(layer, Route):
        return len(layer.layers) == 1
    return isinstance(layer, Maxpool | Reorg | Dropout | Head) or (isinstance(layer, Upsample) and layer.scale == 1)


def make_plan(scheme: Scheme, seen: Seen, fields: int, calibrator: Calibrator | None = None) -> Plan:
    """Everything in 8 bits, ranges by ``calibrator`` (None: the largest seen)."""
    chosen, largest = (seen.amax(c) | seen.part_amax(c) for c in (calibrator or Max(), Max()))
    return Plan(scheme, chosen, largest, fields)
