"""Box codings: decode(encode(box)) is the box wherever the coding reaches."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehone.projection import Coding, ExpCoding, SquaredSigmoidCoding
from edgehone.space import union_types

CELL = torch.tensor([[3.0, 5.0]])
STRIDE = torch.tensor([16.0])
ANCHOR = torch.tensor([[30.0, 40.0]])


def box_of(offset: tuple[float, float], ratio: tuple[float, float]) -> torch.Tensor:
    centre = (CELL[0] + torch.tensor(offset)) * STRIDE
    half = ANCHOR[0] * torch.tensor(ratio) / 2
    return torch.cat([centre - half, centre + half])[None]


@settings(deadline=None)
@given(
    st.tuples(st.floats(0.01, 0.99), st.floats(0.01, 0.99)),
    st.tuples(st.floats(0.05, 3.9), st.floats(0.05, 3.9)),
    st.sampled_from(union_types(Coding)),
)
def test_there_and_back(offset: tuple[float, float], ratio: tuple[float, float], kind: type) -> None:
    coding = kind()
    box = box_of(offset, ratio)
    back = coding.decode(coding.encode(box, CELL, STRIDE, ANCHOR), CELL, STRIDE, ANCHOR)
    assert torch.allclose(back, box, atol=0.05)


@pytest.mark.parametrize("offset", [(-0.45, 0.5), (1.45, 0.5), (0.5, 1.45)])
def test_only_the_squared_sigmoid_reaches_over_the_cells_edge(offset: tuple[float, float]) -> None:
    box = box_of(offset, (1.0, 1.0))
    for coding, reaches in ((SquaredSigmoidCoding(), True), (ExpCoding(), False)):
        back = coding.decode(coding.encode(box, CELL, STRIDE, ANCHOR), CELL, STRIDE, ANCHOR)
        assert torch.allclose(back, box, atol=0.1) == reaches


def test_only_the_exponential_reaches_beyond_four_anchors() -> None:
    box = box_of((0.5, 0.5), (6.0, 6.0))
    for coding, reaches in ((SquaredSigmoidCoding(), False), (ExpCoding(), True)):
        back = coding.decode(coding.encode(box, CELL, STRIDE, ANCHOR), CELL, STRIDE, ANCHOR)
        assert torch.allclose(back, box, atol=0.1) == reaches


def test_known_values() -> None:
    zero = torch.zeros(1, 4)
    middle = torch.tensor([[3.5 * 16 - 15, 5.5 * 16 - 20, 3.5 * 16 + 15, 5.5 * 16 + 20]])
    assert torch.allclose(ExpCoding().decode(zero, CELL, STRIDE, ANCHOR), middle)
    assert torch.allclose(SquaredSigmoidCoding().decode(zero, CELL, STRIDE, ANCHOR), middle)
    edge = ExpCoding(scale_x_y=1.2).decode(torch.tensor([[100.0, 0, 0, 0]]), CELL, STRIDE, ANCHOR)
    assert edge[0, [0, 2]].mean() == pytest.approx((3 + 1.1) * 16), "scale_x_y stretches past the edge by (s - 1) / 2"


@pytest.mark.parametrize("kind", union_types(Coding))
def test_far_logits_stay_finite_with_finite_gradients(kind: type) -> None:
    logits = torch.tensor([[1e4, -1e4, 1e4, -1e4]], requires_grad=True)
    boxes = kind().decode(logits, CELL, STRIDE, ANCHOR)
    boxes.sum().backward()
    assert torch.isfinite(boxes).all()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
