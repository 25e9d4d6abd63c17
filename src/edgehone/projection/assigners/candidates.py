"""What several assigners share: where objects lie on the lattice, and putting an assignment together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from edgehone.boxes import xyxy_to_cxcywh
from edgehone.types import Assignment, Lattice, Targets


@dataclass(frozen=True)
class Matches:
    """Positives of one image.

    Attributes:
        objects: ``[p]`` int64, row within the image's own objects.
        slots: ``[p]`` int64.
        quality: ``[p]`` float32.
    """

    objects: Tensor
    slots: Tensor
    quality: Tensor


def assign_by_image(targets: Targets, lattice: Lattice, match: Callable[[int, Tensor, Tensor], Matches]) -> Assignment:
    """Call ``match(image, boxes_xyxy [m, 4], classes [m])`` for every image that has objects; join the results."""
    images: list[Tensor] = []
    slots: list[Tensor] = []
    truths: list[Tensor] = []
    quality: list[Tensor] = []
    for image in range(targets.batch_size):
        rows = (targets.images == image).nonzero()[:, 0]
        if len(rows) == 0:
            continue
        found = match(image, targets.boxes_xyxy[rows], targets.classes[rows])
        images.append(torch.full_like(found.slots, image))
        slots.append(found.slots)
        truths.append(rows[found.objects])
        quality.append(found.quality)
    device = targets.boxes_xyxy.device
    nothing = torch.zeros(0, dtype=torch.int64, device=device)
    return Assignment(
        images=torch.cat(images) if images else nothing,
        slots=torch.cat(slots) if slots else nothing,
        truths=torch.cat(truths) if truths else nothing,
        quality=torch.cat(quality).float() if quality else torch.zeros(0, device=device),
        ignored=torch.zeros(targets.batch_size, lattice.slots, dtype=torch.bool, device=device),
    )


def holds_centre(boxes_xyxy: Tensor, lattice: Lattice) -> Tensor:
    """``[m, n]`` bool: the slot's cell holds the centre of the object (clipped into the picture)."""
    return cell_offsets(boxes_xyxy, lattice).eq(0).all(-1)


def cell_offsets(boxes_xyxy: Tensor, lattice: Lattice) -> Tensor:
    """``[m, n, 2]``: columns and rows from the object's own cell to the slot's cell, on the slot's level."""
    cells = centre_cells(boxes_xyxy, lattice).floor()
    return lattice.cells_xy[None] - cells


def centre_cells(boxes_xyxy: Tensor, lattice: Lattice) -> Tensor:
    """``[m, n, 2]``: the object's centre in cells of each slot's level, inside the grid."""
    height, width = lattice.input_size
    centre = xyxy_to_cxcywh(boxes_xyxy)[:, :2]
    limit = torch.tensor([width, height], dtype=centre.dtype, device=centre.device) - 1e-3
    return torch.minimum(centre.clamp(min=0), limit)[:, None] / lattice.strides[None, :, None]


def within_ratio(boxes_xyxy: Tensor, lattice: Lattice, limit: float) -> Tensor:
    """``[m, n]`` bool: no side of the object is ``limit`` times longer or shorter than the slot's anchor's."""
    sides = xyxy_to_cxcywh(boxes_xyxy)[:, None, 2:].clamp(min=1e-6)
    ratio = sides / lattice.anchors_px[None]
    return torch.maximum(ratio, 1 / ratio).amax(-1) < limit


def near_cells(boxes_xyxy: Tensor, lattice: Lattice) -> Tensor:
    """``[m, n]`` bool: the object's cell or one of the two neighbours that its centre is nearest to.

    The neighbour rule of YOLOv5 (``g = 0.5``): left if the centre lies in the left half of its cell, else
    right; likewise up and down.
    """
    centre = centre_cells(boxes_xyxy, lattice)
    steps = lattice.cells_xy[None] - centre.floor()
    towards = torch.where(centre - centre.floor() < 0.5, -1.0, 1.0)
    own = steps.eq(0).all(-1)
    sideways = steps[..., 0].eq(towards[..., 0]) & steps[..., 1].eq(0)
    upright = steps[..., 1].eq(towards[..., 1]) & steps[..., 0].eq(0)
    return own | sideways | upright
