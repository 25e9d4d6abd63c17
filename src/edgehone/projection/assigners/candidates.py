"""What several assigners share: pairs of objects and the slots that may learn them, ranked and made unique.

Candidates are listed pair by pair, image by image and at most :data:`PAIRS` at a time: memory grows with what
lies near the objects, not with objects x slots.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from edgehone.boxes import xyxy_to_cxcywh
from edgehone.types import Assignment, Lattice, Targets

PAIRS = 1 << 18
"""How many pairs of an object and a slot are looked at together: a few MiB of temporary tensors each."""


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


@dataclass(frozen=True)
class Pairs:
    """Objects with slots that may learn them, by object and then by slot.

    Attributes:
        objects: ``[q]`` int64, row within the image's own objects.
        slots: ``[q]`` int64.
    """

    objects: Tensor
    slots: Tensor

    def __getitem__(self, kept: Tensor) -> Pairs:
        return Pairs(self.objects[kept], self.slots[kept])

    def matches(self) -> Matches:
        """All of them as positives of quality 1."""
        return Matches(self.objects, self.slots, torch.ones_like(self.slots, dtype=torch.float32))


@dataclass(frozen=True)
class Level:
    """Where the slots of one head lie.

    Attributes:
        first: its first slot.
        shape: ``(anchors, rows, columns)``.
        stride: pixels per cell.
    """

    first: int
    shape: tuple[int, int, int]
    stride: float

    def slots(self, columns: Tensor, rows: Tensor, anchors: Tensor) -> Tensor:
        """Slot numbers, broadcasting."""
        return self.first + (anchors * self.shape[1] + rows) * self.shape[2] + columns


def levels_of(lattice: Lattice) -> list[Level]:
    """The heads of a lattice, in its order."""
    found: list[Level] = []
    first = 0
    for shape in lattice.shapes:
        found.append(Level(first, shape, lattice.input_size[0] / shape[1]))
        first += shape[0] * shape[1] * shape[2]
    return found


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


def centres(boxes_xyxy: Tensor, lattice: Lattice) -> Tensor:
    """``[m, 2]``: the objects' centres in pixels, clipped into the picture."""
    height, width = lattice.input_size
    centre = xyxy_to_cxcywh(boxes_xyxy)[:, :2]
    limit = torch.tensor([width, height], dtype=centre.dtype, device=centre.device) - 1e-3
    return torch.minimum(centre.clamp(min=0), limit)


def own_cells(boxes_xyxy: Tensor, lattice: Lattice) -> Pairs:
    """Every slot of the cells, one a level, that hold the object's centre."""
    return _cells(boxes_xyxy, lattice, neighbours=False)


def near_cells(boxes_xyxy: Tensor, lattice: Lattice) -> Pairs:
    """Every slot of the object's cell and of the two neighbours that its centre is nearest to, on each level.

    The neighbour rule of YOLOv5 (``g = 0.5``): left if the centre lies in the left half of its cell, else
    right; likewise up and down.
    """
    return _cells(boxes_xyxy, lattice, neighbours=True)


def _cells(boxes_xyxy: Tensor, lattice: Lattice, *, neighbours: bool) -> Pairs:
    centre = centres(boxes_xyxy, lattice)
    found: list[Tensor] = []
    for level in levels_of(lattice):
        anchors, rows, columns = level.shape
        place = centre / level.stride
        cell = place.floor()
        visited = [cell]
        if neighbours:
            towards = torch.where(place - cell < 0.5, -1.0, 1.0)
            still = torch.zeros_like(towards[:, 0])
            visited += [cell + torch.stack([towards[:, 0], still], 1), cell + torch.stack([still, towards[:, 1]], 1)]
        x, y = torch.stack(visited, 1).long().unbind(-1)  # [m, visited]
        each = torch.arange(anchors, device=cell.device)
        slots = level.slots(x[..., None], y[..., None], each)
        inside = (x >= 0) & (x < columns) & (y >= 0) & (y < rows)
        found.append(slots.masked_fill(~inside[..., None], -1).flatten(1))
    slots = torch.cat(found, 1)
    objects = torch.arange(len(slots), device=slots.device)[:, None].expand_as(slots)
    return _ordered(objects[slots >= 0], slots[slots >= 0], lattice)


def inside_cells(boxes_xyxy: Tensor, lattice: Lattice) -> Iterator[Pairs]:
    """Every slot whose cell has its centre in the object, and those of the cells that hold the object's centre.

    In portions of whole objects and about :data:`PAIRS` pairs.
    """
    levels = levels_of(lattice)
    windows = [_window(boxes_xyxy, level) for level in levels]
    counts = torch.stack([w[2] * w[3] * level.shape[0] for w, level in zip(windows, levels, strict=True)]).sum(0)
    centre = centres(boxes_xyxy, lattice)
    for start, end in portions(counts):
        rows = torch.arange(start, end, device=boxes_xyxy.device)
        parts = [_fill(rows, w[:, start:end], level) for w, level in zip(windows, levels, strict=True)]
        pairs = _ordered(torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts]), lattice)
        cells, strides = lattice.cells_xy[pairs.slots], lattice.strides[pairs.slots, None]
        middle, boxes = (cells + 0.5) * strides, boxes_xyxy[pairs.objects]
        inside = ((middle > boxes[:, :2]) & (middle < boxes[:, 2:])).all(-1)
        own = (cells == (centre[pairs.objects] / strides).floor()).all(-1)
        yield pairs[inside | own]


def _window(boxes_xyxy: Tensor, level: Level) -> Tensor:
    """``[4, m]`` int64: first column and row, columns and rows that hold all cells with their centre in the box."""
    _, rows, columns = level.shape
    limit = torch.tensor([columns - 1, rows - 1], device=boxes_xyxy.device)
    low = (boxes_xyxy[:, :2] / level.stride - 0.5).floor().long()
    high = (boxes_xyxy[:, 2:] / level.stride - 0.5).ceil().long()
    low, high = (torch.minimum(edge.clamp(min=0), limit) for edge in (low, high))
    return torch.cat([low, (high - low + 1).clamp(min=1)], 1).T


def _fill(rows: Tensor, window: Tensor, level: Level) -> tuple[Tensor, Tensor]:
    """Objects (numbered by ``rows``) and slots of every cell of their windows, at every anchor."""
    x, y, columns, height = window
    counts = columns * height * level.shape[0]
    local = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), counts)
    step = torch.arange(len(local), device=rows.device) - (counts.cumsum(0) - counts)[local]
    anchor, cell = step // (columns * height)[local], step % (columns * height)[local]
    slots = level.slots(x[local] + cell % columns[local], y[local] + cell // columns[local], anchor)
    return rows[local], slots


def portions(counts: Tensor) -> Iterator[tuple[int, int]]:
    """Ranges of objects that have at most :data:`PAIRS` pairs together, or are one object."""
    start = total = 0
    each: list[int] = counts.tolist()  # pyright: ignore[reportUnknownVariableType]
    for row, count in enumerate(each):
        if total and total + count > PAIRS:
            yield start, row
            start, total = row, 0
        total += count
    if start < len(counts):
        yield start, len(counts)


def _ordered(objects: Tensor, slots: Tensor, lattice: Lattice) -> Pairs:
    order = (objects * lattice.slots + slots).argsort()
    return Pairs(objects[order], slots[order])


def within_ratio(boxes_xyxy: Tensor, pairs: Pairs, lattice: Lattice, limit: float) -> Tensor:
    """``[q]`` bool: no side of the object is ``limit`` times longer or shorter than the slot's anchor's."""
    sides = xyxy_to_cxcywh(boxes_xyxy)[:, 2:].clamp(min=1e-6)
    ratio = sides[pairs.objects] / lattice.anchors_px[pairs.slots]
    return torch.maximum(ratio, 1 / ratio).amax(-1) < limit


def ranks(groups: Tensor, keys: Tensor) -> Tensor:
    """``[q]`` int64: how many of a pair's group have a lower key; of equal keys the earlier pair counts as lower."""
    order = keys.argsort(stable=True)
    order = order[groups[order].argsort(stable=True)]
    sorted_groups = groups[order].contiguous()
    places = torch.arange(len(order), device=order.device) - torch.searchsorted(sorted_groups, sorted_groups)
    return torch.empty_like(order).scatter_(0, order, places)


def group_sum(groups: Tensor, values: Tensor, count: int) -> Tensor:
    """``[count]``: sum of the values of each group."""
    return torch.zeros(count, dtype=values.dtype, device=values.device).index_add_(0, groups, values)


def group_max(groups: Tensor, values: Tensor, count: int) -> Tensor:
    """``[count]``: largest of the values of each group; 0 for an empty one."""
    start = torch.zeros(count, dtype=values.dtype, device=values.device)
    return start.scatter_reduce(0, groups, values, "amax", include_self=False)
