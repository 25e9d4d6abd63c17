"""From a network's outputs to candidate boxes: the codings that a detector is trained with, in numpy."""
# pyright: basic

from itertools import groupby

import numpy as np

from .faults import DeviceError

MAX_EXP_LOGIT = 8.0
"""Logits of sides are cut here before the exponential, as in training."""

LOGIT_SLACK = 1e-3
"""Slots so little below the threshold are looked at, too: their score is compared exactly."""

PARTS = ("box", "objectness", "classes")
"""Of a head that has an output for each."""


class Candidates:
    """Boxes before suppression: ``boxes_xyxy`` ``[n, 4]``, ``scores`` ``[n]``, ``classes`` ``[n]``."""

    def __init__(self, boxes_xyxy, scores, classes):
        self.boxes_xyxy = boxes_xyxy
        self.scores = scores
        self.classes = classes

    def __iter__(self):
        """Boxes, scores, classes."""
        return iter((self.boxes_xyxy, self.scores, self.classes))


class Reader:
    """Reads a detector's heads; neighbours whose codings agree are decoded at once.

    Args:
        heads: of the manifest.
        scores: the activations of objectness and classes.
        class_count: classes.
        input_size: ``(height, width)`` of the network input.
    """

    def __init__(self, heads, scores, class_count, input_size):
        self._scores = scores
        readers = [HeadReader(head, class_count, input_size) for head in heads]
        self._groups = [(coding, list(group)) for coding, group in groupby(readers, lambda one: one.head.coding)]

    def candidates(self, outputs, threshold):
        """Boxes above ``threshold`` in the input's pixels; slots in the order head, anchor, row, column."""
        parts = [self._decoded(coding, readers, outputs, threshold) for coding, readers in self._groups]
        return parts[0] if len(parts) == 1 else Candidates(*(np.concatenate(each) for each in zip(*parts)))

    def _decoded(self, coding, readers, outputs, threshold):
        least = least_logit(threshold, self._scores["objectness"])
        found = [reader.slots(outputs, least) for reader in readers]
        logits, places = (np.concatenate(each) for each in zip(*found))
        objectness = activated(logits[:, 4:5], self._scores["objectness"])
        joint = objectness * activated(logits[:, 5:], self._scores["classes"])
        rows, names = np.nonzero(joint > threshold)
        places = places[rows]
        boxes = decode(coding, logits[rows, :4], places[:, :2], places[:, 2:3], places[:, 3:])
        return Candidates(boxes, joint[rows, names], names)


class HeadReader:
    """Finds the slots of one head that may hold an object; see :class:`Reader`."""

    def __init__(self, head, class_count, input_size):
        self.head = head
        self.class_count = class_count
        self.rows, self.columns = input_size[0] // head.stride, input_size[1] // head.stride
        anchors_px = np.array(head.anchors_px, np.float32)
        anchor, row, column = np.indices((len(anchors_px), self.rows, self.columns), np.float32).reshape(3, -1)
        stride = np.full_like(row, head.stride)
        place = np.stack([column, row, stride], 1)
        self._places = np.concatenate([place, anchors_px[anchor.astype(int)]], 1)

    def slots(self, outputs, least):
        """Slots whose objectness is above ``least``, in the order anchor, row, column.

        Returns:
            What the network says of each, ``[n, 5 + c]``: box, objectness, classes; and where each is, ``[n, 5]``:
            column, row, stride and the anchor's width and height.
        """
        names, each = self.head.outputs, (4, 1, self.class_count)
        if "raw" in names:
            raw = self._shaped(outputs, names["raw"], sum(each))
            parts, objectness = [raw], raw[:, 4]
        else:
            parts = [self._shaped(outputs, names[name], size) for name, size in zip(PARTS, each)]
            objectness = parts[1]
        slots = np.flatnonzero(objectness > least)
        anchor, cell = np.divmod(slots, self.rows * self.columns)
        found = [part[anchor, :, cell] for part in parts]
        return found[0] if len(found) == 1 else np.concatenate(found, 1), self._places[slots]

    def _shaped(self, outputs, name, each):
        anchors = len(self.head.anchors_px)
        output = outputs.get(name)
        if output is None or output.size != anchors * each * self.rows * self.columns:
            shape = "there is none" if output is None else list(output.shape)
            raise DeviceError(
                f"the model must have an output {name!r} of shape [1, {anchors * each}, {self.rows}, {self.columns}]; "
                f"{shape}: model and manifest do not belong together"
            )
        return np.asarray(output, np.float32).reshape(anchors, each, -1)


def least_logit(threshold, kind):
    """What objectness must at least say for a score above ``threshold``, a little less so that no rounding matters."""
    if kind != "sigmoid":
        return threshold
    if not 0 < threshold < 1:
        return -np.inf if threshold <= 0 else np.inf
    return np.log(threshold / (1 - threshold)) - LOGIT_SLACK


def decode(coding, logits, cells_xy, stride, anchors_px):
    """``[n, 4]`` logits of slots to ``[n, 4]`` boxes xyxy in the input's pixels.

    Args:
        coding: its settings; ``kind`` is ``exp`` (Darknet), ``squared_sigmoid`` (YOLOv5) or ``distances`` (FCOS).
        logits: ``[n, 4]``.
        cells_xy: ``[n, 2]``, column and row of each slot's cell.
        stride: pixels per cell, a number or ``[n, 1]``.
        anchors_px: ``[n, 2]``, width and height of each slot's anchor.
    """
    if coding["kind"] == "distances":
        grow = np.minimum(logits, MAX_EXP_LOGIT)
        distance = np.exp(grow) if coding.get("growth", "softplus") == "exp" else np.logaddexp(np.float32(0), logits)
        low, high = cells_xy + 0.5 - distance[:, :2], cells_xy + 0.5 + distance[:, 2:]
        return np.concatenate([low, high], 1) * stride
    if coding["kind"] == "squared_sigmoid":
        unit = sigmoid(logits)
        centre = (cells_xy + 2 * unit[:, :2] - 0.5) * stride
        half = anchors_px * np.square(2 * unit[:, 2:]) / 2
    else:
        reach = np.float32(coding.get("scale_x_y", 1.0))
        centre = (cells_xy + reach * sigmoid(logits[:, :2]) - (reach - 1) / 2) * stride
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
