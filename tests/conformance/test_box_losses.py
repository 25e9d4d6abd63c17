"""What every box loss must do, whichever members the union has."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehone.boxes import iou
from edgehone.projection import AlphaIou, BoxLoss, Ciou, Diou, Eiou, Giou, Iou, Mse, Siou, Wasserstein
from edgehone.space import union_types

MEMBERS = union_types(BoxLoss)
TRUTH = torch.tensor([[10.0, 20.0, 50.0, 60.0]])
PAIRS = {
    "overlapping": ([12.0, 18.0, 47.0, 66.0], [10.0, 20.0, 50.0, 60.0]),
    "inside": ([18.0, 27.0, 31.0, 44.0], [10.0, 20.0, 50.0, 60.0]),
    "around": ([3.0, 9.0, 55.0, 81.0], [10.0, 20.0, 50.0, 60.0]),
    "apart": ([70.0, 80.0, 83.0, 120.0], [10.0, 20.0, 50.0, 60.0]),
    "tiny": ([12.0, 23.0, 14.0, 24.0], [10.0, 20.0, 13.0, 24.5]),
}
"""Predicted and true box, away from the corners where a minimum changes sides."""

boxes = st.tuples(*[st.floats(-1e5, 1e5, width=32)] * 2, *[st.floats(0, 1e5, width=32)] * 2).map(
    lambda v: [v[0], v[1], v[0] + v[2], v[1] + v[3]]
)
AWKWARD = [
    [10.0, 20.0, 10.0, 20.0],
    [50.0, 60.0, 10.0, 20.0],
    [1e5, 1e5, 2e5, 3e5],
    [-1e5, 0.0, -9e4, 1.0],
    [10.0, 20.0, 50.0, 60.0],
    [30.0, 40.0, 30.001, 40.001],
]


@pytest.mark.parametrize("member", MEMBERS)
class TestBoxLoss:
    def test_equal_boxes_cost_nothing(self, member: type) -> None:
        assert member().loss(TRUTH, TRUTH).item() == pytest.approx(0.0, abs=1e-4)

    def test_a_worse_box_costs_more(self, member: type) -> None:
        shifts = torch.tensor([0.0, 2.0, 8.0, 20.0, 60.0])
        losses = member().loss(TRUTH + shifts[:, None], TRUTH.expand(5, 4))
        assert (losses[1:] > losses[:-1]).all()

    @pytest.mark.parametrize("predicted", AWKWARD)
    def test_finite_for_any_box(self, member: type, predicted: list[float]) -> None:
        box = torch.tensor([predicted], requires_grad=True)
        loss = member().loss(box, TRUTH)
        loss.sum().backward()
        assert torch.isfinite(loss).all()
        assert (loss >= -1e-4).all()
        assert box.grad is not None
        assert torch.isfinite(box.grad).all()

    def test_finite_for_a_degenerate_truth(self, member: type) -> None:
        box = TRUTH.clone().requires_grad_()
        loss = member().loss(box, torch.tensor([[30.0, 30.0, 30.0, 30.0]]))
        loss.sum().backward()
        assert torch.isfinite(loss).all()
        assert torch.isfinite(box.grad).all()  # pyright: ignore[reportArgumentType]

    @settings(deadline=None, max_examples=60, derandomize=True)
    @given(boxes, boxes)
    def test_finite_for_boxes_anywhere(self, member: type, predicted: list[float], truth: list[float]) -> None:
        box = torch.tensor([predicted], requires_grad=True)
        loss = member().loss(box, torch.tensor([truth]))
        loss.sum().backward()
        assert torch.isfinite(loss).all()
        assert (loss >= -1e-4).all()
        assert box.grad is not None
        assert torch.isfinite(box.grad).all()

    @pytest.mark.parametrize("case", PAIRS)
    def test_the_gradient_is_that_of_the_loss(self, member: type, case: str) -> None:
        predicted, truth = (torch.tensor([b], dtype=torch.float64) for b in PAIRS[case])
        loss = held_ciou(predicted, truth) if member is Ciou else member().loss
        box = predicted.clone().requires_grad_()
        assert torch.autograd.gradcheck(lambda b: loss(b, truth), (box,), eps=1e-5, atol=1e-5, rtol=1e-4)
        (published,) = torch.autograd.grad(member().loss(box, truth).sum(), box)
        (same,) = torch.autograd.grad(loss(box, truth).sum(), box)
        assert torch.allclose(published, same, atol=1e-8), "CIoU's aspect weight is held, nothing else"

    def test_a_step_down_its_gradient_makes_an_overlapping_box_better(self, member: type) -> None:
        truth = TRUTH.double()
        box = torch.tensor([PAIRS["overlapping"][0]], dtype=torch.float64, requires_grad=True)
        before = member().loss(box, truth)
        (slope,) = torch.autograd.grad(before.sum(), box)
        after = member().loss(box - 0.05 * slope / slope.norm(), truth)
        assert after.item() < before.item()

    def test_an_empty_set_is_fine(self, member: type) -> None:
        assert member().loss(torch.zeros(0, 4), torch.zeros(0, 4)).shape == (0,)


def held_ciou(at: torch.Tensor, truth: torch.Tensor) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """CIoU with its aspect weight held at what it is for the boxes ``at``: the published gradient's own loss."""

    def aspect(box: torch.Tensor) -> torch.Tensor:
        angles = [torch.atan((b[:, 2] - b[:, 0]) / (b[:, 3] - b[:, 1])) for b in (box, truth)]
        return 4 / math.pi**2 * (angles[1] - angles[0]).square()

    weight = aspect(at) / (1 - iou(at, truth) + aspect(at) + 1e-7)
    return lambda box, truth: Diou().loss(box, truth) + weight * aspect(box)


def test_known_values() -> None:
    inner, outer = torch.tensor([[0.0, 0.0, 5.0, 10.0]]), torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    apart = torch.tensor([[20.0, 0.0, 30.0, 10.0]])
    assert Giou().loss(inner, outer).item() == pytest.approx(0.5, abs=1e-4), "nested: the hull is the outer box"
    assert Giou().loss(outer, apart).item() == pytest.approx(1 + 10 / 30, abs=1e-4)
    assert Diou().loss(outer, apart).item() == pytest.approx(1 + 400 / 1000, abs=1e-4)
    # nested: centres 2.5 apart on a diagonal of sqrt(200)
    assert Diou().loss(inner, outer).item() == pytest.approx(0.5 + 6.25 / 200, abs=1e-4)
    aspect = 4 / math.pi**2 * (math.atan(1.0) - math.atan(0.5)) ** 2
    expected = 0.5 + 6.25 / 200 + aspect * aspect / (0.5 + aspect)
    assert Ciou().loss(inner, outer).item() == pytest.approx(expected, abs=1e-4)


def test_known_values_of_the_others() -> None:
    inner, outer = torch.tensor([[0.0, 0.0, 5.0, 10.0]]), torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    apart = torch.tensor([[20.0, 0.0, 30.0, 10.0]])
    nested, disjoint = {}, {}
    for loss in (Iou(), AlphaIou(alpha=3), Eiou(), Mse(), Wasserstein(constant_px=10)):
        nested[loss.kind] = loss.loss(inner, outer).item()
        disjoint[loss.kind] = loss.loss(outer, apart).item()
    assert nested == pytest.approx(
        {
            "iou": 0.5,
            "alpha_iou": 1 - 0.5**3,
            "eiou": 0.5 + 6.25 / 200 + 25 / 100,  # the enclosing box is the outer one
            "mse": (0.25**2 + math.log(0.5) ** 2) / 2,
            "wasserstein": 1 - math.exp(-math.hypot(2.5, 2.5) / 10),
        },
        abs=1e-4,
    )
    assert disjoint == pytest.approx(
        {
            "iou": 1.0,
            "alpha_iou": 1.0,
            "eiou": 1 + 400 / 1000,
            "mse": 2.0,
            "wasserstein": 1 - math.exp(-2),
        },
        abs=1e-4,
    )


def test_the_wasserstein_distance_tells_tiny_misses_apart() -> None:
    truth = torch.tensor([[10.0, 10.0, 13.0, 13.0]])
    near, far = truth + 4, truth + 12
    assert Iou().loss(near, truth).item() == Iou().loss(far, truth).item()
    assert Wasserstein().loss(near, truth).item() < Wasserstein().loss(far, truth).item() - 0.1


def test_alpha_one_is_the_iou_loss() -> None:
    predicted = torch.tensor([PAIRS["overlapping"][0]])
    assert torch.equal(AlphaIou(alpha=1).loss(predicted, TRUTH), Iou().loss(predicted, TRUTH))


@pytest.mark.parametrize("apart", [(3.0, 0.0), (3.0, 3.0), (4.0, 1.0), (1.0, 4.0)])
def test_siou_by_hand(apart: tuple[float, float]) -> None:
    truth = torch.tensor([[0.0, 0.0, 10.0, 20.0]], dtype=torch.float64)
    dx, dy = apart
    box = torch.tensor([[1 + dx, dy - 2, 9 + dx, 22 + dy]], dtype=torch.float64)  # sides 8 and 24
    inner = max(0.0, min(10, 9 + dx) - (1 + dx)) * (20 - max(0.0, dy - 2))
    overlap = inner / (200 + 192 - inner)
    hull = max(10.0, 9 + dx), 22 + dy - min(0.0, dy - 2)
    angle = math.sin(2 * math.atan2(min(dx, dy), max(dx, dy)))
    distance = sum(1 - math.exp(-(2 - angle) * (d / side) ** 2) for d, side in zip(apart, hull, strict=True))
    shape = (1 - math.exp(-2 / 10)) ** 4 + (1 - math.exp(-4 / 24)) ** 4
    assert Siou().loss(box, truth).item() == pytest.approx(1 - overlap + (distance + shape) / 2, abs=1e-5)


def test_every_member_has_a_weight_to_search() -> None:
    assert len(MEMBERS) >= 4
    for member in MEMBERS:
        assert member().weight > 0  # pyright: ignore[reportAttributeAccessIssue]
