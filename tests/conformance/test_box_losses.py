"""What every box loss must do, whichever members the union has."""

from __future__ import annotations

import math

import pytest
import torch

from edgehone.projection import BoxLoss, Ciou, Diou, Giou, Siou
from edgehone.space import union_types

MEMBERS = union_types(BoxLoss)
TRUTH = torch.tensor([[10.0, 20.0, 50.0, 60.0]])
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

    def test_the_gradient_is_that_of_the_loss(self, member: type) -> None:
        box = torch.tensor([[12.0, 18.0, 47.0, 66.0]], dtype=torch.float64, requires_grad=True)
        loss = held_ciou if member is Ciou else member().loss
        if member is Ciou:  # the published gradient holds the aspect weight constant
            (published,) = torch.autograd.grad(Ciou().loss(box, TRUTH.double()).sum(), box)
            (held,) = torch.autograd.grad(held_ciou(box, TRUTH.double()).sum(), box)
            assert torch.allclose(published, held, atol=1e-8)
        assert torch.autograd.gradcheck(lambda b: loss(b, TRUTH.double()), (box,), eps=1e-4, atol=1e-4)

    def test_an_empty_set_is_fine(self, member: type) -> None:
        assert member().loss(torch.zeros(0, 4), torch.zeros(0, 4)).shape == (0,)


def held_ciou(box: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """CIoU near (12, 18, 47, 66) against TRUTH, its aspect weight held at what it is there."""
    overlap = 35 * 40 / (35 * 48 + 40 * 40 - 35 * 40)
    at_rest = 4 / math.pi**2 * (math.atan(40 / 40) - math.atan(35 / 48)) ** 2
    weight = at_rest / (1 - overlap + at_rest)
    sides = box[:, 2:] - box[:, :2]
    angle = math.pi / 4 - torch.atan(sides[:, 0] / sides[:, 1])
    return Diou().loss(box, truth) + weight * 4 / math.pi**2 * angle.square()


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
