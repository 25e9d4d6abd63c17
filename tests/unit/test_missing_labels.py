"""Unlabelled objects: exactly they are excused or taught, and no label loses anything by it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehone.projection import Assigner, Excuse, Knowledge, Projection, PseudoLabel, Punish, mend
from edgehone.projection.ignored import objects_only
from edgehone.projection.missing import unlabelled
from edgehone.space import replace, union_types
from edgehone.types import IGNORED, Answers, Assignment, Lattice, Predictions, Targets

SIZE, STRIDES, CLASSES, IMAGES = (64, 96), (32, 16), 3, 2
KINDS = [str(member.model_fields["kind"].default) for member in union_types(Assigner)]


def overlap(a: list[float], b: list[float]) -> tuple[float, float]:
    """Intersection over union, and over the first; in the plainest way."""
    wide = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    high = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [max(0.0, x[2] - x[0]) * max(0.0, x[3] - x[1]) for x in (a, b)]
    return wide * high / max(sum(areas) - wide * high, 1e-9), wide * high / max(areas[0], 1e-6)


def batch(seed: int, count: int, regions: int = 0) -> Targets:
    rng = np.random.default_rng(seed)
    sides = np.exp(rng.uniform(np.log(6), np.log(50), (count, 2)))
    corner = rng.uniform(0, 1, (count, 2)) * (np.array(SIZE[::-1]) - sides)
    boxes = torch.from_numpy(np.concatenate([corner, corner + sides], 1)).float()
    classes = torch.from_numpy(rng.integers(0, CLASSES, count))
    classes[:regions] = IGNORED
    return Targets(boxes, classes, torch.from_numpy(rng.integers(0, IMAGES, count)), IMAGES)


def answers(seed: int, count: int, near: Targets) -> Answers:
    """Some of them near labels, as a teacher's are."""
    rng = np.random.default_rng(seed)
    said = batch(seed, count)
    shift = torch.from_numpy(rng.normal(0, 4, (count, 4))).float()
    rows = torch.from_numpy(rng.integers(0, len(near.classes), count))
    copied = torch.from_numpy(rng.random(count) < 0.5)
    boxes = torch.where(copied[:, None], near.boxes_xyxy[rows] + shift, said.boxes_xyxy)
    images = torch.where(copied, near.images[rows], said.images)
    return Answers(Targets(boxes, said.classes, images, IMAGES), torch.from_numpy(rng.random(count)).float())


def scene(seed: int, assigner: str) -> tuple[Projection, Lattice, Predictions, Targets, Answers]:
    parts = replace(Projection(), {"assigner.kind": assigner})
    grid = parts.lattice(parts.anchors.anchors_px(np.full((4, 2), 30.0), SIZE, STRIDES), STRIDES, SIZE)
    generator = torch.Generator().manual_seed(seed)
    heads = [torch.randn(IMAGES, a * (5 + CLASSES), h, w, generator=generator) for a, h, w in grid.shapes]
    targets = batch(seed, 6, regions=seed % 2)
    return parts, grid, parts.predictions(heads, grid), targets, answers(seed + 1, 8, targets)


def mended(kind: Any, seed: int, assigner: str) -> tuple[Any, ...]:
    parts, grid, said, targets, found = scene(seed, assigner)
    assign = partial(parts.assigner.assign, lattice=grid, predictions=said)
    before = assign(objects_only(targets))
    done = mend(kind, found, targets, before, grid, said, assign)
    assert done.unlabelled == len(unlabelled(found.at_least(kind.threshold), targets).scores)
    return (grid, said, targets, found, assign, before, done.objects, done.assignment)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.integers(0, 3))
def test_unlabelled_is_what_overlaps_no_label_and_lies_in_no_region(seed: int, regions: int) -> None:
    targets = batch(seed, 7, regions)
    found = answers(seed + 1, 12, targets)
    expected: list[int] = []
    for row, (box, image) in enumerate(zip(found.targets.boxes_xyxy.tolist(), found.targets.images, strict=True)):
        known = False
        for label, owner, kind in zip(targets.boxes_xyxy.tolist(), targets.images, targets.classes, strict=True):
            over, inside = overlap(box, label)
            known |= bool(owner == image) and (inside >= 0.5 if kind == IGNORED else over >= 0.5)
        if not known:
            expected.append(row)
    kept = unlabelled(found, targets)
    assert torch.equal(kept.scores, found.scores[expected])
    assert torch.equal(kept.targets.boxes_xyxy, found.targets.boxes_xyxy[expected])


@pytest.mark.parametrize("assigner", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_exactly_the_slots_of_unlabelled_objects_are_excused(assigner: str, seed: int) -> None:
    grid, said, targets, found, assign, before, objects, after = mended(Excuse(threshold=0.4), seed, assigner)
    seen = unlabelled(found.where(found.scores >= 0.4), targets)
    own: Assignment = assign(seen.targets)
    positive = set(zip(before.images.tolist(), before.slots.tolist(), strict=True))
    would = set(zip(own.images.tolist(), own.slots.tolist(), strict=True))
    excused = 0
    for image in range(IMAGES):
        here = [b for b, i in zip(seen.targets.boxes_xyxy.tolist(), seen.targets.images, strict=True) if i == image]
        for slot in range(grid.slots):
            x, y = ((grid.cells_xy[slot] + 0.5) * grid.strides[slot]).tolist()
            box = said.boxes_xyxy[image, slot].tolist()
            speaks = any((b[0] <= x <= b[2] and b[1] <= y <= b[3]) or overlap(box, b)[1] >= 0.5 for b in here)
            speaks = (speaks or (image, slot) in would) and (image, slot) not in positive
            assert bool(after.ignored[image, slot]) == (speaks or bool(before.ignored[image, slot]))
            excused += speaks
    assert excused or not len(seen.scores)
    assert torch.equal(objects.boxes_xyxy, objects_only(targets).boxes_xyxy)
    for name in ("images", "slots", "truths", "quality"):
        assert torch.equal(getattr(after, name), getattr(before, name))


@pytest.mark.parametrize("assigner", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_pseudo_labels_never_replace_truth(assigner: str, seed: int) -> None:
    _, _, targets, found, assign, before, objects, after = mended(PseudoLabel(threshold=0.3), seed, assigner)
    truth, count = objects_only(targets), before.positives
    seen = unlabelled(found.where(found.scores >= 0.3), targets)
    for name in ("images", "slots", "truths", "quality"):
        assert torch.equal(getattr(after, name)[:count], getattr(before, name)), name
    assert torch.equal(objects.boxes_xyxy, torch.cat([truth.boxes_xyxy, seen.targets.boxes_xyxy]))
    labelled = set(zip(before.images.tolist(), before.slots.tolist(), strict=True))
    added = list(zip(after.images[count:].tolist(), after.slots[count:].tolist(), strict=True))
    assert not labelled & set(added)
    own: Assignment = assign(seen.targets)
    alone = set(zip(own.images.tolist(), own.slots.tolist(), strict=True))
    assert set(added) == alone - labelled
    rows = after.truths[count:] - len(truth.classes)
    assert torch.equal(objects.images[after.truths], after.images)
    assert bool((after.quality[count:] <= seen.scores[rows]).all())
    assert not after.ignored[after.images, after.slots].any()
    assert not (before.ignored & ~after.ignored)[tuple(zip(*(labelled or {(0, 0)}), strict=True))].any()


def test_what_is_excused_has_no_gradient_and_what_is_taught_pulls_up() -> None:
    targets = Targets(torch.tensor([[4.0, 4, 30, 30]]), torch.tensor([0]), torch.tensor([0]), 1)
    seen = Targets(torch.tensor([[52.0, 36, 76, 60]]), torch.tensor([1]), torch.tensor([0]), 1)
    known = Answers(seen, torch.tensor([0.9]))
    slopes: dict[str, torch.Tensor] = {}
    for kind in ("punish", "excuse", "pseudo_label"):
        parts = replace(Projection(), {"missing.kind": kind, "objectness.target": "one"})
        grid = parts.lattice(parts.anchors.anchors_px(np.full((4, 2), 30.0), SIZE, STRIDES), STRIDES, SIZE)
        heads = [torch.zeros(1, a * (5 + CLASSES), h, w).requires_grad_() for a, h, w in grid.shapes]
        terms = parts.loss(heads, targets, grid, knowledge=Knowledge(answers=known))
        fine = torch.autograd.grad(terms.total, heads)[1].view(1, -1, 5 + CLASSES, 4, 6)
        slopes[kind] = fine[0, :, 4, 2:4, 3:5]  # objectness in the cells of the unlabelled object
    assert (slopes["punish"] > 0).all()
    assert (slopes["excuse"] == 0).all()
    assert (slopes["pseudo_label"] < 0).any()


def test_punishing_leaves_everything_as_it_is() -> None:
    parts, grid, said, targets, found = scene(0, "ratio_match")
    before = parts.assigner.assign(objects_only(targets), grid, said)
    assign = partial(parts.assigner.assign, lattice=grid, predictions=said)
    done = mend(Punish(), found, targets, before, grid, said, assign)
    assert done.assignment is before
    assert torch.equal(done.objects.classes, objects_only(targets).classes)
    assert done.unlabelled == 0
