"""The graph that ends in detections: boxes decoded by ONNX operators, suppressed by TensorRT's plug-in.

The plug-in's inputs, attributes and outputs: TensorRT, plugin/efficientNMSPlugin/README.md. ``class_agnostic`` came
after 8.5 and is left out. Scores are products of objectness and class, so they are made in the graph and the plug-in
is told to leave them as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgehone.deploy.onnx_graph import output_name
from edgehone.deploy.onnx_graph.nodes import NodeList
from edgehone.deploy.plugin import PLUGIN
from edgehone.deploy.reading import Activation, HeadReading
from edgehone.inference import PostProcess
from edgehone.projection import DistanceCoding, ExpCoding
from edgehone.projection.coding import MAX_EXP_LOGIT

BOXES, SCORES = "boxes", "scores"
DOMAIN = "TRT"
DOMAIN_VERSION = 1
OUTPUTS = ("num_detections", "detection_boxes", "detection_scores", "detection_classes")


def with_efficient_nms(
    master: onnx.ModelProto,
    heads: Sequence[HeadReading],
    classes: int,
    activation: Activation,
    post: PostProcess,
) -> onnx.ModelProto:
    """The master graph with decoding and EfficientNMS_TRT behind its raw heads.

    Args:
        master: raw heads; it is not changed.
        heads: how they are read, coarse stride first.
        classes: that a slot tells apart.
        activation: of the class outputs.
        post: thresholds and the most detections; ``candidates`` is the plug-in's own (4096).

    Returns:
        A graph whose outputs are :data:`OUTPUTS`: ``[1, 1]`` int32, ``[1, k, 4]`` corners in the input's pixels,
        ``[1, k]`` float32 and ``[1, k]`` int32. Up to the plug-in it holds ``boxes`` ``[1, n, 4]`` and ``scores``
        ``[1, n, c]``, slots in the lattice's order.
    """
    model = onnx.ModelProto()
    model.CopyFrom(master)
    writer = NodeList()
    decoded = [_head(writer, head, classes, activation) for head in heads]
    for name, parts in zip((BOXES, SCORES), zip(*decoded, strict=True), strict=True):
        writer.node("Concat", list(parts), name, axis=1)
    writer.nodes.append(_plugin(post))
    model.graph.node.extend(writer.nodes)
    model.graph.initializer.extend(writer.weights)
    del model.graph.output[:]
    model.graph.output.extend(_outputs(post.limit))
    model.opset_import.append(helper.make_opsetid(DOMAIN, DOMAIN_VERSION))
    return model


def _plugin(post: PostProcess) -> onnx.NodeProto:
    return helper.make_node(
        PLUGIN,
        [BOXES, SCORES],
        list(OUTPUTS),
        name="suppression",
        domain=DOMAIN,
        plugin_version="1",
        score_threshold=post.score_threshold,
        iou_threshold=post.iou_threshold,
        max_output_boxes=post.limit,
        background_class=-1,
        score_activation=0,
        box_coding=0,
    )


def _outputs(limit: int) -> list[onnx.ValueInfoProto]:
    whole, real = TensorProto.INT32, TensorProto.FLOAT
    shapes = {OUTPUTS[0]: (whole, [1, 1]), OUTPUTS[1]: (real, [1, limit, 4])}
    shapes |= {OUTPUTS[2]: (real, [1, limit]), OUTPUTS[3]: (whole, [1, limit])}
    return [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in shapes.items()]


def _head(writer: NodeList, head: HeadReading, classes: int, activation: Activation) -> tuple[str, str]:
    """Names of a head's boxes ``[1, n, 4]`` and scores ``[1, n, c]``."""
    raw = output_name(head.stride)
    each, cells, anchors = 5 + classes, head.rows * head.columns, len(head.anchors_px)
    parted = _reshaped(writer, raw, f"{raw}_parted", (1, anchors, each, cells))
    moved = writer.node("Transpose", [parted], f"{raw}_moved", perm=[0, 1, 3, 2])
    slots = _reshaped(writer, moved, f"{raw}_slots", (1, head.slots, each))
    objectness = writer.node("Sigmoid", [_slice(writer, slots, f"{raw}_objectness", 4, 5)], f"{raw}_object")
    logits = _slice(writer, slots, f"{raw}_classes", 5, each)
    if activation == "softmax":
        probability = writer.node("Softmax", [logits], f"{raw}_probability", axis=2)
    else:
        probability = writer.node("Sigmoid", [logits], f"{raw}_probability")
    scores = writer.node("Mul", [objectness, probability], f"{raw}_scores")
    low = _slice(writer, slots, f"{raw}_first", 0, 2)
    high = _slice(writer, slots, f"{raw}_last", 2, 4)
    corners = _distances if isinstance(head.coding, DistanceCoding) else _centre_and_sides
    return writer.node("Concat", list(corners(writer, head, low, high)), f"{raw}_boxes", axis=2), scores


def _centre_and_sides(writer: NodeList, head: HeadReading, middle: str, sides: str) -> tuple[str, str]:
    """Corners from a centre in its cell and sides over an anchor (``exp`` and ``squared_sigmoid``)."""
    raw, coding = output_name(head.stride), head.coding
    unit = writer.node("Sigmoid", [middle], f"{raw}_unit")
    half_sides = np.repeat(np.array(head.anchors_px) / 2, head.rows * head.columns, 0).astype(np.float32)
    if isinstance(coding, ExpCoding):
        reach = coding.scale_x_y
        ratio = writer.node("Exp", [_limited(writer, sides, f"{raw}_limited")], f"{raw}_ratio")
    else:
        reach = 2.0
        ratio = _squared(writer, sides, raw)
    stretched = _by(writer, "Mul", unit, f"{raw}_stretched", reach)
    placed = _by(writer, "Add", stretched, f"{raw}_placed", _cells(head) - np.float32((reach - 1) / 2))
    centre = _by(writer, "Mul", placed, f"{raw}_centre", head.stride)
    half = _by(writer, "Mul", ratio, f"{raw}_half", half_sides[None])
    return writer.node("Sub", [centre, half], f"{raw}_low"), writer.node("Add", [centre, half], f"{raw}_high")


def _squared(writer: NodeList, sides: str, raw: str) -> str:
    soft = writer.node("Sigmoid", [sides], f"{raw}_soft")
    double = _by(writer, "Mul", soft, f"{raw}_double", 2)
    return writer.node("Mul", [double, double], f"{raw}_ratio")


def _distances(writer: NodeList, head: HeadReading, first: str, last: str) -> tuple[str, str]:
    """Corners from distances to the middle of the cell, in strides."""
    raw, coding = output_name(head.stride), head.coding
    assert isinstance(coding, DistanceCoding)
    corners: list[str] = []
    for kind, name, logits in (("Sub", "low", first), ("Add", "high", last)):
        if coding.growth == "exp":
            distance = writer.node("Exp", [_limited(writer, logits, f"{raw}_{name}_limited")], f"{raw}_{name}_far")
        else:
            distance = writer.node("Softplus", [logits], f"{raw}_{name}_far")
        middle = writer.constant(f"{raw}_{name}_middle", _cells(head) + np.float32(0.5))
        edge = writer.node(kind, [middle, distance], f"{raw}_{name}_edge")
        corners.append(_by(writer, "Mul", edge, f"{raw}_{name}", head.stride))
    return corners[0], corners[1]


def _limited(writer: NodeList, logits: str, name: str) -> str:
    """Cut above, so that the exponential stays finite: as in training."""
    return _by(writer, "Min", logits, name, MAX_EXP_LOGIT)


def _cells(head: HeadReading) -> NDArray[np.float32]:
    """``[1, n, 2]``: column and row of each slot's cell."""
    rows, columns = np.mgrid[: head.rows, : head.columns]
    cells = np.stack([columns, rows], -1).reshape(-1, 2)
    return np.tile(cells, (len(head.anchors_px), 1))[None].astype(np.float32)


def _by(writer: NodeList, kind: str, tensor: str, name: str, number: NDArray[np.float32] | float) -> str:
    """``tensor`` with a constant; one number has the axes of the tensor, which every reader of graphs takes."""
    values = np.asarray(number, np.float32)
    constant = writer.constant(f"{name}_constant", values.reshape(1, 1, 1) if values.ndim == 0 else values)
    return writer.node(kind, [tensor, constant], name)


def _reshaped(writer: NodeList, tensor: str, name: str, shape: tuple[int, ...]) -> str:
    return writer.node("Reshape", [tensor, writer.constant(f"{name}_shape", np.array(shape, np.int64))], name)


def _slice(writer: NodeList, tensor: str, name: str, start: int, end: int) -> str:
    """Of the last axis of ``[1, n, 5 + c]``."""
    numbers = {"start": start, "end": end, "axis": 2}
    constants = [writer.constant(f"{name}_{k}", np.array([v], np.int64)) for k, v in numbers.items()]
    return writer.node("Slice", [tensor, *constants], name)
