"""Darknet's own assignment."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from edgehone.boxes import iou_matrix, shape_iou_matrix, xyxy_to_cxcywh
from edgehone.projection.assigners.candidates import Matches, assign_by_image, holds_centre
from edgehone.space import Settings, Span
from edgehone.types import Assignment, Lattice, Predictions, Targets

CERTAIN_CLASS = 0.25
"""A cell is ignored only if some class is at least this sure there (yolo_layer.c)."""


class BestAnchor(Settings):
    """One positive per object and head: the cell of its centre at the anchor of best shape IoU.

    The best anchor is taken over the full list; a head that does not own it gives no positive (so an object
    that fits an anchor owned by nobody is lost: Darknet's mask quirk). Other anchors join where their shape
    IoU exceeds ``iou_thresh`` (1 = never). Slots whose predicted box overlaps any object by more than
    ``ignore_threshold`` and that are sure of some class are not punished. Two objects on one slot: the later
    one keeps it. Source: darknet src/yolo_layer.c.
    """

    kind: Literal["best_anchor"] = "best_anchor"
    iou_thresh: Annotated[float, Span(0.2, 1.0)] = 1.0
    ignore_threshold: Annotated[float, Span(0.5, 0.9)] = 0.7

    @torch.no_grad()
    def assign(self, targets: Targets, lattice: Lattice, predictions: Predictions) -> Assignment:
        """See the module's docstring for the shapes."""
        ignored = torch.zeros(targets.batch_size, lattice.slots, dtype=torch.bool, device=lattice.strides.device)

        def match(image: int, boxes_xyxy: Tensor, classes: Tensor) -> Matches:
            del classes
            ignored[image] = self._ignored(predictions, image, boxes_xyxy)
            shape = shape_iou_matrix(xyxy_to_cxcywh(boxes_xyxy)[:, 2:], lattice.all_anchors_px)
            best = shape.argmax(1)
            suits = (lattice.anchor_ids[None] == best[:, None]) | (shape[:, lattice.anchor_ids] > self.iou_thresh)
            objects, slots = (suits & holds_centre(boxes_xyxy, lattice)).nonzero(as_tuple=True)
            owner = torch.full((lattice.slots,), -1, dtype=torch.int64, device=slots.device)
            owner = owner.scatter_reduce(0, slots, objects, "amax")
            taken = owner[slots] == objects
            return Matches(objects[taken], slots[taken], torch.ones_like(slots[taken], dtype=torch.float32))

        found = assign_by_image(targets, lattice, match)
        ignored[found.images, found.slots] = False
        return Assignment(found.images, found.slots, found.truths, found.quality, ignored)

    def _ignored(self, predictions: Predictions, image: int, boxes_xyxy: Tensor) -> Tensor:
        overlap = iou_matrix(predictions.boxes_xyxy[image], boxes_xyxy).amax(1)
        certain = predictions.class_logits[image].sigmoid().amax(-1) > CERTAIN_CLASS
        return (overlap > self.ignore_threshold) & certain
