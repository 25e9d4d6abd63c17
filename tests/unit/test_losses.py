"""The loss of a batch: terms, normalisation, votes, what is ignored."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from edgehone.projection import Ciou, Classification, Objectness, Projection
from edgehone.projection.anchors import OFFICIAL_416_PX, KmeansAnchors, shape_iou, shape_kmeans
from edgehone.projection.lattice import flatten_heads
from edgehone.projection.loss import LossParts, LossTerms, detection_loss
from edgehone.strategy import AUTHORS, DARKNET
from edgehone.types import Assignment, Lattice, Predictions, Targets

ANCHORS = np.array(OFFICIAL_416_PX) * 0.3
GRID: Lattice = Projection().lattice(ANCHORS, (32, 16), (64, 64))
BOXES = torch.tensor([[4.0, 4.0, 20.0, 24.0], [30.0, 30.0, 60.0, 60.0]])
TARGETS = Targets(BOXES, torch.tensor([0, 1]), torch.tensor([0, 0]), 2)


def assignment(ignored: list[int] | None = None) -> Assignment:
    mask = torch.zeros(2, GRID.slots, dtype=torch.bool)
    mask[0, ignored or []] = True
    return Assignment(
        torch.tensor([0, 0, 0]), torch.tensor([20, 21, 5]), torch.tensor([1, 1, 0]), torch.tensor([0.9, 0.3, 0.6]), mask
    )


def predictions(seed: int = 0) -> Predictions:
    logits = torch.randn(2, GRID.slots, 7, generator=torch.Generator().manual_seed(seed))
    boxes = Projection().coding.decode(logits[..., :4], GRID.cells_xy, GRID.strides, GRID.anchors_px)
    return Predictions(boxes, logits[..., 4], logits[..., 5:])


def terms(chosen: Assignment, **changes: object) -> LossTerms:
    settings = {
        "box_loss": Ciou(weight=1.0),
        "objectness": Objectness(target="one", weight=1.0, fine_weight=1.0),
        "classification": Classification(weight=1.0),
        "normalisation": "image",
        "vote": "positive",
        **changes,
    }
    return detection_loss(LossParts(**settings), predictions(), TARGETS, chosen, GRID)  # pyright: ignore[reportArgumentType]


def test_darknets_sum_by_hand() -> None:
    chosen, said = assignment(), predictions()
    found = terms(chosen)
    box = Ciou().loss(said.boxes_xyxy[chosen.images, chosen.slots], BOXES[chosen.truths]).sum() / 2
    target = torch.zeros(2, GRID.slots)
    target[0, [20, 21, 5]] = 1
    objectness = F.binary_cross_entropy_with_logits(said.objectness_logits, target, reduction="sum") / 2
    truth = F.one_hot(TARGETS.classes[chosen.truths], 2).float()
    classes = F.binary_cross_entropy_with_logits(said.class_logits[0, [20, 21, 5]], truth, reduction="sum") / 2
    assert float(found.box) == pytest.approx(float(box), rel=1e-5)
    assert float(found.objectness) == pytest.approx(float(objectness), rel=1e-5)
    assert float(found.classification) == pytest.approx(float(classes), rel=1e-5)
    assert float(found.total) == pytest.approx(float(box + objectness + classes), rel=1e-5)


def test_an_ignored_slot_is_not_punished() -> None:
    said = predictions()
    less = float(terms(assignment()).objectness) - float(terms(assignment([40])).objectness)
    assert less == pytest.approx(float(F.softplus(said.objectness_logits[0, 40])) / 2, rel=1e-3)


def test_the_mean_of_objectness_by_hand() -> None:
    said = predictions()
    target = torch.zeros(2, GRID.slots)
    target[0, [20, 21, 5]] = 1
    each = F.binary_cross_entropy_with_logits(said.objectness_logits, target, reduction="none")
    coarse, fine = each[:, GRID.strides == 32], each[:, GRID.strides == 16]
    settings = Objectness(target="one", weight=0.5, fine_weight=4.0)
    found = terms(assignment(), normalisation="mean", objectness=settings).objectness
    assert float(found) == pytest.approx(float(0.5 * (coarse.mean() + 4 * fine.mean()) * 2), rel=1e-4)


def test_the_mean_of_classes_by_hand_with_smoothing() -> None:
    chosen, said = assignment(), predictions()
    truth = F.one_hot(TARGETS.classes[chosen.truths], 2).float() * 0.9 + 0.05
    logits = said.class_logits[0, [20, 21, 5]]
    each = F.binary_cross_entropy_with_logits(logits, truth, reduction="none").sum(-1) / 80
    expected = 2.0 * (each * chosen.quality).sum() / chosen.quality.sum() * 2
    settings = Classification(weight=2.0, label_smoothing=0.1)
    found = terms(chosen, normalisation="mean", classification=settings).classification
    assert float(found) == pytest.approx(float(expected), rel=1e-4)


def test_a_slot_with_two_objects_learns_the_better_target() -> None:
    said = predictions()
    both = Assignment(
        torch.tensor([0, 0]), torch.tensor([5, 5]), torch.tensor([0, 1]), torch.tensor([0.2, 0.7]), assignment().ignored
    )
    found = terms(both, objectness=Objectness(target="quality", weight=1.0, fine_weight=1.0)).objectness
    target = torch.zeros(2, GRID.slots)
    target[0, 5] = 0.7
    expected = F.binary_cross_entropy_with_logits(said.objectness_logits, target, reduction="sum") / 2
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_one_vote_an_object_in_objectness_is_one_on_average() -> None:
    said = predictions()
    target = torch.zeros(2, GRID.slots)
    target[0, [20, 21, 5]] = 1
    each = F.binary_cross_entropy_with_logits(said.objectness_logits, target, reduction="none")
    loud = torch.ones(2, GRID.slots)
    # Slots 20 and 21 share the vote of object 1 as 0.9 to 0.3; slot 5 has that of object 0 for itself.
    loud[0, [20, 21, 5]] = torch.tensor([0.75, 0.25, 1.0]) * 3 / 2
    found = terms(assignment(), vote="object").objectness
    assert float(found) == pytest.approx(float((each * loud).sum() / 2), rel=1e-4)


def test_an_iou_target_does_not_teach_the_box() -> None:
    said = predictions()
    boxes = said.boxes_xyxy.clone()
    truths = assignment().truths
    boxes[0, [20, 21, 5]] = BOXES[truths] + 2.0
    boxes.requires_grad_()
    held = Predictions(boxes, said.objectness_logits.clone().requires_grad_(), said.class_logits)
    parts = LossParts(Ciou(weight=0.0), Objectness(target="iou"), Classification(), "mean", "positive")
    detection_loss(parts, held, TARGETS, assignment(), GRID).total.backward()
    assert boxes.grad is not None
    assert not boxes.grad.any()


@pytest.mark.parametrize("slot", [5, 40])
def test_the_gradient_pushes_the_right_way(slot: int) -> None:
    said = predictions()
    said.objectness_logits.requires_grad_()
    settings = LossParts(Ciou(), Objectness(target="one"), Classification(), "mean", "object")
    detection_loss(settings, said, TARGETS, assignment([41]), GRID).total.backward()
    slope = said.objectness_logits.grad
    assert slope is not None
    assert (slope[0, slot] < 0) == (slot == 5), "up where there is an object, down elsewhere"
    assert slope[0, 41] == 0, "ignored"


def test_the_mean_weighs_boxes_by_quality() -> None:
    chosen, said = assignment(), predictions()
    each = Ciou().loss(said.boxes_xyxy[chosen.images, chosen.slots], BOXES[chosen.truths])
    expected = (each * chosen.quality).sum() / chosen.quality.sum() * 2
    assert float(terms(chosen, normalisation="mean").box) == pytest.approx(float(expected), rel=1e-4)


def test_one_vote_an_object() -> None:
    chosen, said = assignment(), predictions()
    each = Ciou().loss(said.boxes_xyxy[chosen.images, chosen.slots], BOXES[chosen.truths])
    expected = ((0.9 * each[0] + 0.3 * each[1]) / 1.2 + each[2]) / 2 * 2
    assert float(terms(chosen, normalisation="mean", vote="object").box) == pytest.approx(float(expected), rel=1e-4)


def test_objectness_targets() -> None:
    losses = {
        t: float(terms(assignment(), objectness=Objectness(target=t)).objectness) for t in ("one", "iou", "quality")
    }
    assert len(set(losses.values())) == 3


@pytest.mark.parametrize("preset", [DARKNET, AUTHORS])
def test_an_empty_batch_has_a_loss_and_a_gradient(preset: object) -> None:
    projection = preset.projection  # pyright: ignore[reportAttributeAccessIssue]
    heads = [torch.randn(2, 21, 2, 2, requires_grad=True), torch.randn(2, 21, 4, 4, requires_grad=True)]
    nothing = Targets(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), 2)
    grid = projection.lattice(ANCHORS, (32, 16), (64, 64))
    found = projection.loss(heads, nothing, grid)
    found.total.backward()
    assert found.positives == 0
    assert all(torch.isfinite(h.grad).all() for h in heads if h.grad is not None)


def test_heads_are_flattened_in_darknets_order() -> None:
    heads = [torch.arange(2 * 21 * 4).reshape(2, 21, 2, 2), torch.arange(2 * 21 * 16).reshape(2, 21, 4, 4)]
    raw = flatten_heads([h.float() for h in heads], GRID)
    # slot of level 1, anchor 2, row 3, column 1
    slot = 12 + 2 * 16 + 3 * 4 + 1
    assert raw.boxes[1, slot].tolist() == heads[1][1, 14:18, 3, 1].tolist()
    assert raw.objectness[1, slot] == heads[1][1, 18, 3, 1]
    assert raw.classes[1, slot].tolist() == heads[1][1, 19:21, 3, 1].tolist()
    assert GRID.cells_xy[slot].tolist() == [1.0, 3.0]
    assert GRID.anchor_ids[slot] == 2


def test_clustered_anchors_fit_better_and_are_sorted() -> None:
    rng = np.random.default_rng(0)
    centres = np.array([[12, 30], [40, 14], [60, 60], [20, 20], [100, 50], [150, 160]], float)
    sides = centres[rng.integers(0, 6, 600)] * rng.uniform(0.9, 1.1, (600, 2))
    found = shape_kmeans(sides, 6)
    assert (np.diff(found.prod(1)) >= 0).all()
    assert shape_iou(sides, found).max(1).mean() > 0.85
    few = KmeansAnchors().anchors_px(np.ones((3, 2)), (416, 416))
    assert few.tolist() == [list(map(float, pair)) for pair in OFFICIAL_416_PX], "too few shapes: the official list"
