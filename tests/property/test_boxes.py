"""Box functions against their definitions and a plain, slow reference."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgehone.boxes import (
    area,
    cxcywh_to_xyxy,
    intersection,
    iou,
    iou_matrix,
    nms,
    shape_iou_matrix,
    xyxy_to_cxcywh,
)

SEEDS = st.integers(0, 2**31 - 1)
COUNTS = st.integers(0, 25)
NUMBERS = st.floats(-1e3, 1e3, width=32)
ANY_BOX = st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS)


def boxes_of(seed: int, count: int, side: float = 60.0) -> Tensor:
    torch_rng = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 2, generator=torch_rng) * 100
    return torch.cat([low, low + torch.rand(count, 2, generator=torch_rng) * side], dim=1)


def plain_iou(a: list[float], b: list[float]) -> float:
    wide = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    high = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return wide * high / (both - wide * high + 1e-7)


def plain_nms(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    left = sorted(range(len(boxes)), key=lambda i: -float(scores[i]))
    kept: list[int] = []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [i for i in left if plain_iou(boxes[best].tolist(), boxes[i].tolist()) <= threshold]
    return kept


@given(SEEDS, COUNTS)
@settings(deadline=None)
def test_formats_round_trip(seed, count):
    boxes = boxes_of(seed, count)
    assert torch.allclose(cxcywh_to_xyxy(xyxy_to_cxcywh(boxes)), boxes, atol=1e-4)
    assert torch.allclose(xyxy_to_cxcywh(cxcywh_to_xyxy(boxes)), boxes, atol=1e-4)


def test_formats_say_what_they_say():
    assert xyxy_to_cxcywh(torch.tensor([2.0, 3.0, 6.0, 11.0])).tolist() == [
        4.0,
        7.0,
        4.0,
        8.0,
    ]
    assert cxcywh_to_xyxy(torch.tensor([[4.0, 7.0, 4.0, 8.0]])).tolist() == [[2.0, 3.0, 6.0, 11.0]]


@given(SEEDS, COUNTS, COUNTS)
@settings(deadline=None)
def test_iou_is_symmetric_bounded_and_right(seed, n, m):
    a, b = boxes_of(seed, n), boxes_of(seed + 1, m)
    overlaps = iou_matrix(a, b)
    assert overlaps.shape == (n, m)
    assert torch.equal(overlaps, iou_matrix(b, a).T)
    assert bool(((overlaps >= 0) & (overlaps <= 1)).all())
    expected = [[plain_iou(x, y) for y in b.tolist()] for x in a.tolist()]
    assert torch.allclose(overlaps, torch.tensor(expected).reshape(n, m), atol=1e-4)


@given(SEEDS, st.integers(1, 25))
@settings(deadline=None)
def test_iou_with_itself_is_one_and_apart_is_zero(seed, count):
    boxes = boxes_of(seed, count) + torch.tensor([0.0, 0.0, 1.0, 1.0])
    assert torch.allclose(iou(boxes, boxes), torch.ones(count), atol=1e-5)
    assert torch.equal(iou(boxes, boxes + 1000), torch.zeros(count))
    assert torch.equal(intersection(boxes, boxes), area(boxes))


@given(ANY_BOX, ANY_BOX)
def test_degenerate_boxes_stay_finite_and_bounded(a, b):
    x, y = torch.tensor([a]), torch.tensor([b])
    for overlap in (iou(x, y), iou_matrix(x, y), iou(x, x)):
        assert bool(torch.isfinite(overlap).all())
        assert bool((overlap >= 0).all())
        assert bool((overlap <= 1 + 1e-6).all())
    assert bool((area(x) >= 0).all())
    if a[2] <= a[0] or a[3] <= a[1]:
        assert float(area(x)) == 0
        assert float(intersection(x, x)) == 0


def test_degenerate_boxes_have_a_finite_gradient():
    point = torch.tensor([[5.0, 5.0, 5.0, 5.0], [7.0, 7.0, 3.0, 3.0]], requires_grad=True)
    iou(point, torch.tensor([[0.0, 0.0, 10.0, 10.0]])).sum().backward()
    assert point.grad is not None
    assert bool(torch.isfinite(point.grad).all())


@given(SEEDS, COUNTS, COUNTS)
@settings(deadline=None)
def test_shape_iou_is_that_of_boxes_on_one_centre(seed, n, m):
    a, b = (boxes_of(seed + k, count)[:, 2:] for k, count in enumerate((n, m)))
    laid = [cxcywh_to_xyxy(torch.cat([torch.zeros_like(wh), wh], dim=1)) for wh in (a, b)]
    assert torch.allclose(shape_iou_matrix(a, b), iou_matrix(*laid), atol=1e-4)


@given(SEEDS, COUNTS, st.sampled_from([0.0, 0.3, 0.5, 0.65, 0.95]))
@settings(deadline=None)
def test_nms_does_what_the_plain_reference_does(seed, count, threshold):
    boxes = boxes_of(seed, count).double()
    scores = torch.rand(count, generator=torch.Generator().manual_seed(seed + 7))
    kept = nms(boxes, scores, threshold)
    assert kept.dtype == torch.int64
    assert kept.tolist() == plain_nms(boxes, scores, threshold)


@given(SEEDS, st.integers(0, 60), st.sampled_from([0.0, 0.3, 0.65]))
@settings(deadline=None)
def test_nms_of_many_boxes_is_done_in_blocks_that_change_nothing(seed, count, threshold):
    boxes = boxes_of(seed, count).double()
    scores = torch.rand(count, generator=torch.Generator().manual_seed(seed + 7))
    with patch("edgehone.boxes.NMS_BLOCK", 7):
        assert nms(boxes, scores, threshold).tolist() == plain_nms(boxes, scores, threshold)


def test_nms_breaks_ties_by_order():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [50, 50, 60, 60]])
    assert nms(boxes, torch.tensor([0.5, 0.5, 0.5]), 0.5).tolist() == [0, 2]


@given(SEEDS, COUNTS, st.integers(1, 80), st.sampled_from([0.3, 0.65]))
@settings(deadline=None)
def test_nms_by_class_never_mixes_classes(seed, count, class_count, threshold):
    torch_rng = torch.Generator().manual_seed(seed + 3)
    boxes = boxes_of(seed, count) - 50  # also left of and above the origin
    scores = torch.rand(count, generator=torch_rng)
    classes = torch.randint(class_count, (count,), generator=torch_rng)
    kept = nms(boxes.double(), scores, threshold, classes).tolist()
    expected: list[int] = []
    for label in range(class_count):
        rows = (classes == label).nonzero()[:, 0]
        expected += [int(rows[i]) for i in plain_nms(boxes[rows].double(), scores[rows], threshold)]
    assert sorted(kept) == sorted(expected)
    assert kept == sorted(kept, key=lambda i: -float(scores[i]))


@pytest.mark.parametrize("by_class", [False, True])
def test_nothing_gives_nothing(by_class: bool):
    boxes, scores, classes = (
        torch.zeros(0, 4),
        torch.zeros(0),
        torch.zeros(0, dtype=torch.int64),
    )
    kept = nms(boxes, scores, 0.5, classes if by_class else None)
    assert kept.shape == (0,)
    assert kept.dtype == torch.int64


def test_one_huge_box_does_not_blur_the_classes():
    boxes = torch.tensor([[-2e6, 0.0, 2e6, 1.0], [0, 0, 10, 10], [0, 0, 10, 10.5], [0, 0, 10, 10]])
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6])
    classes = torch.tensor([79, 78, 78, 77])
    assert nms(boxes, scores, 0.5, classes).tolist() == [0, 1, 3]
