"""Box coding: how four logits of a slot stand for a box.

``decode`` maps logits to boxes, ``encode`` is its inverse wherever the coding reaches, and ``reach`` says where:
there ``decode(encode(box)) == box``. Elsewhere ``encode`` answers with the nearest that it can say. A new coding
is one class with ``kind`` and these three, and its name in the union.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from edgehone.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from edgehone.space import Choice, Settings, Span

MARGIN = 1e-4
"""How far from the open ends of a sigmoid's range ``encode`` still answers."""

MAX_EXP_LOGIT = 8.0
"""Width and height logits are clamped here before ``exp`` so that no box becomes infinite."""

LEAST_RATIO = 1e-6
"""Sides below this part of their anchor are not told apart."""


class ExpCoding(Settings):
    """Darknet's coding: centre by a stretched sigmoid, sides by an exponential of the anchor.

    ``x = cell + s * sigmoid(tx) - (s - 1) / 2`` in cells with ``s = scale_x_y``; ``w = anchor * exp(tw)``
    (yolo_layer.c, get_yolo_box). Reaches centres in its own cell and ``(s - 1) / 2`` of a cell around it, and any
    sides.
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
        unit, ratio = self._code(boxes_xyxy, cells_xy, strides, anchors_px)
        sides = ratio.clamp(min=LEAST_RATIO).log().clamp(max=MAX_EXP_LOGIT)
        return torch.cat([unit.clamp(MARGIN, 1 - MARGIN).logit(), sides], -1)

    def reach(self, boxes_xyxy: Tensor, cells_xy: Tensor, strides: Tensor, anchors_px: Tensor) -> Tensor:
        """``[...]`` bool: the slot can say exactly this box."""
        unit, ratio = self._code(boxes_xyxy, cells_xy, strides, anchors_px)
        return (_between(unit, MARGIN, 1 - MARGIN) & _between(ratio, LEAST_RATIO, math.exp(MAX_EXP_LOGIT))).all(-1)

    def _code(self, boxes_xyxy: Tensor, cells_xy: Tensor, strides: Tensor, anchors_px: Tensor) -> tuple[Tensor, Tensor]:
        """What the sigmoid and the exponential would have to give."""
        box = xyxy_to_cxcywh(boxes_xyxy)
        offset = box[..., :2] / strides[..., None] - cells_xy
        return (offset + (self.scale_x_y - 1) / 2) / self.scale_x_y, box[..., 2:] / anchors_px


class SquaredSigmoidCoding(Settings):
    """The coding of YOLOv5 and Darknet's ``new_coords``: bounded sides, centres that reach half a cell over.

    ``x = cell + 2 * sigmoid(tx) - 0.5`` in cells; ``w = anchor * (2 * sigmoid(tw))^2``. Reaches centres in its own
    cell and half a cell around it, and sides of up to four times the anchor.
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
        return self._code(boxes_xyxy, cells_xy, strides, anchors_px).clamp(MARGIN, 1 - MARGIN).logit()

    def reach(self, boxes_xyxy: Tensor, cells_xy: Tensor, strides: Tensor, anchors_px: Tensor) -> Tensor:
        """``[...]`` bool: the slot can say exactly this box."""
        return _between(self._code(boxes_xyxy, cells_xy, strides, anchors_px), MARGIN, 1 - MARGIN).all(-1)

    def _code(self, boxes_xyxy: Tensor, cells_xy: Tensor, strides: Tensor, anchors_px: Tensor) -> Tensor:
        """``[..., 4]``: what the sigmoids would have to give."""
        box = xyxy_to_cxcywh(boxes_xyxy)
        centre = (box[..., :2] / strides[..., None] - cells_xy + 0.5) / 2
        sides = (box[..., 2:] / anchors_px).clamp(min=0).sqrt() / 2
        return torch.cat([centre, sides], -1)


class DistanceCoding(Settings):
    """Anchor-free: distances from the middle of the cell to the four edges, in strides (Tian et al., FCOS, 2019).

    ``left = f(t) * stride`` and so on, with ``f`` the exponential or the softplus, which grows more gently. Anchors
    do not matter to it, so the anchors of a cell can only tell boxes apart by what they learned. Reaches any box
    that holds the middle of the slot's cell, and no other: an object that holds no cell's middle is out of reach.
    """

    kind: Literal["distances"] = "distances"
    growth: Annotated[Literal["exp", "softplus"], Choice("exp", "softplus")] = "softplus"

    def decode(self, logits: Tensor, cells_xy: Tensor, strides: Tensor, anchors_px: Tensor) -> Tensor:
        """``[..., 4]`` logits (left, top, right, bottom) to ``[..., 4]`` xyxy pixels; slot tensors broadcast along."""
        del anchors_px
        distance = logits.clamp(max=MAX_EXP_LOGIT).exp() if self.growth == "exp" else F.softplus(logits)
        low = (cells_xy + 0.5 - distance[..., :2]) * strides[..., None]
        high = (cells_xy + 0.5 + distance[..., 2:]) * strides[..., None]
        return torch.cat([low, high], -1)

    def encode(self, boxes_xyxy: Tensor, cells_xy: Tensor, strides: Tensor, anchors_px: Tensor) -> Tensor:
        """The logits that decode to these boxes, or as near as the coding reaches."""
        del anchors_px
        distance = self._distances(boxes_xyxy, cells_xy, strides).clamp(min=MARGIN)
        if self.growth == "exp":
            return distance.log().clamp(max=MAX_EXP_LOGIT)
        return distance + torch.log(-torch.expm1(-distance))  # the inverse of softplus

    def reach(self, boxes_xyxy: Tensor, cells_xy: Tensor, strides: Tensor, anchors_px: Tensor) -> Tensor:
        """``[...]`` bool: the slot can say exactly this box."""
        del anchors_px
        most = math.exp(MAX_EXP_LOGIT) if self.growth == "exp" else math.inf
        return _between(self._distances(boxes_xyxy, cells_xy, strides), MARGIN, most).all(-1)

    def _distances(self, boxes_xyxy: Tensor, cells_xy: Tensor, strides: Tensor) -> Tensor:
        """``[..., 4]``: left, top, right, bottom from the middle of the cell, in strides; negative on the far side."""
        middle, edges = cells_xy + 0.5, boxes_xyxy / strides[..., None]
        return torch.cat([middle - edges[..., :2], edges[..., 2:] - middle], -1)


Coding = Annotated[ExpCoding | SquaredSigmoidCoding | DistanceCoding, Field(discriminator="kind")]


def _between(values: Tensor, low: float, high: float) -> Tensor:
    return (values >= low) & (values <= high)
