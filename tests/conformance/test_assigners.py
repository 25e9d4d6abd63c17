"""What every assigner must do, and each against a plain, slow reading of its rule."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from edgehone.boxes import iou
from edgehone.projection import Assigner, Atss, BestAnchor, Projection, RatioMatch, SimOta, TaskAligned
from edgehone.projection.anchors import OFFICIAL_416_PX
from edgehone.projection.lattice import build_lattice
from edgehone.space import union_types
from edgehone.types import Assignment, Lattice, Predictions, Targets

MEMBERS = union_types(Assigner)
SIZE = (128, 96)
CLASSES = 3
Positive = tuple[int, int, int]


COUNTS = ((4, 0, 7), (25, 0, 1))
"""Objects per picture: an ordinary batch and a crowd, where slots are contested."""


def lattice(mask: str = "0,1,2") -> Lattice:
    anchors = np.array(OFFICIAL_416_PX) * 0.3
    return Projection(second_head_mask=mask).lattice(anchors, (32, 16), SIZE)  # pyright: ignore[reportArgumentType]


def three_levels() -> Lattice:
    anchors = torch.tensor(OFFICIAL_416_PX, dtype=torch.float32) * 0.3
    return build_lattice(anchors, [(4, 5), (2, 3), (0, 1)], (32, 16, 8), SIZE)


def scene(seed: int, counts: tuple[int, ...] = (4, 0, 7)) -> tuple[Targets, Lattice, Predictions]:
    """Objects, and what an untrained network says of them; from seed 6 on with a third head."""
    rng = np.random.default_rng(seed)
    grid = lattice() if seed < 6 else three_levels()
    boxes: list[list[float]] = []
    images: list[int] = []
    for image, count in enumerate(counts):
        for _ in range(count):
            w, h = np.exp(rng.uniform(math.log(3), math.log(80), 2))
            x, y = rng.uniform(0, SIZE[1] - min(w, 90)), rng.uniform(0, SIZE[0] - min(h, 90))
            boxes.append([x, y, min(x + w, SIZE[1]), min(y + h, SIZE[0])])
            images.append(image)
    targets = Targets(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.from_numpy(rng.integers(0, CLASSES, len(boxes))),
        torch.tensor(images, dtype=torch.int64),
        len(counts),
    )
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(len(counts), grid.slots, 5 + CLASSES, generator=generator)
    decoded = Projection().coding.decode(logits[..., :4] * 0.5, grid.cells_xy, grid.strides, grid.anchors_px)
    return targets, grid, Predictions(decoded, logits[..., 4], logits[..., 5:])


def positives(assignment: Assignment) -> set[Positive]:
    return set(zip(assignment.images.tolist(), assignment.slots.tolist(), assignment.truths.tolist(), strict=True))


AWKWARD = [
    [30.0, 40.0, 30.0, 40.0],  # a point
    [10.0, 40.0, 80.0, 40.0],  # a line
    [0.0, 0.0, 96.0, 128.0],  # the whole picture
    [90.0, 120.0, 102.0, 136.0],  # centred on the far corner
    [-40.0, -40.0, -8.0, -8.0],  # outside
    [32.0, 32.0, 64.0, 64.0],  # centred and bounded by cell borders
]


@pytest.mark.parametrize("member", MEMBERS)
class TestAssigner:
    @pytest.mark.parametrize("seed", range(5))
    def test_positives_belong_to_their_image(self, member: type, seed: int) -> None:
        targets, grid, predictions = scene(seed)
        found = member().assign(targets, grid, predictions)
        assert (targets.images[found.truths] == found.images).all()
        assert ((found.slots >= 0) & (found.slots < grid.slots)).all()
        assert ((found.quality >= 0) & (found.quality <= 1)).all()
        assert found.ignored.shape == (3, grid.slots)
        assert len(positives(found)) == found.positives, "no pair twice"
        assert not found.ignored[found.images, found.slots].any(), "a positive is never ignored"

    def test_no_objects_no_positives(self, member: type) -> None:
        targets, grid, predictions = scene(0, (0, 0))
        found = member().assign(targets, grid, predictions)
        assert found.positives == 0
        assert not found.ignored.any()

    def test_an_ordinary_object_is_claimed(self, member: type) -> None:
        for seed in range(10):
            targets, grid, predictions = scene(seed, (1,))
            w, h = (targets.boxes_xyxy[0, 2:] - targets.boxes_xyxy[0, :2]).tolist()
            if min(w, h) > 12 and max(w, h) / min(w, h) < 2:
                assert member().assign(targets, grid, predictions).positives > 0

    def test_a_lone_object_is_always_claimed(self, member: type) -> None:
        for seed in range(40):
            targets, grid, predictions = scene(seed, (1,))
            if member is RatioMatch and not _within_four(targets, grid):
                continue
            assert member().assign(targets, grid, predictions).positives > 0, seed

    @pytest.mark.parametrize("box", AWKWARD)
    def test_awkward_objects_do_no_harm(self, member: type, box: list[float]) -> None:
        targets, grid, predictions = scene(1, (3, 0))
        boxes = torch.cat([targets.boxes_xyxy, torch.tensor([box, box])])
        classes = torch.cat([targets.classes, torch.tensor([0, 1])])
        crowd = Targets(boxes, classes, torch.cat([targets.images, torch.tensor([1, 1])]), 2)
        found = member().assign(crowd, grid, predictions)
        assert torch.isfinite(found.quality).all()
        assert ((found.slots >= 0) & (found.slots < grid.slots)).all()
        alone = member().assign(targets, grid, predictions)
        assert {p for p in positives(found) if p[0] == 0} == positives(alone), "other pictures do not notice"

    def test_nothing_carries_a_gradient(self, member: type) -> None:
        targets, grid, predictions = scene(2)
        held = Predictions(*(t.requires_grad_() for t in _parts(predictions)))
        found = member().assign(targets, grid, held)
        assert not found.quality.requires_grad
        assert found.quality.dtype == torch.float32

    def test_the_order_of_images_does_not_matter(self, member: type) -> None:
        targets, grid, predictions = scene(3, (3, 5))
        swapped = Targets(targets.boxes_xyxy, targets.classes, 1 - targets.images, 2)
        turned = Predictions(*(t.flip(0) for t in _parts(predictions)))
        first = positives(member().assign(targets, grid, predictions))
        second = positives(member().assign(swapped, grid, turned))
        assert {(1 - i, s, t) for i, s, t in second} == first


def _within_four(targets: Targets, grid: Lattice) -> bool:
    sides = targets.boxes_xyxy[:, None, 2:] - targets.boxes_xyxy[:, None, :2]
    ratio = sides / grid.all_anchors_px
    return bool((torch.maximum(ratio, 1 / ratio).amax(-1) < 3.99).any())


def _parts(predictions: Predictions) -> tuple[Any, ...]:
    return predictions.boxes_xyxy, predictions.objectness_logits, predictions.class_logits


def slots_of(grid: Lattice) -> list[tuple[int, int, float, float, float, int]]:
    """Column, row, stride, anchor width, height and id of every slot."""
    rows = zip(
        grid.cells_xy.tolist(), grid.strides.tolist(), grid.anchors_px.tolist(), grid.anchor_ids.tolist(), strict=True
    )
    return [(int(c[0]), int(c[1]), s, a[0], a[1], k) for c, s, a, k in rows]


def centre(box: list[float]) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def holds(slot: tuple[int, int, float, float, float, int], box: list[float]) -> bool:
    x, y = centre(box)
    return (slot[0], slot[1]) == (int(x / slot[2]), int(y / slot[2]))


def shape_overlap(w: float, h: float, aw: float, ah: float) -> float:
    inner = min(w, aw) * min(h, ah)
    return inner / (w * h + aw * ah - inner)


@pytest.mark.parametrize("seed", range(8))
def test_best_anchor_is_darknets_rule(seed: int) -> None:
    targets, grid, predictions = scene(seed, COUNTS[seed % 2])
    anchors, iou_thresh = grid.all_anchors_px.tolist(), 1.0 if seed < 4 else 0.4
    owner: dict[tuple[int, int], int] = {}
    for truth, (box, image) in enumerate(zip(targets.boxes_xyxy.tolist(), targets.images.tolist(), strict=True)):
        w, h = box[2] - box[0], box[3] - box[1]
        best = max(range(6), key=lambda k: shape_overlap(w, h, *anchors[k]))
        for index, slot in enumerate(slots_of(grid)):
            suits = slot[5] == best or shape_overlap(w, h, *anchors[slot[5]]) > iou_thresh
            if suits and holds(slot, box):
                owner[image, index] = truth
    found = BestAnchor(iou_thresh=iou_thresh, ignore_threshold=0.6).assign(targets, grid, predictions)
    assert positives(found) == {(i, s, t) for (i, s), t in owner.items()}
    for image in range(3):
        boxes = targets.boxes_xyxy[targets.images == image]
        for slot in range(grid.slots):
            near = any(float(iou(predictions.boxes_xyxy[image, slot], box)) > 0.6 for box in boxes)
            sure = float(predictions.class_logits[image, slot].sigmoid().max()) > 0.25
            expected = near and sure and (image, slot) not in owner
            assert bool(found.ignored[image, slot]) == expected


def test_only_a_slot_sure_of_some_class_is_ignored() -> None:
    grid = lattice()
    n = grid.slots
    box = torch.tensor([[40.0, 40.0, 72.0, 72.0]])
    said = box.expand(1, n, 4)
    targets = Targets(box, torch.tensor([0]), torch.tensor([0]), 1)
    for probability, some in ((0.26, True), (0.24, False)):
        # The class that is sure need not be the object's: Darknet does not compare it.
        logits = torch.full((1, n, 2), -9.0)
        logits[..., 1] = math.log(probability / (1 - probability))
        found = BestAnchor(ignore_threshold=0.5).assign(targets, grid, Predictions(said, torch.zeros(1, n), logits))
        assert int(found.ignored.sum()) == (n - found.positives if some else 0)


def test_the_official_mask_loses_what_fits_the_smallest_anchor() -> None:
    box = torch.tensor([[40.0, 40.0, 43.0, 44.2]])
    targets = Targets(box, torch.tensor([0]), torch.tensor([0]), 1)
    blank = Predictions(torch.zeros(1, 72, 4), torch.zeros(1, 72), torch.zeros(1, 72, 1))
    for mask, count in (("1,2,3", 0), ("0,1,2", 1)):
        grid = lattice(mask)
        n = grid.slots
        blank = Predictions(torch.zeros(1, n, 4), torch.zeros(1, n), torch.zeros(1, n, 1))
        assert BestAnchor().assign(targets, grid, blank).positives == count


@pytest.mark.parametrize("seed", range(8))
def test_ratio_match_is_yolov5s_rule(seed: int) -> None:
    targets, grid, predictions = scene(seed, COUNTS[seed % 2])
    limit = 4.0 if seed < 4 else 2.5
    expected: set[Positive] = set()
    for truth, (box, image) in enumerate(zip(targets.boxes_xyxy.tolist(), targets.images.tolist(), strict=True)):
        w, h = box[2] - box[0], box[3] - box[1]
        for index, (column, row, stride, aw, ah, _) in enumerate(slots_of(grid)):
            if max(w / aw, aw / w, h / ah, ah / h) >= limit:
                continue
            x, y = centre(box)[0] / stride, centre(box)[1] / stride
            cells = {(int(x), int(y))}
            cells.add((int(x) - 1, int(y)) if x - int(x) < 0.5 else (int(x) + 1, int(y)))
            cells.add((int(x), int(y) - 1) if y - int(y) < 0.5 else (int(x), int(y) + 1))
            if (column, row) in cells:
                expected.add((image, index, truth))
    assert positives(RatioMatch(anchor_t=limit).assign(targets, grid, predictions)) == expected


@pytest.mark.parametrize("seed", range(8))
def test_sim_ota_takes_the_cheapest_of_its_candidates(seed: int) -> None:
    targets, grid, predictions = scene(seed, COUNTS[seed % 2])
    price, top = (3.0, 10) if seed < 4 else (1.5, 5)
    candidates = positives(RatioMatch().assign(targets, grid, predictions))
    wanted: dict[tuple[int, int], list[tuple[float, int]]] = {}
    for truth, (box, image) in enumerate(zip(targets.boxes_xyxy.tolist(), targets.images.tolist(), strict=True)):
        mine = sorted(s for i, s, t in candidates if (i, t) == (image, truth))
        mine = mine or [k for k, slot in enumerate(slots_of(grid)) if holds(slot, box)]
        priced: list[tuple[float, int]] = []
        overlaps: list[float] = []
        for slot in mine:
            overlap = float(iou(predictions.boxes_xyxy[image, slot], targets.boxes_xyxy[truth]))
            joint = (
                predictions.class_logits[image, slot].sigmoid() * predictions.objectness_logits[image, slot].sigmoid()
            )
            score = joint.sqrt().clamp(1e-6, 1 - 1e-6)
            bce = (
                -(1 - score).log().sum()
                + (1 - score[targets.classes[truth]]).log()
                - score[targets.classes[truth]].log()
            )
            priced.append((float(bce) - price * math.log(overlap + 1e-8), slot))
            overlaps.append(overlap)
        k = max(1, int(sum(sorted(overlaps, reverse=True)[:top])))
        for cost, slot in sorted(priced)[:k]:
            wanted.setdefault((image, slot), []).append((cost, truth))
    expected = {(image, slot, min(wishes)[1]) for (image, slot), wishes in wanted.items()}
    assert positives(SimOta(iou_cost=price, top=top).assign(targets, grid, predictions)) == expected


@pytest.mark.parametrize("seed", range(8))
def test_task_aligned_takes_the_best_aligned(seed: int) -> None:
    targets, grid, predictions = scene(seed, COUNTS[seed % 2])
    alpha, beta, top_slots = (0.5, 6.0, 10) if seed < 4 else (0.9, 2.5, 5)
    wanted: dict[tuple[int, int], list[tuple[float, int]]] = {}
    aligned: dict[Positive, float] = {}
    overlaps: dict[Positive, float] = {}
    for truth, (box, image) in enumerate(zip(targets.boxes_xyxy.tolist(), targets.images.tolist(), strict=True)):
        ranked: list[tuple[float, int]] = []
        for index, slot in enumerate(slots_of(grid)):
            x, y = (slot[0] + 0.5) * slot[2], (slot[1] + 0.5) * slot[2]
            if not ((box[0] < x < box[2] and box[1] < y < box[3]) or holds(slot, box)):
                continue
            overlap = float(iou(predictions.boxes_xyxy[image, index], targets.boxes_xyxy[truth]))
            score = float(predictions.objectness_logits[image, index].sigmoid())
            score *= float(predictions.class_logits[image, index, targets.classes[truth]].sigmoid())
            value = score**alpha * (overlap + 1e-3) ** beta
            aligned[image, index, truth], overlaps[image, index, truth] = value, overlap
            ranked.append((-value, index))
        for _, index in sorted(ranked)[:top_slots]:
            wanted.setdefault((image, index), []).append((overlaps[image, index, truth], truth))
    expected = {(i, s, max(wishes, key=lambda wish: wish[0])[1]) for (i, s), wishes in wanted.items()}
    found = TaskAligned(alpha=alpha, beta=beta, top=top_slots).assign(targets, grid, predictions)
    assert positives(found) == expected
    for truth in range(len(targets.classes)):
        mine = [p for p in expected if p[2] == truth]
        if not mine:
            continue
        rows = (found.truths == truth).nonzero()[:, 0]
        best = max(aligned[p] for p in mine)
        top = max(overlaps[p] for p in mine)
        for row in rows.tolist():
            key = (int(found.images[row]), int(found.slots[row]), truth)
            assert float(found.quality[row]) == pytest.approx(aligned[key] / best * top, abs=1e-4)


@pytest.mark.parametrize("seed", range(8))
def test_atss_takes_what_stands_out_around_the_object(seed: int) -> None:
    targets, grid, predictions = scene(seed, COUNTS[seed % 2])
    top, deviations = (9, 1.0) if seed < 4 else (5, 0.3)
    slots = slots_of(grid)
    wanted: dict[tuple[int, int], list[tuple[float, int]]] = {}
    for truth, (box, image) in enumerate(zip(targets.boxes_xyxy.tolist(), targets.images.tolist(), strict=True)):
        overlaps: dict[int, float] = {}
        x, y = centre(box)
        for stride in {s[2] for s in slots}:
            cells = {(s[0], s[1]) for s in slots if s[2] == stride}
            ordered = sorted(cells, key=lambda c: math.dist(((c[0] + 0.5) * stride, (c[1] + 0.5) * stride), (x, y)))
            near = set(ordered[:top])
            for index, slot in enumerate(slots):
                if slot[2] == stride and (slot[0], slot[1]) in near:
                    overlaps[index] = anchor_overlap(slot, box)
        values = np.array(list(overlaps.values()))
        threshold = values.mean() + deviations * values.std(ddof=1)
        mine = [
            k
            for k, overlap in overlaps.items()
            if overlap >= threshold
            and box[0] < (slots[k][0] + 0.5) * slots[k][2] < box[2]
            and box[1] < (slots[k][1] + 0.5) * slots[k][2] < box[3]
        ]
        if not mine:
            mine = [max((k for k, s in enumerate(slots) if holds(s, box)), key=lambda k: anchor_overlap(slots[k], box))]
        for k in mine:
            wanted.setdefault((image, k), []).append((-anchor_overlap(slots[k], box), truth))
    expected = {(i, s, min(wishes)[1]) for (i, s), wishes in wanted.items()}
    assert positives(Atss(top=top, deviations=deviations).assign(targets, grid, predictions)) == expected


def anchor_overlap(slot: tuple[int, int, float, float, float, int], box: list[float]) -> float:
    x, y, w, h = (slot[0] + 0.5) * slot[2], (slot[1] + 0.5) * slot[2], slot[3], slot[4]
    return float(iou(torch.tensor(box), torch.tensor([x - w / 2, y - h / 2, x + w / 2, y + h / 2])))


def test_an_object_smaller_than_a_cell_is_not_lost() -> None:
    box = torch.tensor([[33.0, 33.0, 36.0, 36.0]])
    grid = lattice()
    targets = Targets(box, torch.tensor([0]), torch.tensor([0]), 1)
    n = grid.slots
    boxes = Projection().coding.decode(torch.zeros(n, 4), grid.cells_xy, grid.strides, grid.anchors_px)[None]
    blank = Predictions(boxes, torch.zeros(1, n), torch.zeros(1, n, 1))
    for member in (TaskAligned(), Atss()):
        found = member.assign(targets, grid, blank)
        assert found.positives > 0
        assert {tuple(cell) for cell in grid.cells_xy[found.slots].tolist()} <= {(1.0, 1.0), (2.0, 2.0)}
