"""From a network's outputs to candidate boxes: the codings that a detector is trained with, in numpy."""
# pyright: basic

import numpy as np

from .faults import DeviceError

MAX_EXP_LOGIT = 8.0
"""Logits of sides are cut here before the exponential, as in training."""


class Candidates:
    """Boxes before suppression: ``boxes_xyxy`` ``[n, 4]``, ``scores`` ``[n]``, ``classes`` ``[n]``."""

    def __init__(self, boxes_xyxy, scores, classes):
        self.boxes_xyxy = boxes_xyxy
        self.scores = scores
        self.classes = classes


class HeadReader:
    """Reads one head of a detector.

    Args:
        head: of the manifest.
        scores: the activations of objectness and classes.
        class_count: classes.
        input_size: ``(height, width)`` of the network input.
    """

    def __init__(self, head, scores, class_count, input_size):
        self.head = head
        self.scores = scores
        self.class_count = class_count
        self.rows, self.columns = input_size[0] // head.stride, input_size[1] // head.stride
        self.anchors_px = np.array(head.anchors_px, np.float32)
        rows, columns = np.divmod(np.arange(self.rows * self.columns), self.columns)
        self._cells_xy = np.stack([columns, rows], 1).astype(np.float32)

    def candidates(self, outputs, threshold):
        """Boxes above ``threshold`` in the input's pixels; slots in the order anchor, row, column."""
        box, objectness, classes = self._logits(outputs)
        objectness = activated(objectness.reshape(-1), self.scores["objectness"])
        slots = np.flatnonzero(objectness > threshold)
        anchor, cell = np.divmod(slots, len(self._cells_xy))
        probability = activated(classes[anchor, :, cell], self.scores["classes"])
        joint = objectness[slots, None] * probability
        chosen, names = np.nonzero(joint > threshold)
        anchor, cell = anchor[chosen], cell[chosen]
        logits, cells_xy, anchors_px = box[anchor, :, cell], self._cells_xy[cell], self.anchors_px[anchor]
        boxes = decode(self.head.coding, logits, cells_xy, self.head.stride, anchors_px)
        return Candidates(boxes, joint[chosen, names], names)

    def _logits(self, outputs):
        """Box ``[a, 4, cells]``, objectness ``[a, cells]`` and classes ``[a, c, cells]`` of the outputs."""
        names, anchors, cells = self.head.outputs, len(self.anchors_px), self.rows * self.columns
        if "raw" in names:
            raw = self._shaped(outputs, names["raw"], 5 + self.class_count)
            return raw[:, :4], raw[:, 4], raw[:, 5:]
        box = self._shaped(outputs, names["box"], 4)
        objectness = self._shaped(outputs, names["objectness"], 1).reshape(anchors, cells)
        return box, objectness, self._shaped(outputs, names["classes"], self.class_count)

    def _shaped(self, outputs, name, each):
        anchors = len(self.anchors_px)
        output = outputs.get(name)
        if output is None or output.size != anchors * each * self.rows * self.columns:
            shape = "there is none" if output is None else list(output.shape)
            raise DeviceError(
                f"the model must have an output {name!r} of shape [1, {anchors * each}, {self.rows}, {self.columns}]; "
                f"{shape}: model and manifest do not belong together"
            )
        return np.asarray(output, np.float32).reshape(anchors, each, -1)


def decode(coding, logits, cells_xy, stride, anchors_px):
    """``[n, 4]`` logits of slots to ``[n, 4]`` boxes xyxy in the input's pixels.

    Args:
        coding: its settings; ``kind`` is ``exp`` (Darknet), ``squared_sigmoid`` (YOLOv5) or ``distances`` (FCOS).
        logits: ``[n, 4]``.
        cells_xy: ``[n, 2]``, column and row of each slot's cell.
        stride: pixels per cell.
        anchors_px: ``[n, 2]``, width and height of each slot's anchor.
    """
    if coding["kind"] == "distances":
        grow = np.minimum(logits, MAX_EXP_LOGIT)
        distance = np.exp(grow) if coding.get("growth", "softplus") == "exp" else np.logaddexp(np.float32(0), logits)
        low, high = cells_xy + 0.5 - distance[:, :2], cells_xy + 0.5 + distance[:, 2:]
        return np.concatenate([low, high], 1) * np.float32(stride)
    if coding["kind"] == "squared_sigmoid":
        unit = sigmoid(logits)
        centre = (cells_xy + 2 * unit[:, :2] - 0.5) * np.float32(stride)
        half = anchors_px * np.square(2 * unit[:, 2:]) / 2
    else:
        reach = np.float32(coding.get("scale_x_y", 1.0))
        centre = (cells_xy + reach * sigmoid(logits[:, :2]) - (reach - 1) / 2) * np.float32(stride)
        half = anchors_px * np.exp(np.minimum(logits[:, 2:], MAX_EXP_LOGIT)) / 2
    return np.concatenate([centre - half, centre + half], 1)


def activated(logits, kind):
    """Probabilities of logits: ``sigmoid``, ``softmax`` over the last axis, or ``none`` where the graph did it."""
    if kind == "sigmoid":
        return sigmoid(logits)
    if kind == "softmax":
        raised = np.exp(logits - logits.max(axis=-1, keepdims=True)) if logits.size else logits
        return raised / raised.sum(axis=-1, keepdims=True)
    return logits


def sigmoid(logits):
    """Of numbers of any size, without overflow."""
    return 1 / (1 + np.exp(np.minimum(-logits, 80)))
