"""Detectors from one kind of file to another: Darknet's pair, checkpoints and ONNX graphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from edgehone.darknet_pair import split_pair
from edgehone.deploy.onnx_graph import OPSET, export_onnx
from edgehone.errors import EdgehoneError, UsageError
from edgehone.files import write_text
from edgehone.inference import (
    CHECKPOINT,
    EXPORT,
    DetectorInfo,
    TorchRuntime,
    darknet_detector,
    onnx_info,
    open_detector,
)
from edgehone.models import Convolutional, Graph, Head, Network, Shortcut
from edgehone.models.darknet import Cfg, Header, parse_cfg, write_cfg, write_weights

FORMS = "A.cfg A.weights A.onnx, MODEL A.onnx, or MODEL A.cfg A.weights (MODEL: a .pt, an .onnx or A.cfg+A.weights)"


@dataclass(frozen=True)
class Conversion:
    """How files are converted.

    Attributes:
        opset: of an ONNX graph, 13 or 11.
        letterbox: whether a Darknet pair keeps the aspect of pictures; None: as its cfg says.
        names: class names of a Darknet pair, one a line; None: the ``.names`` file beside it.
    """

    opset: int = OPSET
    letterbox: bool | None = None
    names: Path | None = None


def convert_files(files: Sequence[str], how: Conversion | None = None) -> list[Path]:
    """Convert by the suffixes of the files: sources first, then what is to be written.

    Returns:
        The files that were written.

    Raises:
        UsageError: no known conversion, or a missing file.
        EdgehoneError: a source that cannot be read, or that the other form cannot express.
    """
    how = how or Conversion()
    suffixes = [Path(name).suffix.lower() for name in files]
    if suffixes == [".cfg", ".weights", ".onnx"]:
        return [convert(Path(files[0]), Path(files[1]), Path(files[2]), how)]
    if len(files) == 2 and suffixes[1] == ".onnx" and suffixes[0] != ".onnx":
        network, info = open_trained(files[0], how.letterbox)
        return [_write_onnx(network, info, Path(files[1]), how.opset)]
    if len(files) == 3 and suffixes[1:] == [".cfg", ".weights"]:
        network, info = open_trained(files[0], how.letterbox)
        return to_darknet(network, info, Path(files[1]), Path(files[2]), _header(files[0]))
    raise UsageError(f"files are converted as {FORMS}; got {' '.join(files)}")


def convert(cfg: Path, weights: Path, onnx_path: Path, how: Conversion | None = None) -> Path:
    """A Darknet pair as an ONNX graph that says itself how it is read.

    Raises:
        UsageError: a missing file.
        EdgehoneError: a damaged file, or weights of another cfg.
    """
    how = how or Conversion()
    detector = darknet_detector(cfg, weights, how.letterbox, how.names)
    assert isinstance(detector.runtime, TorchRuntime)
    return _write_onnx(detector.runtime.network, detector.info, onnx_path, how.opset)


def _write_onnx(network: Network, info: DetectorInfo, path: Path, opset: int) -> Path:
    metadata = {"detector": info.model_dump(mode="json"), "normalisation": "RGB / 255"}
    return export_onnx(network, info.input_size, metadata, path, opset)


def open_trained(source: str | Path, letterbox: bool | None = None) -> tuple[Network, DetectorInfo]:
    """Network and description of a run's or a training's folder, a checkpoint, an exported graph or a Darknet pair.

    Args:
        source: of a folder its checkpoint is read, else its graph.
        letterbox: see :func:`~edgehone.inference.open_detector`.

    Raises:
        UsageError: there is no such file, or its kind is unknown.
        EdgehoneError: the file cannot be read.
    """
    path = Path(source)
    if path.is_dir():
        held = [path / name for name in (CHECKPOINT, EXPORT) if (path / name).is_file()]
        if not held:
            raise UsageError(f"a run folder holds {CHECKPOINT} or {EXPORT}; {path} holds neither")
        source = path = held[0]
    if path.suffix == ".onnx" and path.is_file():
        return network_of_onnx(path)
    runtime = (detector := open_detector(source, letterbox=letterbox)).runtime
    assert isinstance(runtime, TorchRuntime)
    return runtime.network, detector.info


def network_of_onnx(path: Path) -> tuple[Network, DetectorInfo]:
    """The folded network that an ONNX file of edgehone's was written from.

    Raises:
        EdgehoneError: it was not written by edgehone, or its numbers are not those of the architecture it names.
    """
    info = onnx_info(path)
    graph = Graph(tuple(_folded(layer) for layer in info.graph().layers))
    tables = {item.name: item for item in onnx.load(str(path), load_external_data=False).graph.initializer}
    network = Network(graph)
    for index, layer in enumerate(graph.layers):
        name = graph.name(index)
        if isinstance(layer, Convolutional):
            convolution = network.block(index)[0]
            assert convolution.bias is not None
            _fill(convolution.weight, [tables.get(f"{name}_weight")], path, name)
            _fill(convolution.bias, [tables.get(f"{name}_bias")], path, name)
        elif isinstance(layer, Shortcut) and str(index) in network.shortcuts:
            maps = range(len(layer.layers) + 1)
            _fill(network.shortcuts[str(index)], [tables.get(f"{name}_weight{k}") for k in maps], path, name)
    return network.eval(), info


def _folded(layer: Any) -> Any:
    """The layer whose numbers an export holds: batch norms folded, a shortcut's weights as they are multiplied."""
    if isinstance(layer, Convolutional):
        return replace(layer, batch_normalize=False)
    return replace(layer, normalisation="none") if isinstance(layer, Shortcut) else layer


@torch.no_grad()
def _fill(tensor: torch.Tensor, stored: Sequence[onnx.TensorProto | None], path: Path, name: str) -> None:
    arrays = [numpy_helper.to_array(item) for item in stored if item is not None]
    if len(arrays) != len(stored) or sum(array.size for array in arrays) != tensor.numel():
        raise EdgehoneError(
            f"{path} does not hold the numbers of layer {name}: it was not written by edgehone as it is"
        )
    numbers = np.concatenate([np.asarray(array, np.float32).ravel() for array in arrays])
    tensor.copy_(torch.from_numpy(numbers).view(tensor.shape))


def _header(source: str) -> Header | None:
    """Of the weights of a Darknet pair, so that they are written as they were read."""
    pair = split_pair(source)
    if pair is None:
        return None
    with pair[1].open("rb") as file:
        return Header.read(file, pair[1].name)


def to_darknet(
    network: Network, info: DetectorInfo, cfg_path: Path, weights_path: Path, header: Header | None = None
) -> list[Path]:
    """Write a detector as ``.cfg``, ``.weights`` and ``.names``.

    Raises:
        EdgehoneError: a coding that Darknet does not have.
    """
    graph = with_heads(network.graph, info)
    training = parse_cfg(info.cfg, info.model).training if info.cfg else ()
    cfg = Cfg(graph, info.input_size, info.fit == "letterbox", training)
    names_path = cfg_path.with_suffix(".names")
    write_text(cfg_path, write_cfg(cfg))
    write_weights(network, weights_path, header)
    write_text(names_path, "\n".join(info.class_names) + "\n")
    return [cfg_path, weights_path, names_path]


def with_heads(graph: Graph, info: DetectorInfo) -> Graph:
    """The graph with heads that say how a detector is read: its anchors, masks and codings.

    Raises:
        EdgehoneError: a coding that Darknet does not have.
    """
    lattice = info.lattice()
    layers = list(graph.layers)
    start = 0
    for level, index in enumerate(graph.outputs):
        head, before = layers[index + 1], layers[index]
        assert isinstance(head, Head)
        assert isinstance(before, Convolutional)
        anchors, rows, columns = lattice.shapes[level]
        mask = tuple(int(lattice.anchor_ids[start + k * rows * columns]) for k in range(anchors))
        start += anchors * rows * columns
        coding: Any = info.strategy.projection.coding if info.reading is None else info.reading.codings[level]
        if coding.kind not in ("exp", "squared_sigmoid"):
            raise EdgehoneError(
                f"Darknet reads boxes coded as exp or squared_sigmoid, this detector's are {coding.kind}"
            )
        squared = coding.kind == "squared_sigmoid"
        layers[index] = replace(before, activation="logistic" if squared else "linear")
        layers[index + 1] = replace(
            head,
            anchors_px=info.anchors_px,
            mask=mask,
            classes=len(info.class_names),
            new_coords=squared,
            scale_x_y=2.0 if squared else coding.scale_x_y,
        )
    return Graph(tuple(layers), graph.channels)
