"""What a bundle is made from, and what a board puts into it."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from edgehone.boards import Precision
from edgehone.data.dataset import Sample
from edgehone.deploy.device.runtime.manifest import DELIVERED
from edgehone.deploy.integer.eight_bits import EightBits
from edgehone.deploy.onnx_graph import MASTER, OPSET, GraphForm, build_model
from edgehone.inference import Detector, DetectorInfo, Image, PostProcess, TorchRuntime
from edgehone.models import Network, fold
from edgehone.space import Settings
from edgehone.types import Json, LayerCost

VERSION = importlib.metadata.version("edgehone")

Said = Literal["raw", "parts", "detections"]
"""What a graph's outputs are: raw heads, heads in parts, or detections."""

USUAL = PostProcess(score_threshold=0.05, iou_threshold=0.45)
"""Thresholds of a bundle, where nobody says others: what detecting uses, down to scores that few act on."""


class Asked(Settings):
    """How a bundle's graphs are written where that is not left to the board.

    Attributes:
        opset: of all graphs that do not round: 11, 12 or 13; None: the board's own.
        slice_free: every graph that does not round is written without Slice.
        two_axis_resize: on the KL720 one Resize enlarges rows and columns, about which the vendor's sources disagree.
    """

    opset: int | None = None
    slice_free: bool = False
    two_axis_resize: bool = False


AS_USUAL = Asked()


@dataclass(frozen=True)
class Source:
    """What a bundle is made from.

    Attributes:
        network: trained, in evaluation mode.
        info: how it is read.
        golden: pictures, of which everything is written down.
        training: samples that are representative of what it will see, for calibration on the board's side.
        post: thresholds.
        eight_bits: how it is held in 8 bits; None where nobody calibrated it.
        asked: how graphs are to be written.
        origin: a sentence on where its weights come from; "" where nobody knows.
    """

    network: Network
    info: DetectorInfo
    golden: Sequence[Image]
    training: Sequence[Sample] = ()
    post: PostProcess = USUAL
    eight_bits: EightBits | None = None
    asked: Asked = AS_USUAL
    origin: str = ""

    @cached_property
    def folded(self) -> Network:
        """Without batch norms."""
        return fold(self.network)

    @cached_property
    def costs(self) -> list[LayerCost]:
        """Of every layer at the input size."""
        return self.network.graph.layer_costs(self.info.input_size)

    @cached_property
    def detector(self) -> Detector:
        """The trained network itself: what everything else is held against."""
        return Detector(self.info, TorchRuntime(self.network))

    def prepared(self, image: Image) -> NDArray[np.uint8]:
        """``[height, width, 3]`` uint8: a picture in the network input."""
        pixels = (self.detector.prepare(image) * 255).round().to(torch.uint8)
        return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())

    @property
    def repaired(self) -> Network | None:
        """The folded network whose weights or biases were changed for 8 bits; None where they were not."""
        return None if self.eight_bits is None else self.eight_bits.changed_network

    def graph(self, opset: int = OPSET, form: GraphForm = MASTER, folded: Network | None = None) -> onnx.ModelProto:
        """The network's graph in a form, or that of another folded network; it says itself how it is read."""
        if self.asked.slice_free:
            form = form.model_copy(update={"slice_free": True})
        opset = self.asked.opset or opset
        return build_model(folded or self.folded, self.info.input_size, self._metadata(form), opset, form)

    def rounded_graph(self, *, unsigned: bool = False) -> onnx.ModelProto:
        """The master graph with the rounding of ``eight_bits`` in it, in int8 or, for OpenVINO, ``unsigned``.

        Raises:
            ValueError: it is not held in 8 bits.
        """
        if self.eight_bits is None:
            raise ValueError("only a detector that is held in 8 bits can be rounded")
        return self.eight_bits.graph(self.info.input_size, self._metadata(MASTER), unsigned=unsigned)

    def _metadata(self, form: GraphForm) -> dict[str, Json]:
        scale, offset = (1 / 255, 0.0) if form.restore is None else (1 / 256, -0.5)
        return {
            "detector": self.info.model_dump(mode="json"),
            "normalisation": {"colour": "rgb", "scale": scale, "offset": offset},
        }


@dataclass(frozen=True)
class Variant:
    """One way to run a bundle: a manifest.

    Attributes:
        name: ``fp16-nms``; the file name of the manifest in the folder ``variants``.
        graph: file name of the ONNX graph.
        runtime: of the device runtime.
        precision: of the arithmetic.
        says: what its outputs are.
        model: file that the runtime loads, where that is not the graph itself.
        rounded: the graph itself rounds, and so is not equal to the network.
        repaired: folded network of the graph, where its weights were changed for 8 bits; None: the trained one.
        scale: the network sees ``pixel * scale + offset``.
        offset: see ``scale``.
    """

    name: str
    graph: str
    runtime: Literal["onnxruntime", "openvino", "tensorrt", "kneron"]
    precision: Precision
    says: Said = "raw"
    model: str | None = None
    rounded: bool = False
    repaired: Network | None = None
    scale: float = 1 / 255
    offset: float = 0.0

    @property
    def executed(self) -> bool:
        """Whether the graph rounds and the very same arithmetic runs here: then it is held against itself."""
        return self.rounded and self.runtime in DELIVERED

    @property
    def golden(self) -> str:
        """Kind of its golden tensors: variants of one kind share them."""
        mark = f"_rounded_{self.runtime}" if self.executed else "_repaired" if self.repaired is not None else ""
        return f"{self.says}{mark}"


@dataclass(frozen=True)
class Contents:
    """What is put into a bundle.

    Attributes:
        graphs: file name to ONNX graph.
        variants: ways to run it; the first of a bundle is what its ``manifest.json`` says.
        files: path in the bundle to content.
        readme: the steps on the board, for its README.
    """

    graphs: Mapping[str, onnx.ModelProto] = field(default_factory=dict[str, onnx.ModelProto])
    variants: tuple[Variant, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    readme: str = ""

    def __add__(self, more: Contents) -> Contents:
        return Contents(
            {**self.graphs, **more.graphs},
            (*self.variants, *more.variants),
            {**self.files, **more.files},
            "\n".join(text for text in (self.readme, more.readme) if text),
        )


Maker = Callable[[Source], Contents]
"""Adds to a bundle."""
