"""The tensors of our ONNX graph by name, and what ran through them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import onnx
from numpy.typing import NDArray
from torch import Tensor

from edgehone.deploy.integer.calibration import Calibrator
from edgehone.deploy.integer.histogram import Histogram
from edgehone.deploy.onnx_graph import INPUT, build_model
from edgehone.models import Convolutional, Dropout, Graph, Head, Network, Route
from edgehone.types import Size

PARTS = {"box": slice(0, 4), "objectness": slice(4, 5), "class": slice(5, None)}
"""Of the numbers of one anchor."""


def tensor_name(graph: Graph, index: int) -> str:
    """The tensor of the ONNX graph that holds what a layer gives; -1 is the picture."""
    if index < 0:
        return INPUT
    layer, reads = graph.layers[index], graph.layers[index].reads(index)
    if index in graph.outputs:
        return f"stride{graph.nodes()[index].stride}"
    if isinstance(layer, Route) and len(reads) == 1:
        return tensor_name(graph, reads[0]) if layer.groups == 1 else f"{graph.name(index)}_of_{reads[0]}"
    if isinstance(layer, Dropout | Head):
        return tensor_name(graph, reads[0])
    return graph.name(index)


def tensor_names(graph: Graph) -> dict[int, str]:
    """:func:`tensor_name` of the picture and of every layer."""
    return {index: tensor_name(graph, index) for index in range(-1, len(graph.layers))}


def before_activation(graph: Graph, index: int) -> str:
    """The tensor between a convolution and its activation; its result where it has none."""
    layer, name = graph.layers[index], tensor_name(graph, index)
    has = isinstance(layer, Convolutional) and layer.activation != "linear" and index not in graph.outputs
    return f"{name}_linear" if has else name


def part_channels(channels: int, fields: int) -> dict[str, list[int]]:
    """Channels of each of :data:`PARTS` in a head of ``channels`` whose anchors have ``fields`` numbers each."""
    rows = np.arange(channels).reshape(-1, fields)
    return {part: rows[:, columns].ravel().tolist() for part, columns in PARTS.items()}


@dataclass(frozen=True)
class Seen:
    """What passed the tensors of a graph.

    Attributes:
        histograms: by tensor name; every tensor of the ONNX graph.
        parts: by head and part: ``stride32_box``, ``stride32_objectness``, ``stride32_class``.
    """

    histograms: Mapping[str, Histogram]
    parts: Mapping[str, Histogram]

    def amax(self, calibrator: Calibrator) -> dict[str, float]:
        """Largest number that each tensor's 8-bit format must hold; 127 steps."""
        return {name: calibrator.amax(histogram) for name, histogram in self.histograms.items()}

    @property
    def means(self) -> dict[str, NDArray[np.float64]]:
        """``[c]`` mean of each channel, by tensor name."""
        return {name: histogram.channel_means for name, histogram in self.histograms.items()}

    def part_amax(self, calibrator: Calibrator) -> dict[str, float]:
        """The same of parts of heads."""
        return {name: calibrator.amax(histogram) for name, histogram in self.parts.items()}


def collect(folded: Network, input_size: Size, pictures: Iterable[Tensor], fields: int) -> Seen:
    """Run the exported graph over pictures ``[3, h, w]`` in 0..1 and count what passes every tensor of it.

    Args:
        folded: the network, batch norms folded.
        input_size: of the pictures.
        pictures: some hundred, of the training split; read once.
        fields: numbers of an anchor in a head: 5 + classes.

    Raises:
        ValueError: a tensor holds NaN or infinity.
    """
    model = build_model(folded, input_size, {})
    heads = {item.name for item in model.graph.output}
    inner = [name for node in model.graph.node for name in node.output if name not in heads]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner)
    session = open_session(model)
    names = [item.name for item in session.get_outputs()]
    found = {name: Histogram() for name in (INPUT, *names)}
    parts = {f"{head}_{part}": Histogram() for head in heads for part in PARTS}
    for picture in pictures:
        pixels = picture[None].numpy()
        found[INPUT].add(pixels)
        for name, values in zip(names, session.run(None, {INPUT: pixels}), strict=True):
            found[name].add(values)
            if name in heads:
                for part, channels in part_channels(values.shape[1], fields).items():
                    parts[f"{name}_{part}"].add(values[:, channels])
    return Seen(found, parts)


def open_session(model: onnx.ModelProto) -> Any:
    """ONNX Runtime on the CPU, one thread."""
    import onnxruntime

    options = cast(Any, onnxruntime).SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return cast(Any, onnxruntime).InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
