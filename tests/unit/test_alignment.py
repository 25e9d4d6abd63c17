"""Alignment of features with targets: known values, what cells are taught, and that learning raises it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehone.analysis.alignment import alignment_scores, linear_cka, taught_cells
from edgehone.analysis.projection import candidate_lattice, teach
from edgehone.data import read_dataset
from edgehone.space import replace
from edgehone.strategy import AUTHORS, DARKNET
from edgehone.training import truth_sides_px


def noise(rows: int, columns: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def biased_cka(first: torch.Tensor, second: torch.Tensor) -> float:
    """By its definition (Kornblith et al., 2019), which the unbiased estimate approaches with many rows."""
    n = len(first)
    centring = torch.eye(n, dtype=torch.double) - 1 / n
    k, m = (centring @ (x @ x.T) @ centring for x in (first, second))
    return float((k * m).sum() / (k.norm() * m.norm()))


@given(st.integers(8, 60), st.integers(1, 6), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_the_same_described_twice_is_aligned_whatever_its_turn_shift_and_scale(n: int, d: int, seed: int) -> None:
    x = noise(n, d, seed)
    turn = torch.linalg.qr(noise(d, d, seed + 1))[0]
    assert linear_cka(x, 3 * x @ turn + 5) == pytest.approx(1, abs=1e-6)


def test_of_many_rows_the_estimate_is_the_definition_and_of_few_it_does_not_flatter() -> None:
    x = noise(1500, 6, 0)
    y = x[:, :3] + 0.5 * noise(1500, 3, 1)
    assert linear_cka(x, y) == pytest.approx(biased_cka(x, y), abs=0.01)
    few = [linear_cka(noise(30, 64, seed), noise(30, 64, seed + 100)) for seed in range(20)]
    assert abs(np.mean(few)) < 0.03  # the biased one gives 0.7 here
    assert biased_cka(noise(30, 64, 0), noise(30, 64, 100)) > 0.5


def test_what_does_not_vary_is_not_aligned() -> None:
    assert linear_cka(torch.ones(20, 3, dtype=torch.double), noise(20, 2, 0)) == 0.0


@pytest.mark.parametrize("preset", [DARKNET, AUTHORS])
def test_cells_are_half_positive_and_say_what_was_assigned(preset) -> None:
    data = read_dataset("builtin:digits?train=12&val=1&test=1")
    strategy = replace(preset, {"input.size": 160})
    samples = data.train[:6]
    lattice = candidate_lattice(strategy, (32, 16), truth_sides_px(data.train, strategy))
    taught = teach(strategy, lattice, samples, len(data.class_names))
    seen = 0
    for level in range(2):
        cells, targets = taught_cells(taught, level, len(data.class_names), torch.Generator().manual_seed(0))
        mine = lattice.levels[taught.assignment.slots] == level
        xy = lattice.cells_xy[taught.assignment.slots[mine]].long()
        images = taught.assignment.images[mine]
        known = {(int(i), int(y), int(x)) for i, (x, y) in zip(images, xy.tolist(), strict=True)}
        positive = targets[:, 0] == 1
        assert {tuple(cell) for cell in cells[positive].tolist()} == known
        assert not known & {tuple(cell) for cell in cells[~positive].tolist()}
        assert int(positive.sum()) == int((~positive).sum())
        assert (targets[positive, 1 : 1 + len(data.class_names)].sum(1) == 1).all()
        assert not targets[~positive].any()
        seen += len(known)
    assert seen


def test_scores_are_a_function_of_the_seed_and_learning_raises_them() -> None:
    data = read_dataset("builtin:digits?train=24&val=1&test=1")
    strategy = replace(AUTHORS, {"input.size": 160, "optimisation.optimizer.lr": 0.02})
    first, again = (alignment_scores(strategy, "yolov4-tiny@width=0.25", data, steps=(0, 40)) for _ in range(2))
    assert first == again
    assert first["alignment after 40 steps"] > first["alignment after 0 steps"]
