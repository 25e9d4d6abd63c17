"""A graph that ends in EfficientNMS_TRT, run on the host: ONNX Runtime up to the plug-in, then our suppression.

The plug-in's attributes and outputs: TensorRT, plugin/efficientNMSPlugin/README.md. Its boxes go in and come out as
corners (``box_coding`` 0) and its scores as they are (``score_activation`` 0), which is how our graphs use it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from edgehone.deploy.device.runtime.backends.on_onnxruntime import OnnxRuntimeBackend
from edgehone.deploy.device.runtime.decoding import Candidates
from edgehone.deploy.device.runtime.faults import DeviceError
from edgehone.deploy.device.runtime.suppression import suppress  # pyright: ignore[reportUnknownVariableType]

PLUGIN = "EfficientNMS_TRT"
TOP = 4096
"""Scores that the plug-in looks at."""


class PluginBackend:
    """A backend of the device runtime with the four outputs of the plug-in."""

    takes = "tensor"

    def __init__(self, manifest: Any, threads: int, path: str) -> None:
        model = onnx.load(path)
        node = next(node for node in model.graph.node if node.op_type == PLUGIN)
        given = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        if given.get("box_coding", 0) or given.get("score_activation", 0):
            raise DeviceError(f"on the host {PLUGIN} is done for corners and plain scores, the graph has {given}")
        self._given = given
        self._boxes, self._scores = node.input[0], node.input[1]
        self.name = f"ONNX Runtime up to {PLUGIN}"
        with tempfile.TemporaryDirectory() as folder:
            file = str(Path(folder) / "before.onnx")
            onnx.save(before_plugin(model), file)
            self._before: Any = OnnxRuntimeBackend(manifest, threads, path=file)

    def run(self, tensor: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """``[1, 3, h, w]`` to what TensorRT would give."""
        outputs = self._before.run(tensor)
        boxes, scores = outputs[self._boxes][0], outputs[self._scores][0]
        slots, classes = np.nonzero(scores > self._given["score_threshold"])
        found: Any = Candidates(boxes[slots], scores[slots, classes], classes)
        limit = int(self._given["max_output_boxes"])
        kept: Any = suppress(found, self._given["iou_threshold"], limit, TOP, per_class=True)
        count = len(kept.scores)
        room = ((0, limit - count),)
        return {
            "num_detections": np.array([[count]], np.int32),
            "detection_boxes": np.pad(kept.boxes_xyxy, (*room, (0, 0)))[None],
            "detection_scores": np.pad(kept.scores, room)[None],
            "detection_classes": np.pad(kept.classes, room)[None].astype(np.int32),
        }

    def close(self) -> None:
        """The session goes."""
        self._before.close()


def has_plugin(model: onnx.ModelProto) -> bool:
    """Whether the graph suppresses by the plug-in."""
    return any(node.op_type == PLUGIN for node in model.graph.node)


def before_plugin(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph without the plug-in; its outputs are the plug-in's boxes and scores."""
    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    node = next(node for node in cut.graph.node if node.op_type == PLUGIN)
    names = list(node.input[:2])
    cut.graph.node.remove(node)
    del cut.graph.output[:]
    cut.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    kept = [item for item in cut.opset_import if item.domain in ("", "ai.onnx")]
    del cut.opset_import[:]
    cut.opset_import.extend(kept)
    return cut
