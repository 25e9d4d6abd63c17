"""Frozen value types that travel between the parts of edgehone.

Box arrays are named with their format and are in pixels of the picture or network input that the
name says. Sizes are ``(height, width)``. Numpy types serve the parts that need no torch (data,
evaluation, report); tensor types serve projection and training.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # users of the numpy types (data, report) must not pay for importing torch
    from torch import Tensor

Size = tuple[int, int]
"""``(height, width)`` in pixels."""

IGNORED = -1
"""Class of a region in which nothing is taught, punished or counted as an error (a crowd, a class to ignore)."""

Json = Any
"""What ``json.dumps`` takes, where a finer type would only repeat the schema."""


def no_boxes() -> NDArray[np.float32]:
    """``[0, 4]``."""
    return np.zeros((0, 4), np.float32)


@dataclass(frozen=True, slots=True)
class Picture:
    """One image with its truth.

    Attributes:
        image: ``[height, width, 3]`` uint8, RGB.
        boxes_xyxy: ``[n, 4]`` float32, pixels of ``image``.
        classes: ``[n]`` int64, index into the data set's class names, or :data:`IGNORED`.
    """

    image: NDArray[np.uint8]
    boxes_xyxy: NDArray[np.float32]
    classes: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Detections:
    """What a detector says of one image, best score first.

    Attributes:
        boxes_xyxy: ``[k, 4]`` float32, pixels of the original picture.
        scores: ``[k]`` float32 in 0..1.
        classes: ``[k]`` int64.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, slots=True)
class Truth:
    """The labels of one image as evaluation needs them (no pixels).

    Attributes:
        boxes_xyxy: ``[n, 4]`` float32, pixels of the original picture.
        classes: ``[n]`` int64, no :data:`IGNORED` among them.
        size: ``(height, width)`` of the original picture.
        ignored_xyxy: ``[k, 4]`` float32, regions in which no detection is an error, whatever its class.
    """

    boxes_xyxy: NDArray[np.float32]
    classes: NDArray[np.int64]
    size: Size
    ignored_xyxy: NDArray[np.float32] = field(default_factory=no_boxes)


@dataclass(frozen=True, slots=True)
class Targets:
    """The truth of a batch, in pixels of the network input.

    Attributes:
        boxes_xyxy: ``[m, 4]`` float32.
        classes: ``[m]`` int64; :data:`IGNORED` marks a region where no slot is punished.
        images: ``[m]`` int64, which image of the batch each box belongs to.
        batch_size: number of images, with or without boxes.
    """

    boxes_xyxy: Tensor
    classes: Tensor
    images: Tensor
    batch_size: int

    def where(self, keep: Tensor) -> Targets:
        """The boxes that ``keep`` ``[m]`` marks."""
        return Targets(self.boxes_xyxy[keep], self.classes[keep], self.images[keep], self.batch_size)


@dataclass(frozen=True, slots=True)
class Answers:
    """What a detector found in a batch, as it is seen in the network input.

    Attributes:
        targets: boxes, classes and images.
        scores: ``[m]`` float32 in 0..1.
    """

    targets: Targets
    scores: Tensor

    def where(self, keep: Tensor) -> Answers:
        """The answers that ``keep`` ``[m]`` marks."""
        return Answers(self.targets.where(keep), self.scores[keep])

    def at_least(self, threshold: float) -> Answers:
        """The answers with at least this score."""
        return self.where(self.scores >= threshold)


@dataclass(frozen=True, slots=True)
class Lattice:
    """Every slot a detector can answer in, for one input size: ``n`` = sum of anchors x rows x columns.

    Slots are ordered level by level, within a level anchor-major, then rows, then columns: the
    memory order of Darknet's head tensors.

    Attributes:
        cells_xy: ``[n, 2]`` float32, column and row of the cell.
        strides: ``[n]`` float32, pixels per cell.
        anchors_px: ``[n, 2]`` float32, width and height of the slot's anchor.
        anchor_ids: ``[n]`` int64, index of that anchor in ``all_anchors_px``.
        levels: ``[n]`` int64, index of the head.
        shapes: per level ``(anchors, rows, columns)``.
        input_size: ``(height, width)`` of the network input.
        all_anchors_px: ``[a, 2]`` float32, the full list, used by a head or not.
    """

    cells_xy: Tensor
    strides: Tensor
    anchors_px: Tensor
    anchor_ids: Tensor
    levels: Tensor
    shapes: tuple[tuple[int, int, int], ...]
    input_size: Size
    all_anchors_px: Tensor

    def to(self, device: str) -> Lattice:
        """The same on a device."""
        return Lattice(
            cells_xy=self.cells_xy.to(device),
            strides=self.strides.to(device),
            anchors_px=self.anchors_px.to(device),
            anchor_ids=self.anchor_ids.to(device),
            levels=self.levels.to(device),
            shapes=self.shapes,
            input_size=self.input_size,
            all_anchors_px=self.all_anchors_px.to(device),
        )

    @property
    def slots(self) -> int:
        """Number of slots, ``n``."""
        return int(self.strides.shape[0])


@dataclass(frozen=True, slots=True)
class Predictions:
    """The outputs for a batch on a lattice.

    Attributes:
        boxes_xyxy: ``[b, n, 4]`` float32, decoded, pixels of the network input.
        objectness_logits: ``[b, n]`` float32.
        class_logits: ``[b, n, c]`` float32.
    """

    boxes_xyxy: Tensor
    objectness_logits: Tensor
    class_logits: Tensor


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which slot learns which object.

    Attributes:
        images: ``[p]`` int64, image of each positive.
        slots: ``[p]`` int64, slot of each positive.
        truths: ``[p]`` int64, row of ``Targets`` that each positive learns.
        quality: ``[p]`` float32 in 0..1, how good a positive it is (1 for hard assigners).
        ignored: ``[b, n]`` bool, slots that are neither taught nor punished.
    """

    images: Tensor
    slots: Tensor
    truths: Tensor
    quality: Tensor
    ignored: Tensor

    @property
    def positives(self) -> int:
        """Number of positives, ``p``."""
        return int(self.slots.shape[0])


@dataclass(frozen=True, slots=True)
class LayerCost:
    """What one layer of a graph costs for one image.

    Attributes:
        name: as in the exported graph, for example ``"26_conv"``.
        kind: ``conv``, ``route``, ``maxpool``, ``upsample``, ...
        output_shape: ``(channels, height, width)``.
        kernel: side of the kernel in pixels, 1 where there is none.
        stride: step of the kernel, 1 where there is none.
        macs: multiply-accumulate operations (FLOPs are twice that).
        parameters: weights, scales and biases (no running statistics).
        weight_bytes: of the folded float32 layer.
        activation_bytes: of the float32 output.
    """

    name: str
    kind: str
    output_shape: tuple[int, int, int]
    kernel: int
    stride: int
    macs: int
    parameters: int
    weight_bytes: int
    activation_bytes: int
