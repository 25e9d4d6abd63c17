"""The network that says exactly what it is taught: its detections, and the objects that even it loses, with the reason.

Truth is assigned and encoded as for training, then decoded, suppressed and cut off as for inference.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from edgehone.augment import unfit_boxes
from edgehone.boxes import iou
from edgehone.data import Sample
from edgehone.inference import PostProcess, select
from edgehone.strategy import Strategy
from edgehone.types import Assignment, Detections, Lattice, Predictions, Targets

Reason = Literal["collision", "no_anchor", "too_small", "out_of_reach", "suppressed", "over_limit"]
"""Why an object is lost, by what would have saved it: being alone (on its slots; other objects took them all), an
anchor of its shape, a finer stride or a larger input, another coding, another suppression, a longer list of
detections."""

POST = PostProcess(candidates=5000)
FOUND_IOU = 0.5


@dataclass(frozen=True)
class Taught:
    """What is measured: labels on a lattice, and what the assigner makes of them.

    Attributes:
        strategy: whose projection it is.
        lattice: at its input size.
        targets: the labels, one image of the batch a picture.
        predictions: of the untrained network, for assigners that look at them; alike for all pictures.
        assignment: of the targets.
    """

    strategy: Strategy
    lattice: Lattice
    targets: Targets
    predictions: Predictions
    assignment: Assignment

    def said(self) -> tuple[Tensor, Tensor]:
        """``[p, 4]`` boxes that the positives come to say, and ``[p]`` their IoU with what they are taught."""
        coding, where, wanted = self.strategy.projection.coding, self._where(), self._wanted()
        boxes = coding.decode(coding.encode(wanted, *where), *where)
        return boxes, iou(boxes, wanted)

    def codes(self, rows: Tensor) -> Tensor:
        """``[p, 4]``: the boxes that these positives (rows of the assignment) are taught, as the coding says them."""
        return self.strategy.projection.coding.encode(self._wanted(), *self._where())[rows]

    def reached(self) -> Tensor:
        """``[p]`` bool: the slot can say its object's box exactly."""
        return self.strategy.projection.coding.reach(self._wanted(), *self._where())

    def _wanted(self) -> Tensor:
        return self.targets.boxes_xyxy[self.assignment.truths]

    def _where(self) -> tuple[Tensor, Tensor, Tensor]:
        slots = self.assignment.slots
        return self.lattice.cells_xy[slots], self.lattice.strides[slots], self.lattice.anchors_px[slots]


@dataclass(frozen=True)
class Perfect:
    """What a perfect network says.

    Attributes:
        detections: a picture, in its own pixels.
        claimed: ``[m]`` float32, per object the best IoU of what its positives could say; -1 without any.
        said: ``[m]`` float32, likewise of those that say it: a slot taught two objects says one of them.
        free: ``[m]`` bool, found (at IoU 0.5) before the list of detections is cut off.
        found: ``[m]`` bool, found after it.
    """

    detections: list[Detections]
    claimed: Tensor
    said: Tensor
    free: Tensor
    found: Tensor


def perfect_network(taught: Taught, samples: Sequence[Sample]) -> Perfect:
    """Run it on the pictures that ``taught.targets`` come from."""
    assignment, targets = taught.assignment, taught.targets
    objects = len(targets.classes)
    boxes, quality = taught.said()
    rows = _speakers(assignment, taught.lattice.slots, objects)
    claimed, said = (_best(assignment.truths[r], quality[r], objects) for r in (slice(None), rows))
    free, found = torch.zeros(objects, dtype=torch.bool), torch.zeros(objects, dtype=torch.bool)
    owner = assignment.images[rows]
    bounds = _numbers(torch.searchsorted(owner, torch.arange(len(samples) + 1)))
    detections: list[Detections] = []
    for image, sample in enumerate(samples):
        mine = rows[bounds[image] : bounds[image + 1]]
        mine = mine[quality[mine].argsort(stable=True)]
        truths, good = assignment.truths[mine], quality[mine] >= FOUND_IOU
        # Better boxes score higher, and no two score alike: so what is kept can be told by its score.
        scores = (0.5 + 0.4 * quality[mine].double() + 1e-6 * torch.arange(len(mine))).float()
        table = torch.zeros(len(mine), int(targets.classes.max()) + 1 if objects else 1)
        table[torch.arange(len(mine)), targets.classes[truths]] = scores
        kept = select(boxes[mine], table, POST)
        everything = kept
        if len(kept) == POST.limit:
            everything = select(boxes[mine], table, POST.model_copy(update={"limit": len(mine)}))
        for result, mark in ((kept, found), (everything, free)):
            places = torch.searchsorted(scores, torch.from_numpy(np.sort(result.scores)))
            mark[truths[places][good[places]]] = True
        original = unfit_boxes(kept.boxes_xyxy, sample.size, taught.lattice.input_size, taught.strategy.input.fit)
        detections.append(Detections(original, kept.scores, kept.classes))
    return Perfect(detections, claimed, said, free, found)


def _speakers(assignment: Assignment, slots: int, objects: int) -> Tensor:
    """Positives (rows) that say their object, by image: on a contested slot the object with the fewest slots."""
    counts = torch.bincount(assignment.truths, minlength=objects)
    order = counts[assignment.truths].argsort(descending=True, stable=True)
    place = (assignment.images * slots + assignment.slots)[order]
    turn = torch.arange(len(order))
    last = torch.zeros(len(assignment.ignored) * slots, dtype=torch.int64).scatter_reduce_(0, place, turn, "amax")
    rows = order[last[place] == turn]
    return rows[assignment.images[rows].argsort(stable=True)]


def _numbers(values: Tensor) -> list[int]:
    return [int(value) for value in values]


def _best(groups: Tensor, values: Tensor, count: int) -> Tensor:
    return torch.full((count,), -1.0).scatter_reduce_(0, groups, values, "amax")


def lost_objects(taught: Taught, perfect: Perfect, limit: int | None = None) -> dict[int, Reason]:
    """Rows of the targets that a perfect network does not find (at IoU 0.5), and why.

    Args:
        taught: the projection.
        perfect: its network.
        limit: look at no more than this many of those without a positive, evenly spaced.
    """
    reasons: dict[int, Reason] = {}
    for row in _numbers((~perfect.found & (perfect.claimed >= 0)).nonzero()[:, 0]):
        if perfect.claimed[row] < FOUND_IOU:
            reasons[row] = "too_small" if _reached_if_larger(taught, row) else "out_of_reach"
        elif perfect.said[row] < FOUND_IOU:
            reasons[row] = "collision"
        else:
            reasons[row] = "over_limit" if perfect.free[row] else "suppressed"
    rows = (perfect.claimed < 0).nonzero()[:, 0]
    if limit is not None and len(rows) > limit:
        rows = rows[torch.linspace(0, len(rows) - 1, limit).round().long()]
    alone = _claimed_alone(taught, rows, taught.lattice)
    for row, claimed in zip(_numbers(rows), _numbers(alone), strict=True):
        if claimed:
            reasons[row] = "collision"
        else:
            reasons[row] = "no_anchor" if _claimed_with_anchor(taught, row) else "too_small"
    return reasons


def _claimed_alone(taught: Taught, rows: Tensor, lattice: Lattice) -> Tensor:
    """``[r]`` bool: the object has a positive if each of these has a picture to itself."""
    count, said = len(rows), taught.predictions
    alone = Targets(taught.targets.boxes_xyxy[rows], taught.targets.classes[rows], torch.arange(count), count)
    # An untrained network says the same of every picture: no copies are made.
    theirs = Predictions(
        said.boxes_xyxy[:1].expand(count, -1, -1),
        said.objectness_logits[:1].expand(count, -1),
        said.class_logits[:1].expand(count, -1, -1),
    )
    found = taught.strategy.projection.assigner.assign(alone, lattice, theirs)
    return torch.bincount(found.truths, minlength=count) > 0


def _reached_if_larger(taught: Taught, row: int) -> bool:
    """Whether one of an object's slots is out of its reach only because the object is smaller than the slot's cell."""
    lattice, box = taught.lattice, taught.targets.boxes_xyxy[row]
    slots = taught.assignment.slots[taught.assignment.truths == row]
    strides = lattice.strides[slots]
    centre, sides = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    half = torch.maximum(sides[None], 1.01 * strides[:, None]) / 2
    where = (lattice.cells_xy[slots], strides, lattice.anchors_px[slots])
    reached = taught.strategy.projection.coding.reach(torch.cat([centre - half, centre + half], 1), *where)
    return bool((reached & (sides.min() < strides)).any())


def _claimed_with_anchor(taught: Taught, row: int) -> bool:
    """Whether the object alone has a positive where every head's anchors have its own shape."""
    low, high = taught.targets.boxes_xyxy[row].view(2, 2)
    shape = (high - low).clamp(min=1e-3)
    lattice = taught.lattice
    # Anchors that no head owns must not fit: they would still be nobody's.
    listed = (shape * 1e6).repeat(len(lattice.all_anchors_px), 1)
    listed[lattice.anchor_ids.unique()] = shape
    fitted = dataclasses.replace(
        lattice, anchors_px=shape.expand_as(lattice.anchors_px), all_anchors_px=listed.to(lattice.anchors_px.dtype)
    )
    return bool(_claimed_alone(taught, torch.tensor([row]), fitted).item())
