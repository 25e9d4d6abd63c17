"""Box coding: how four logits of a slot stand for a box.

``decode`` maps logits to boxes, ``encode`` is its inverse wherever the coding reaches;
``decode(encode(box)) == box`` holds there, and :meth:`reach` says where.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from edgehone.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from edgehone.space import Settings, Span

MARGIN = 1e-4
"""How far from the open ends of a sigmoid's range ``encode`` still answers."""

MAX_EXP_LOGIT = 8.0
"""Width and height logits are clamped here before ``exp`` so that no box becomes infinite."""


class ExpCoding(Settings):
    """Darknet's coding: centre by a stretched sigmoid, sides by an exponential of the anchor.

    ``x = cell + s * sigmoid(tx) - (s - 1) / 2`` in cells with ``s = scale_x_y``; ``w = anchor * exp(tw)``
    (yolo_layer.c, get_yolo_box).
    """

    kind: Literal["exp"] = "exp"
    scale_x_y: Annotated[float, Span(1.0, 1.2)] = 1.05

    def decode(self, logits: Tensor, cells_xy: Tensor, strides: Tensor, anchors_px: Tensor) -> Tensor:
        """``[..., 4]`` logits of slots to ``[..., 4]`` xyxy pixels; slot tensors broadcast along."""
        offset = self.scale_x_y * logits[..., :2].sigmoid() - (self.scale_x_y - 1) / 2
        centre = (cells_xy + offset) * strides[..., None]
        sides = anchors_px * logits[..., 2:].clamp(max=MAX_EXP_LOGIT).exp()
        return cxcywh_to_xyxy(torch.cat([centre, sides], -1))

    def encode(self, boxes_xyxy: Tensor, cells_xy: Tensor, strides: Tensor, anchors_px: Tensor) -> Tensor:
        """The logits that decode to these boxes, or as near as the coding reaches."""
        box = xyxy_to_cxcywh(boxes_xyxy)
        offset = box[..., :2] / strides[..., None] - cells_xy
        unit = (offset + (self.scale_x_y - 1) / 2) / self.scale_x_y
        sides = (box[..., 2:] / anchors_px).clamp(min=1e-6).log().clamp(max=MAX_EXP_LOGIT)
        return torch.cat([unit.clamp(MARGIN, 1 - MARGIN).logit(), sides], -1)


class SquaredSigmoidCoding(Settings):
    """The coding of YOLOv5 and Darknet's ``new_coords``: bounded sides, centres that reach half a cell over.

    ``x = cell + 2 * sigmoid(tx) - 0.5`` in cells; ``w = anchor * (2 * sigmoid(tw))^2``, so sides reach at
    most four times the anchor.
    """

    kind: Literal["squared_sigmoid"] = "squared_sigmoid"

    def decode(self, logits: Tensor, cells_xy: Tensor, strides: Tensor, anchors_px: Tensor) -> Tensor:
        """``[..., 4]`` logits of slots to ``[..., 4]`` xyxy pixels; slot tensors broadcast along."""
        unit = logits.sigmoid()
        centre = (cells_xy + 2 * unit[..., :2] - 0.5) * strides[..., None]
        sides = anchors_px * (2 * unit[..., 2:]).square()
        return cxcywh_to_xyxy(torch.cat([centre, sides], -1))

    def encode(self, boxes_xyxy: Tensor, cells_xy: Tensor, strides: Tensor, anchors_px: Tensor) -> Tensor:
        """The logits that decode to these boxes, or as near as the coding reaches."""
        box = xyxy_to_cxcywh(boxes_xyxy)
        centre = (box[..., :2] / strides[..., None] - cells_xy + 0.5) / 2
        sides = (box[..., 2:] / anchors_px).clamp(min=0).sqrt() / 2
        return torch.cat([centre, sides], -1).clamp(MARGIN, 1 - MARGIN).logit()


Coding = Annotated[ExpCoding | SquaredSigmoidCoding, Field(discriminator="kind")]
