"""Detectors that answer: a checkpoint or an ONNX file opened, pictures in, detections out.

Post-processing is the same for every runtime: raw heads -> decode -> score = objectness x class ->
class-wise suppression -> pixels of the original picture.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from edgehone.augment import fit_picture, unfit_boxes
from edgehone.boxes import nms
from edgehone.errors import EdgehoneError, UsageError
from edgehone.files import write_bytes
from edgehone.models import MODELS, Network
from edgehone.space import SCHEMA, Settings, load
from edgehone.strategy import Strategy
from edgehone.types import Detections, Lattice, Size

Precision = Literal["fp32", "bf16"]
Image = NDArray[np.uint8]

CHECKPOINT = "detector.pt"
EXPORT = "model.onnx"


class DetectorInfo(Settings):
    """What a file of weights does not say: everything needed to read a detector's raw heads.

    Attributes:
        model: name of the architecture.
        class_names: in the order of the class logits.
        anchors_px: the full anchor list, (width, height) at the network input.
        strategy: how it learned; its ``input`` and ``projection`` say how to read it.
        class_counts: objects of each class in its training data; empty where that is not known.
    """

    model: str
    class_names: tuple[str, ...]
    anchors_px: tuple[tuple[float, float], ...]
    strategy: Strategy
    class_counts: tuple[int, ...] = ()

    def require_classes(self, class_names: Sequence[str]) -> None:
        """Refuse data of other classes.

        Raises:
            EdgehoneError: with both lists.
        """
        if self.class_names != tuple(class_names):
            raise EdgehoneError(
                f"the model and the data must have the same classes in the same order; the model has "
                f"{', '.join(self.class_names)}, the data {', '.join(class_names)}"
            )

    def network(self) -> Network:
        """The untrained network."""
        return Network(MODELS[self.model].graph(len(self.class_names), self.anchors_per_level[0]))

    @property
    def anchors_per_level(self) -> tuple[int, ...]:
        """Anchors in each cell of each head, coarse head first."""
        heads = len(MODELS[self.model].graph(len(self.class_names)).outputs)
        return tuple(len(mask) for mask in self.strategy.projection.anchor_masks(heads))

    def lattice(self) -> Lattice:
        """The lattice at the strategy's input size."""
        strides = MODELS[self.model].graph(len(self.class_names)).strides
        return self.strategy.projection.lattice(np.array(self.anchors_px), strides, self.strategy.input.shape)


class PostProcess(Settings):
    """Thresholds between raw scores and detections; the defaults are those of COCO evaluation."""

    score_threshold: float = Field(default=0.001, ge=0, lt=1)
    iou_threshold: float = Field(default=0.65, gt=0, le=1)
    candidates: int = Field(default=1000, ge=1)
    limit: int = Field(default=100, ge=1)


class Runtime(Protocol):
    """Something that runs a graph."""

    def heads(self, pixels: Tensor) -> list[Tensor]:
        """``[b, 3, h, w]`` float32 RGB in 0..1 to raw heads, coarse stride first."""
        ...


@dataclass
class TorchRuntime:
    """The network itself, in evaluation mode."""

    network: Network
    precision: Precision = "fp32"

    @torch.inference_mode()
    def heads(self, pixels: Tensor) -> list[Tensor]:
        """See :class:`Runtime`."""
        self.network.eval()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.precision == "bf16"):
            return [head.float() for head in self.network(pixels.to(memory_format=torch.channels_last))]


class OnnxRuntime:
    """ONNX Runtime on the CPU; the graph takes one picture at a time."""

    def __init__(self, path: Path, threads: int = 0) -> None:
        import onnxruntime

        options = cast(Any, onnxruntime).SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self.session: Any = cast(Any, onnxruntime).InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime raises many private types for an unreadable file
            raise EdgehoneError(f"ONNX Runtime cannot open {path}: {error}") from None

    def heads(self, pixels: Tensor) -> list[Tensor]:
        """See :class:`Runtime`."""
        each = [self.session.run(None, {"images": one[None].numpy()}) for one in pixels.contiguous()]
        return [torch.from_numpy(np.concatenate(parts)) for parts in zip(*each, strict=True)]


@dataclass
class Detector:
    """A runtime with what is needed to read its heads."""

    info: DetectorInfo
    runtime: Runtime

    @property
    def input_size(self) -> Size:
        """``(height, width)`` of the network input."""
        return self.info.strategy.input.shape

    def prepare(self, image: Image) -> Tensor:
        """A picture of any size ``[h, w, 3]`` to ``[3, *input_size]`` float32 in 0..1."""
        fitted = fit_picture(image, self.input_size, self.info.strategy.input.fit)
        return torch.from_numpy(fitted).permute(2, 0, 1).float() / 255

    def detect(
        self, images: Iterable[Image], post: PostProcess | None = None, batch_size: int = 8
    ) -> Iterator[Detections]:
        """Detections of each picture in turn, in its own pixels, best first; pictures are read lazily."""
        post = post or PostProcess()
        lattice = self.info.lattice()
        for group in _groups(images, batch_size):
            heads = self.runtime.heads(torch.stack([self.prepare(image) for image in group]))
            predictions = self.info.strategy.projection.predictions(heads, lattice)
            joint = predictions.objectness_logits.sigmoid()[..., None] * predictions.class_logits.sigmoid()
            for k, image in enumerate(group):
                found = select(predictions.boxes_xyxy[k], joint[k], post)
                size = (image.shape[0], image.shape[1])
                boxes = unfit_boxes(found.boxes_xyxy, size, self.input_size, self.info.strategy.input.fit)
                yield Detections(boxes, found.scores, found.classes)


def select(boxes_xyxy: Tensor, scores: Tensor, post: PostProcess) -> Detections:
    """The detections of one picture: ``[n, 4]`` boxes and ``[n, c]`` scores, several classes a slot allowed."""
    flat = scores.flatten()
    keep = (flat > post.score_threshold).nonzero()[:, 0]
    if len(keep) > post.candidates:
        keep = keep[flat[keep].argsort(descending=True, stable=True)[: post.candidates]]
    slots, classes = keep // scores.shape[1], keep % scores.shape[1]
    best = nms(boxes_xyxy[slots], flat[keep], post.iou_threshold, classes)[: post.limit]
    return Detections(
        boxes_xyxy[slots][best].numpy().astype(np.float32),
        flat[keep][best].numpy().astype(np.float32),
        classes[best].numpy().astype(np.int64),
    )


def save_detector(network: Network, info: DetectorInfo, path: Path) -> None:
    """Write weights and :class:`DetectorInfo` as one checkpoint."""
    buffer = io.BytesIO()
    content = {"schema": SCHEMA, "info": info.model_dump_json(), "state": network.state_dict()}
    torch.save(content, buffer)
    write_bytes(path, buffer.getvalue())


def open_network(path: Path) -> tuple[Network, DetectorInfo]:
    """Network and description from a checkpoint.

    Raises:
        EdgehoneError: not a checkpoint of this schema.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["schema"] != SCHEMA:
            raise ValueError(f"its schema is {content['schema']}, this version reads {SCHEMA}")
        info = load(DetectorInfo, json.loads(content["info"]))
        network = info.network()
        network.load_state_dict(content["state"])
    except (UsageError, OSError, RuntimeError, KeyError, TypeError, ValueError, EOFError) as error:
        raise EdgehoneError(f"{path} is not a checkpoint of this version of edgehone: {error}") from None
    except Exception as error:  # unpickling an arbitrary file may raise anything
        raise EdgehoneError(f"{path} is not a checkpoint: {type(error).__name__}") from None
    return network.eval(), info


def open_detector(source: str | Path, threads: int = 0) -> Detector:
    """A detector from a run folder, a checkpoint (.pt) or an exported graph (.onnx).

    Raises:
        UsageError: there is no such file, or its kind is unknown.
        EdgehoneError: the file cannot be read.
    """
    path = Path(source)
    if path.is_dir():
        found = [path / name for name in (EXPORT, CHECKPOINT) if (path / name).is_file()]
        if not found:
            raise UsageError(f"a run folder holds {EXPORT} or {CHECKPOINT}; {path} holds neither")
        path = found[0]
    if not path.is_file():
        raise UsageError(f"there is no model at {path}")
    if path.suffix == ".onnx":
        return Detector(_onnx_info(path), OnnxRuntime(path, threads))
    if path.suffix == ".pt":
        network, info = open_network(path)
        return Detector(info, TorchRuntime(network))
    raise UsageError(f"a model is a run folder, a .pt checkpoint or an .onnx file, got {path}")


def _onnx_info(path: Path) -> DetectorInfo:
    import onnx

    try:
        metadata = {item.key: item.value for item in onnx.load(str(path), load_external_data=False).metadata_props}
    except Exception as error:  # protobuf raises private types for an unreadable file
        raise EdgehoneError(f"{path} is not an ONNX file: {error}") from None
    if "edgehone" not in metadata:
        raise EdgehoneError(f"{path} was not exported by edgehone: it does not say how to read its heads")
    try:
        return load(DetectorInfo, json.loads(metadata["edgehone"])["detector"])
    except (UsageError, KeyError, TypeError, ValueError) as error:
        raise EdgehoneError(f"{path} was not exported by this version of edgehone: {error}") from None


def _groups(images: Iterable[Image], size: int) -> Iterator[Sequence[Image]]:
    group: list[Image] = []
    for image in images:
        group.append(image)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
