"""The parts of the loss: focal forms, softmax, class and head balance, normalisation by the batch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehone.projection import (
    Bce,
    Ciou,
    Classification,
    ClassLoss,
    Focal,
    Objectness,
    ObjectnessLoss,
    Projection,
    QualityFocal,
    Softmax,
    Varifocal,
)
from edgehone.projection.anchors import OFFICIAL_416_PX
from edgehone.projection.classification import exclusive_log_odds
from edgehone.projection.lattice import build_lattice
from edgehone.projection.loss import LossParts, contributions, detection_loss
from edgehone.space import union_types
from edgehone.types import Assignment, Lattice, Predictions, Targets

MEMBERS = sorted({*union_types(ObjectnessLoss), *union_types(ClassLoss)}, key=lambda member: member.__name__)
GRID: Lattice = Projection().lattice(np.array(OFFICIAL_416_PX) * 0.3, (32, 16), (64, 64))
BOXES = torch.tensor([[4.0, 4.0, 20.0, 24.0], [30.0, 30.0, 60.0, 60.0]])
TARGETS = Targets(BOXES, torch.tensor([0, 1]), torch.tensor([0, 0]), 2)
POSITIVES = Assignment(
    torch.tensor([0, 0, 0]),
    torch.tensor([20, 21, 5]),
    torch.tensor([1, 1, 0]),
    torch.tensor([0.9, 0.3, 0.6]),
    torch.zeros(2, GRID.slots, dtype=torch.bool),
)


def predictions() -> Predictions:
    logits = torch.randn(2, GRID.slots, 7, generator=torch.Generator().manual_seed(0))
    boxes = Projection().coding.decode(logits[..., :4], GRID.cells_xy, GRID.strides, GRID.anchors_px)
    return Predictions(boxes, logits[..., 4], logits[..., 5:])


def parts(**changes: object) -> LossParts:
    values = {
        "box_loss": Ciou(weight=1.0),
        "objectness": Objectness(target="one", weight=1.0, fine_weight=1.0),
        "classification": Classification(weight=1.0),
        "normalisation": "image",
        "vote": "positive",
        **changes,
    }
    return LossParts(**values)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("member", MEMBERS)
class TestYesOrNo:
    def test_finite_and_never_negative(self, member: type) -> None:
        logits = torch.tensor([-1e4, -50.0, -1.0, 0.0, 1.0, 50.0, 1e4])[:, None].repeat(1, 5).requires_grad_()
        target = torch.tensor([0.0, 1e-9, 0.5, 0.999, 1.0]).expand(7, 5)
        loss = member().each(logits, target)
        loss.sum().backward()
        assert loss.shape == (7, 5)
        assert torch.isfinite(loss).all()
        assert (loss >= 0).all()
        assert logits.grad is not None
        assert torch.isfinite(logits.grad).all()

    def test_the_gradient_is_that_of_the_loss(self, member: type) -> None:
        logits = torch.linspace(-3, 3, 5, dtype=torch.float64, requires_grad=True)
        target = torch.tensor([0.0, 0.2, 0.5, 0.9, 1.0], dtype=torch.float64)
        assert torch.autograd.gradcheck(lambda z: member().each(z, target), (logits,))

    def test_a_surer_right_answer_costs_less(self, member: type) -> None:
        logits = torch.linspace(-4, 4, 9)
        assert (member().each(logits, torch.ones(9)).diff() < 0).all()


def test_known_values() -> None:
    z, p = torch.tensor(0.4), torch.tensor(0.4).sigmoid().item()
    one, none, soft = torch.tensor(1.0), torch.tensor(0.0), torch.tensor(0.7)
    assert Focal(gamma=2, alpha=0.25).each(z, one).item() == pytest.approx(-0.25 * (1 - p) ** 2 * math.log(p))
    assert Focal(gamma=2, alpha=0.25).each(z, none).item() == pytest.approx(-0.75 * p**2 * math.log(1 - p))
    entropy = -(0.7 * math.log(p) + 0.3 * math.log(1 - p))
    assert QualityFocal(beta=2).each(z, soft).item() == pytest.approx((0.7 - p) ** 2 * entropy, rel=1e-4)
    assert Varifocal(alpha=0.75, gamma=2).each(z, soft).item() == pytest.approx(0.7 * entropy)
    assert Varifocal(alpha=0.75, gamma=2).each(z, none).item() == pytest.approx(-0.75 * p**2 * math.log(1 - p))
    assert Focal(gamma=0.5, alpha=0.5).each(z, one).item() == pytest.approx(-0.5 * (1 - p) ** 0.5 * math.log(p))
    assert torch.equal(Bce().each(z, soft), F.binary_cross_entropy_with_logits(z, soft))


@settings(deadline=None, max_examples=50, derandomize=True)
@given(st.lists(st.floats(-60, 60, width=32), min_size=2, max_size=6))
def test_log_odds_are_those_of_the_softmax(values: list[float]) -> None:
    logits = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    odds = exclusive_log_odds(logits)
    assert torch.allclose(odds.sigmoid(), logits.softmax(-1), atol=1e-9)
    for wanted in range(len(values)):
        if odds[wanted] < 29:
            truth = F.one_hot(torch.tensor(wanted), len(values)).double()
            assert Softmax().each(odds, truth).sum().item() == pytest.approx(
                F.cross_entropy(logits, torch.tensor(wanted)).item(), rel=1e-6, abs=1e-9
            )
    odds.clamp(min=-50).sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_one_exclusive_class_is_certain() -> None:
    logits = torch.tensor([[3.0], [-100.0]], requires_grad=True)
    odds = exclusive_log_odds(logits)
    odds.sum().backward()
    assert (odds.sigmoid() > 0.999).all()
    assert torch.isfinite(logits.grad).all()  # pyright: ignore[reportArgumentType]


def test_a_softmax_detector_answers_with_its_probabilities() -> None:
    heads = [torch.randn(1, 24, 2, 2), torch.randn(1, 24, 4, 4)]
    plain, exclusive = (Projection(classification=Classification(loss=loss)) for loss in (Bce(), Softmax()))
    said = plain.predictions(heads, GRID).class_logits.softmax(-1)
    assert torch.allclose(exclusive.predictions(heads, GRID).class_logits.sigmoid(), said, atol=1e-5)


def test_softmax_smoothing_spreads_over_all_classes() -> None:
    raw = torch.tensor([[1.0, -0.5, 0.3]])
    settings_ = Classification(loss=Softmax(), label_smoothing=0.1)
    found = settings_.each(settings_.logits(raw), torch.tensor([2]), torch.ones(1)).item()
    assert found == pytest.approx(F.cross_entropy(raw, torch.tensor([2]), label_smoothing=0.1).item(), rel=1e-5)


def test_varifocal_targets_are_the_overlap() -> None:
    logits = torch.tensor([[0.4, -0.2]])
    found = Classification(loss=Varifocal(), label_smoothing=0.1).each(logits, torch.tensor([0]), torch.tensor([0.6]))
    expected = Varifocal().each(logits, torch.tensor([[0.6, 0.0]])).sum()
    assert found.item() == pytest.approx(expected.item())


def test_rare_classes_count_more_by_the_effective_number() -> None:
    counts = torch.tensor([1000, 100, 1, 0])
    found = Classification(balance=0.99).class_weights(counts)
    plain = np.array([0.01 / (1 - 0.99**n) for n in (1000, 100, 1, 1)])
    assert found.numpy() == pytest.approx(plain / plain.mean(), rel=1e-5)
    assert (found.diff()[:2] > 0).all()


def test_the_class_balance_needs_counts_and_uses_them() -> None:
    balanced = parts(classification=Classification(weight=1.0, balance=0.9))
    with pytest.raises(ValueError, match="objects of each class"):
        detection_loss(balanced, predictions(), TARGETS, POSITIVES, GRID)
    counted = parts(classification=Classification(weight=1.0, balance=0.9), class_counts=torch.tensor([50, 2]))
    weights = Classification(balance=0.9).class_weights(torch.tensor([50, 2]))
    plain = contributions(parts(), predictions(), TARGETS, POSITIVES, GRID)
    found = contributions(counted, predictions(), TARGETS, POSITIVES, GRID)
    assert torch.allclose(found.classification, plain.classification * weights[[1, 1, 0]])
    assert torch.equal(found.box, plain.box)


def test_each_level_has_its_weight() -> None:
    anchors = torch.tensor(OFFICIAL_416_PX, dtype=torch.float32)
    grid = build_lattice(anchors, [(4, 5), (2, 3), (0, 1)], (32, 16, 8), (64, 64))
    weights = Objectness(fine_weight=4.0, coarse_weight=0.4).level_weights(grid)
    assert [float(weights[grid.levels == k].unique()) for k in range(3)] == pytest.approx([0.4, 1.0, 4.0])
    assert Objectness(fine_weight=3.0).level_weights(GRID).unique().tolist() == [1.0, 3.0]


def test_the_batch_is_divided_by_its_positives() -> None:
    by_image, by_batch = (
        contributions(parts(normalisation=n), predictions(), TARGETS, POSITIVES, GRID) for n in ("image", "batch")
    )
    for name in ("box", "objectness", "classification"):
        assert torch.allclose(getattr(by_batch, name) * 3 / 2, getattr(by_image, name))


@pytest.mark.parametrize("normalisation", ["image", "mean", "batch"])
@pytest.mark.parametrize("vote", ["positive", "object"])
@pytest.mark.parametrize("objectness", union_types(ObjectnessLoss))
@pytest.mark.parametrize("classification", union_types(ClassLoss))
def test_every_combination_has_a_finite_gradient(
    normalisation: str, vote: str, objectness: type, classification: type
) -> None:
    projection = Projection(
        objectness=Objectness(loss=objectness()),
        classification=Classification(loss=classification(), balance=0.99),
        normalisation=normalisation,  # pyright: ignore[reportArgumentType]
        vote=vote,  # pyright: ignore[reportArgumentType]
    )
    heads = [torch.randn(2, 24, 2, 2, requires_grad=True), torch.randn(2, 24, 4, 4, requires_grad=True)]
    for targets in (TARGETS, Targets(BOXES[:0], TARGETS.classes[:0], TARGETS.images[:0], 2)):
        found = projection.loss(heads, targets, GRID, (50, 2, 0))
        found.total.backward()
        assert math.isfinite(found.total.item())
        assert all(torch.isfinite(h.grad).all() for h in heads if h.grad is not None)
