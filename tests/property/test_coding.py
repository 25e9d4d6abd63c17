"""Box codings: decode(encode(box)) is the box wherever the coding reaches."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehone.projection import Coding, DistanceCoding, ExpCoding, SquaredSigmoidCoding
from edgehone.space import union_types

CELL = torch.tensor([[3.0, 5.0]])
STRIDE = torch.tensor([16.0])
ANCHOR = torch.tensor([[30.0, 40.0]])


def box_of(offset: tuple[float, float], ratio: tuple[float, float]) -> torch.Tensor:
    centre = (CELL[0] + torch.tensor(offset)) * STRIDE
    half = ANCHOR[0] * torch.tensor(ratio) / 2
    return torch.cat([centre - half, centre + half])[None]


MEMBERS = [*(kind() for kind in union_types(Coding)), ExpCoding(scale_x_y=1.0), DistanceCoding(growth="exp")]
NAMES = [f"{m.kind}-{k}" for k, m in enumerate(MEMBERS)]


@pytest.mark.parametrize("coding", MEMBERS, ids=NAMES)
@settings(deadline=None, max_examples=150, derandomize=True)
@given(
    st.tuples(st.floats(-3, 4), st.floats(-3, 4)) | st.tuples(st.floats(0.01, 0.99), st.floats(0.01, 0.99)),
    st.tuples(st.floats(0.01, 12), st.floats(0.01, 12)) | st.tuples(st.floats(0.5, 3.9), st.floats(0.5, 3.9)),
)
def test_there_and_back_wherever_it_reaches(
    coding: Coding, offset: tuple[float, float], ratio: tuple[float, float]
) -> None:
    box = box_of(offset, ratio)
    back = coding.decode(coding.encode(box, CELL, STRIDE, ANCHOR), CELL, STRIDE, ANCHOR)
    off = float((back - box).abs().max())
    if coding.reach(box, CELL, STRIDE, ANCHOR).item():
        assert off < 0.05
    else:
        assert off > 1e-5, "what it cannot reach it does not say"
        assert torch.isfinite(back).all()


@pytest.mark.parametrize("coding", MEMBERS, ids=NAMES)
def test_an_object_that_fills_its_cell_is_within_reach(coding: Coding) -> None:
    assert coding.reach(box_of((0.4, 0.6), (1.1, 0.9)), CELL, STRIDE, ANCHOR).item()


def test_what_each_reaches() -> None:
    small = box_of((0.8, 0.8), (0.05, 0.05))  # off the cell's middle, and not over it
    beside, far, wide = box_of((1.3, 0.5), (1, 1)), box_of((2.6, 0.5), (4, 1)), box_of((0.5, 0.5), (5, 1))
    reached = {
        coding.kind: [coding.reach(b, CELL, STRIDE, ANCHOR).item() for b in (small, beside, far, wide)]
        for coding in MEMBERS[:3]
    }
    assert reached == {
        "exp": [True, False, False, True],
        "squared_sigmoid": [True, True, False, False],
        "distances": [False, True, True, True],
    }


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
    square = torch.tensor([[3.5 * 16 - 16, 5.5 * 16 - 16, 3.5 * 16 + 16, 5.5 * 16 + 16]])
    assert torch.allclose(DistanceCoding(growth="exp").decode(zero, CELL, STRIDE, ANCHOR), square)
    edges = torch.tensor([[1.0, 2.0, 3.0, 0.5]])
    gentle = DistanceCoding(growth="softplus").decode(edges.expm1().log(), CELL, STRIDE, ANCHOR)
    assert gentle[0].tolist() == pytest.approx([2.5 * 16, 3.5 * 16, 6.5 * 16, 6 * 16])
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
