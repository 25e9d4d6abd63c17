"""What a bundle is made from, and what a board puts into it."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from edgehone.boards import Precision
from edgehone.data.dataset import Sample
from edgehone.deploy.onnx_graph import MASTER, OPSET, GraphForm, build_model
from edgehone.inference import Detector, DetectorInfo, Image, PostProcess, TorchRuntime
from edgehone.models import Network, fold
from edgehone.types import Json, LayerCost

VERSION = importlib.metadata.version("edgehone")

Said = Literal["raw", "parts", "detections"]
"""What a graph's outputs are: raw heads, heads in parts, or detections."""

USUAL = PostProcess(score_threshold=0.05, iou_threshold=0.45)
"""Thresholds of a bundle, where nobody says others: what detecting uses, down to scores that few act on."""


@dataclass(frozen=True)
class Source:
    """What a bundle is made from.

    Attributes:
        network: trained, in evaluation mode.
        info: how it is read.
        golden: pictures, of which everything is written down.
        training: samples that are representative of what it will see, for calibration on the board's side.
        post: thresholds.
        amax: largest magnitude of every tensor of the master graph, for 8 bits; empty where it is not calibrated.
    """

    network: Network
    info: DetectorInfo
    golden: Sequence[Image]
    training: Sequence[Sample] = ()
    post: PostProcess = USUAL
    amax: Mapping[str, float] = field(default_factory=dict[str, float])

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

    def graph(self, opset: int = OPSET, form: GraphForm = MASTER) -> onnx.ModelProto:
        """The network's graph in a form; it says itself how it is read."""
        scale, offset = (1 / 255, 0.0) if form.restore is None else (1 / 256, -0.5)
        metadata: dict[str, Json] = {
            "detector": self.info.model_dump(mode="json"),
            "normalisation": {"colour": "rgb", "scale": scale, "offset": offset},
        }
        return build_model(self.folded, self.info.input_size, metadata, opset, form)


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
    scale: float = 1 / 255
    offset: float = 0.0

    def picture(self) -> dict[str, Any]:
        """Scale and offset, for the manifest."""
        return {"scale": self.scale, "offset": self.offset}


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
