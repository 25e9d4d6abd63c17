"""Darknet's own assignment."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from edgehone.boxes import iou_matrix, shape_iou_matrix, xyxy_to_cxcywh
from edgehone.projection.assigners.candidates import PAIRS, Matches, assign_by_image, own_cells, ranks
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
            pairs = own_cells(boxes_xyxy, lattice)
            anchors = lattice.anchor_ids[pairs.slots]
            pairs = pairs[(anchors == best[pairs.objects]) | (shape[pairs.objects, anchors] > self.iou_thresh)]
            return pairs[ranks(pairs.slots, -pairs.objects) == 0].matches()

        found = assign_by_image(targets, lattice, match)
        ignored[found.images, found.slots] = False
        return Assignment(found.images, found.slots, found.truths, found.quality, ignored)

    def _ignored(self, predictions: Predictions, image: int, boxes_xyxy: Tensor) -> Tensor:
        """``[n]`` bool, in portions of objects."""
        certain = (predictions.class_logits[image].sigmoid().amax(-1) > CERTAIN_CLASS).nonzero()[:, 0]
        said = predictions.boxes_xyxy[image, certain]
        near = torch.zeros(len(said), dtype=torch.bool, device=said.device)
        step = max(1, PAIRS // max(len(said), 1))
        for start in range(0, len(boxes_xyxy), step):
            near |= (iou_matrix(said, boxes_xyxy[start : start + step]) > self.ignore_threshold).any(1)
        ignored = torch.zeros(predictions.boxes_xyxy.shape[1], dtype=torch.bool, device=said.device)
        ignored[certain[near]] = True
        return ignored
