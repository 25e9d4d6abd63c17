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
from edgehone.darknet_pair import DarknetReading, Fit, open_pair, split_pair
from edgehone.errors import EdgehoneError, UsageError
from edgehone.files import write_bytes
from edgehone.models import Graph, Network, architecture
from edgehone.projection.lattice import build_lattice
from edgehone.space import SCHEMA, Settings, load
from edgehone.strategy import DARKNET, Strategy
from edgehone.types import Detections, Lattice, Predictions, Size

Precision = Literal["fp32", "bf16"]
Image = NDArray[np.uint8]

CHECKPOINT = "detector.pt"
EXPORT = "model.onnx"


class DetectorInfo(Settings):
    """What a file of weights does not say: everything needed to read a detector's raw heads.

    Attributes:
        model: the architecture, as :func:`~edgehone.models.architecture` names it.
        class_names: in the order of the class logits.
        anchors_px: the full anchor list, (width, height) at the network input.
        strategy: how it learned; its ``input`` and ``projection`` say how to read it, unless ``reading`` does.
        class_counts: objects of each class in its training data; empty where that is not known.
        cfg: text of the Darknet cfg that describes the architecture, so that the file is not needed again.
        masks: which anchors each head owns, coarse stride first; empty: as the strategy's projection says.
        reading: of a Darknet pair.
    """

    model: str
    class_names: tuple[str, ...]
    anchors_px: tuple[tuple[float, float], ...]
    strategy: Strategy
    class_counts: tuple[int, ...] = ()
    cfg: str | None = None
    masks: tuple[tuple[int, ...], ...] = ()
    reading: DarknetReading | None = None

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

    def graph(self) -> Graph:
        """The layers for these classes and anchors."""
        anchors = None if self.masks else self.anchors_per_level[0]
        return architecture(self.model, self.cfg).graph(len(self.class_names), anchors)

    def network(self) -> Network:
        """The untrained network."""
        return Network(self.graph())

    @property
    def anchors_per_level(self) -> tuple[int, ...]:
        """Anchors in each cell of each head, coarse head first."""
        heads = len(architecture(self.model, self.cfg).graph(len(self.class_names)).outputs)
        masks = self.masks or self.strategy.projection.anchor_masks(heads)
        return tuple(len(mask) for mask in masks)

    @property
    def input_size(self) -> Size:
        """``(height, width)`` of the network input."""
        return self.strategy.input.shape if self.reading is None else self.reading.input_size

    @property
    def fit(self) -> Fit:
        """How a picture of another shape is brought into the network input."""
        return self.strategy.input.fit if self.reading is None else self.reading.fit

    def lattice(self, input_size: Size | None = None) -> Lattice:
        """The lattice at the network input's size, or another; the anchors keep their pixels."""
        strides, size = self.graph().strides, input_size or self.input_size
        if self.masks:
            return build_lattice(torch.tensor(self.anchors_px), self.masks, strides, size)
        return self.strategy.projection.lattice(np.array(self.anchors_px), strides, size)

    def predictions(self, heads: Sequence[Tensor], lattice: Lattice) -> Predictions:
        """Raw heads of a batch, decoded."""
        reader = self.strategy.projection if self.reading is None else self.reading
        return reader.predictions(heads, lattice)


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
    """The network itself, in evaluation mode; it is brought to ``device``, heads come back to the CPU."""

    network: Network
    precision: Precision = "fp32"
    device: str = "cpu"

    def __post_init__(self) -> None:
        self.network.to(self.device)

    @torch.inference_mode()
    def heads(self, pixels: Tensor) -> list[Tensor]:
        """See :class:`Runtime`."""
        self.network.eval()
        pixels = pixels.to(self.device, memory_format=torch.channels_last)
        with torch.autocast(pixels.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"):
            return [head.float().cpu() for head in self.network(pixels)]


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
        return self.info.input_size

    def prepare(self, image: Image) -> Tensor:
        """A picture of any size ``[h, w, 3]`` to ``[3, *input_size]`` float32 in 0..1."""
        reading = self.info.reading
        fitted = fit_picture(image, self.input_size, self.info.fit) if reading is None else reading.prepare(image)
        return torch.from_numpy(fitted).permute(2, 0, 1).float() / 255

    def detect(
        self, images: Iterable[Image], post: PostProcess | None = None, batch_size: int = 8
    ) -> Iterator[Detections]:
        """Detections of each picture in turn, in its own pixels, best first; pictures are read lazily."""
        post = post or PostProcess()
        lattice = self.info.lattice()
        for group in _groups(images, batch_size):
            heads = self.runtime.heads(torch.stack([self.prepare(image) for image in group]))
            predictions = self.info.predictions(heads, lattice)
            joint = predictions.objectness_logits.sigmoid()[..., None] * predictions.class_logits.sigmoid()
            for k, image in enumerate(group):
                found = select(predictions.boxes_xyxy[k], joint[k], post)
                size = (image.shape[0], image.shape[1])
                boxes = unfit_boxes(found.boxes_xyxy, size, self.input_size, self.info.fit)
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


def open_detector(source: str | Path, threads: int = 0, letterbox: bool | None = None) -> Detector:
    """A detector from a run folder, a checkpoint (.pt), an exported graph (.onnx) or ``a.cfg+a.weights``.

    Args:
        source: a path, or two with a plus between them for a Darknet pair.
        threads: of ONNX Runtime; 0 lets it choose.
        letterbox: for a Darknet pair, whether pictures keep their aspect; None: as its cfg says.

    Raises:
        UsageError: there is no such file, its kind is unknown, or ``letterbox`` for what is no Darknet pair.
        EdgehoneError: the file cannot be read.
    """
    pair = split_pair(str(source))
    if pair is not None:
        return darknet_detector(*pair, letterbox=letterbox)
    if letterbox is not None:
        raise UsageError(f"only for a Darknet pair the fit can be chosen; {source} says itself how it was trained")
    path = Path(source)
    if path.is_dir():
        found = [path / name for name in (EXPORT, CHECKPOINT) if (path / name).is_file()]
        if not found:
            raise UsageError(f"a run folder holds {EXPORT} or {CHECKPOINT}; {path} holds neither")
        path = found[0]
    if not path.is_file():
        raise UsageError(f"there is no model at {path}")
    if path.suffix == ".onnx":
        return Detector(onnx_info(path), OnnxRuntime(path, threads))
    if path.suffix == ".pt":
        network, info = open_network(path)
        return Detector(info, TorchRuntime(network))
    raise UsageError(f"a model is a run folder, a .pt checkpoint, an .onnx file or A.cfg+A.weights, got {path}")


def darknet_detector(cfg: Path, weights: Path, letterbox: bool | None = None, names: Path | None = None) -> Detector:
    """The detector of a Darknet cfg and its weights; see :func:`~edgehone.darknet_pair.open_pair`."""
    pair = open_pair(cfg, weights, letterbox, names)
    info = DetectorInfo(
        model=pair.name,
        class_names=pair.class_names,
        anchors_px=pair.anchors_px,
        strategy=DARKNET,
        cfg=pair.text,
        masks=pair.masks,
        reading=pair.reading,
    )
    return Detector(info, TorchRuntime(pair.network))


def onnx_info(path: Path) -> DetectorInfo:
    """What an exported graph says of itself.

    Raises:
        EdgehoneError: it is not one of edgehone's.
    """
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
