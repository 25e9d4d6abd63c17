"""The knowledge projection space, measured: how much of the truth survives a projection, and who is heard in it.

The ceiling is the AP of a network that predicts its targets perfectly. It finds projections that lose objects; it
does not rank the good ones (they all come close to 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from edgehone.analysis.ceiling import Perfect, Reason, Taught, lost_objects, perfect_network
from edgehone.analysis.start import SIZES, StartFacts, size_of, start_facts, untrained_predictions
from edgehone.augment import Frame, fit_matrix
from edgehone.data import Sample
from edgehone.evaluation import Evaluation, evaluate_detections
from edgehone.models import architecture
from edgehone.projection.anchors import best_possible_recall, shape_iou
from edgehone.space import Settings, diff
from edgehone.strategy import Strategy
from edgehone.training import truth_sides_px
from edgehone.types import Json, Lattice, Targets

Item = TypeVar("Item")

SAMPLE_IMAGES = 120
"""Images that a ceiling is measured on, evenly spaced through the training split."""

START_IMAGES = 40
"""Of these, images that the loss at the start is measured on; fewer where their outputs are more numbers than:"""

START_NUMBERS = 1 << 24

REASONED = 64
"""Objects without a positive whose reason is looked for; the shares of the reasons are taken to hold for all."""

EXAMPLES = 12
RECALL_RATIO = 4.0
"""The ratio of sides that counts as a fitting anchor (the authors' ``anchor_t``)."""


class LostObject(Settings):
    """An object that even a perfect network does not find at IoU 0.5.

    Attributes:
        sample: id of the picture.
        object: its number in the picture's labels, from 0.
        box_xyxy: in pixels of the original picture.
        class_name: of the object.
        reason: see :data:`edgehone.analysis.ceiling.Reason`.
    """

    sample: str
    object: int
    box_xyxy: tuple[float, float, float, float]
    class_name: str
    reason: Reason


class ProjectionFacts(Settings):
    """What one candidate projection does to the training labels.

    Attributes:
        label: for people.
        input_size: side of the network input in pixels.
        strategy_diff: path to value, where the candidate differs from the reference strategy.
        ceiling_ap: AP of a perfect network.
        ceiling_ap50: likewise at IoU 0.5.
        unclaimed_fraction: share of objects without any positive slot.
        unclaimed_by_class: likewise per class name.
        positives_per_object: mean number of slots that learn an object.
        anchor_fit: mean shape IoU of an object with its best anchor.
        unowned_fraction: share of objects whose best anchor belongs to no head.
        strides: of the heads, coarse first.
        objects: number of objects measured; ``images`` the number of (evenly spaced) pictures that hold them.
        ceiling_by_size: AP of a perfect network on small, medium and large objects of the original picture, as
            COCO divides them; None without such objects.
        ceiling_by_class: likewise by class name.
        lost_fraction: share of objects that a perfect network does not find at IoU 0.5: those without a positive,
            and those that are lost on the way out.
        lost_by_reason: reason to share of objects; the shares add up to ``lost_fraction``.
        lost_examples: some of them.
        positives_by_size: mean positives of small (sqrt(area) below 32 px at the network input), medium and large
            (from 96 px) objects.
        positives_by_level: stride to mean positives per object.
        reached_positives: share of positives whose slot can say its object's box exactly; the others can only come
            near it.
        occupied_by_stride: stride to share of objects whose cell holds the centre of another one, also for one
            stride finer than the network has.
        anchor_recall: share of objects with an anchor within four times their sides.
        start: the loss at the first step.
    """

    label: str
    input_size: int
    strategy_diff: dict[str, Json]
    ceiling_ap: float
    ceiling_ap50: float
    unclaimed_fraction: float
    unclaimed_by_class: dict[str, float]
    positives_per_object: float
    anchor_fit: float
    unowned_fraction: float
    objects: int
    images: int = 0
    strides: tuple[int, ...] = ()
    ceiling_by_size: dict[str, float | None] = Field(default_factory=dict[str, float | None])
    ceiling_by_class: dict[str, float | None] = Field(default_factory=dict[str, float | None])
    lost_fraction: float = 0.0
    lost_by_reason: dict[str, float] = Field(default_factory=dict[str, float])
    lost_examples: tuple[LostObject, ...] = ()
    positives_by_size: dict[str, float] = Field(default_factory=dict[str, float])
    positives_by_level: dict[int, float] = Field(default_factory=dict[int, float])
    reached_positives: float = 0.0
    occupied_by_stride: dict[int, float] = Field(default_factory=dict[int, float])
    anchor_recall: float = 0.0
    start: StartFacts | None = None


@dataclass(frozen=True)
class Candidate:
    """A projection to measure; ``strides`` are heads to suppose instead of the architecture's own, coarse first."""

    label: str
    strategy: Strategy
    strides: tuple[int, ...] | None = None


def projection_facts(
    candidate: Candidate, reference: Strategy, model: str, class_names: Sequence[str], train: Sequence[Sample]
) -> ProjectionFacts:
    """Measure one candidate on (a sample of) the training labels; no network runs."""
    strategy = candidate.strategy
    samples = evenly(train, SAMPLE_IMAGES)
    sides = truth_sides_px(train, strategy)
    strides = candidate.strides or architecture(model).graph(len(class_names)).strides
    lattice = candidate_lattice(strategy, strides, sides)
    anchors = lattice.all_anchors_px.double().numpy()
    taught = teach(strategy, lattice, samples, len(class_names))
    perfect = perfect_network(taught, samples)
    evaluation = evaluate_detections([s.truth() for s in samples], perfect.detections, class_names, samples=0)
    fit = shape_iou(np.maximum(sides, 1e-3), anchors)
    owned = np.isin(fit.argmax(1), np.unique(lattice.anchor_ids.numpy()))
    counts = torch.bincount(taught.assignment.truths, minlength=len(taught.targets.classes)).numpy()
    classes = taught.targets.classes.numpy()
    room = START_NUMBERS // (lattice.slots * (5 + len(class_names)))
    starting = evenly(samples, min(START_IMAGES, max(room, 1)))
    class_counts = np.bincount(np.concatenate([s.classes for s in train]), minlength=len(class_names))
    return ProjectionFacts(
        label=candidate.label,
        input_size=strategy.input.size,
        strides=tuple(strides),
        strategy_diff={path: new for path, (_, new) in diff(reference, strategy).items()},
        unclaimed_fraction=_share(counts == 0),
        unclaimed_by_class={n: _share(counts[classes == k] == 0) for k, n in enumerate(class_names)},
        positives_per_object=round(float(counts.mean()) if len(counts) else 0.0, 3),
        anchor_fit=round(float(fit.max(1).mean()), 4) if len(sides) else 0.0,
        unowned_fraction=_share(~owned),
        objects=len(counts),
        images=len(samples),
        **_ceilings(evaluation),
        **_losses(taught, perfect, samples, class_names),
        **_positives(taught, counts),
        occupied_by_stride=occupied_cells(taught.targets, lattice),
        anchor_recall=round(best_possible_recall(sides, anchors, RECALL_RATIO), 4) if len(sides) else 0.0,
        start=start_facts(
            teach(strategy, lattice, starting, len(class_names)), class_names, tuple(class_counts.tolist())
        ),
    )


def candidate_lattice(strategy: Strategy, strides: Sequence[int], sides_px: NDArray[np.float64]) -> Lattice:
    """The lattice that a strategy gives heads of these strides, with anchors for boxes of these sides ``[n, 2]``."""
    anchors = strategy.projection.anchors.anchors_px(sides_px, strategy.input.shape, strides)
    return strategy.projection.lattice(anchors, strides, strategy.input.shape)


def teach(strategy: Strategy, lattice: Lattice, samples: Sequence[Sample], classes: int) -> Taught:
    """The labels of pictures, assigned as for an untrained network."""
    targets = input_targets(samples, Frame(strategy.input.shape, strategy.input.fit))
    blank = untrained_predictions(strategy, lattice, len(samples), classes)
    return Taught(strategy, lattice, targets, blank, strategy.projection.assigner.assign(targets, lattice, blank))


def _ceilings(evaluation: Evaluation) -> dict[str, Any]:
    sizes = {"small": evaluation.ap_small, "medium": evaluation.ap_medium, "large": evaluation.ap_large}
    return {
        "ceiling_ap": round(evaluation.ap, 4),
        "ceiling_ap50": round(evaluation.ap50, 4),
        "ceiling_by_size": {k: None if v is None else round(v, 4) for k, v in sizes.items()},
        "ceiling_by_class": {k: None if v is None else round(v, 4) for k, v in evaluation.per_class.items()},
    }


def _losses(taught: Taught, perfect: Perfect, samples: Sequence[Sample], class_names: Sequence[str]) -> dict[str, Any]:
    reasons = lost_objects(taught, perfect, REASONED)
    unclaimed = (perfect.claimed < 0).numpy()
    examined = max(sum(bool(unclaimed[row]) for row in reasons), 1)
    tally: dict[str, float] = {}
    for row, reason in reasons.items():
        # An examined object without a positive stands for those like it that were not examined.
        tally[reason] = tally.get(reason, 0.0) + (float(unclaimed.sum()) / examined if unclaimed[row] else 1.0)
    objects = max(len(unclaimed), 1)
    chosen = evenly(sorted(reasons), EXAMPLES)
    return {
        "lost_fraction": _share(~perfect.found.numpy()),
        "lost_by_reason": {reason: round(count / objects, 4) for reason, count in sorted(tally.items())},
        "lost_examples": tuple(lost_object(samples, class_names, row, reasons[row]) for row in chosen),
    }


def lost_object(samples: Sequence[Sample], class_names: Sequence[str], row: int, reason: Reason) -> LostObject:
    """The object in a row of the targets of these samples, for people."""
    starts = np.cumsum([0, *(len(s.classes) for s in samples)])
    image = int(np.searchsorted(starts, row, side="right")) - 1
    number = row - int(starts[image])
    x1, y1, x2, y2 = (round(float(v), 1) for v in samples[image].boxes_xyxy[number])
    name = class_names[int(samples[image].classes[number])]
    return LostObject(
        sample=samples[image].id, object=number, box_xyxy=(x1, y1, x2, y2), class_name=name, reason=reason
    )


def _positives(taught: Taught, counts: NDArray[np.int64]) -> dict[str, Any]:
    sizes, lattice = size_of(taught.targets).numpy(), taught.lattice
    levels = [int(n) for n in torch.bincount(lattice.levels[taught.assignment.slots], minlength=len(lattice.shapes))]
    strides = [round(lattice.input_size[0] / shape[1]) for shape in lattice.shapes]
    return {
        "positives_by_size": {
            name: round(float(counts[sizes == k].mean()), 3) for k, name in enumerate(SIZES) if (sizes == k).any()
        },
        "positives_by_level": {
            stride: round(count / max(len(counts), 1), 3) for stride, count in zip(strides, levels, strict=True)
        },
        "reached_positives": _share(taught.reached().numpy()),
    }


def occupied_cells(targets: Targets, lattice: Lattice) -> dict[int, float]:
    """Stride to the share of objects whose cell also holds the centre of another, down to half the finest stride."""
    centre = (targets.boxes_xyxy[:, :2] + targets.boxes_xyxy[:, 2:]) / 2
    strides = sorted({round(lattice.input_size[0] / shape[1]) for shape in lattice.shapes}, reverse=True)
    found: dict[int, float] = {}
    for stride in (*strides, strides[-1] // 2):
        keys = torch.cat([targets.images[:, None], (centre / stride).floor().long()], 1)
        _, place, count = _unique_rows(keys)
        found[stride] = _share((count[place] > 1).numpy())
    return found


def _unique_rows(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    unique = cast(Any, torch.unique)  # its annotation does not know what it returns
    return unique(rows, dim=0, return_inverse=True, return_counts=True)


def evenly(items: Sequence[Item], limit: int) -> list[Item]:
    """At most ``limit`` of the items, evenly spaced."""
    if len(items) <= limit:
        return list(items)
    return [items[int(i)] for i in np.linspace(0, len(items) - 1, limit).round()]


def input_targets(samples: Sequence[Sample], frame: Frame) -> Targets:
    """The labels of pictures as one batch, in pixels of the network input, without augmentation."""
    boxes, classes, images = [np.zeros((0, 4), np.float32)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for image, sample in enumerate(samples):
        matrix = fit_matrix(sample.size, frame.input_size, frame.fit)
        scale, shift = matrix[[0, 1, 0, 1], [0, 1, 0, 1]], matrix[[0, 1, 0, 1], 2]
        boxes.append((sample.boxes_xyxy * scale + shift).astype(np.float32))
        classes.append(sample.classes)
        images.append(np.full(len(sample.classes), image))
    return Targets(
        torch.from_numpy(np.concatenate(boxes)),
        torch.from_numpy(np.concatenate(classes)),
        torch.from_numpy(np.concatenate(images)),
        len(samples),
    )


def _share(flags: NDArray[np.bool_]) -> float:
    return round(float(np.mean(flags)), 4) if len(flags) else 0.0
