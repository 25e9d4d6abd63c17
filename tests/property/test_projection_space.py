"""Any member of the projection's space, drawn at random, gives a finite loss that teaches, on two and three levels."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import pytest
import torch

from edgehone.projection import Projection
from edgehone.space import SearchSpace
from edgehone.types import Targets

CLASSES, IMAGES = 3, 3
LEVELS = {"two levels": (32, 16), "three levels": (32, 16, 8)}


def batch(rng: np.random.Generator, size: tuple[int, int]) -> Targets:
    """A crowd, an empty picture, and one with awkward objects."""
    sides = np.exp(rng.uniform(np.log(2), np.log(60), (20, 2)))
    corner = rng.uniform(0, 1, (20, 2)) * (np.array(size[::-1]) - sides)
    boxes = np.concatenate([corner, corner + sides], 1)
    awkward = [[30.0, 40, 30, 40], [0, 0, size[1], size[0]], [10, 40, 60, 40], [-9, -9, -4, -4]]
    boxes = np.concatenate([boxes, np.array(awkward)])
    images = torch.tensor([0] * 20 + [2] * 4)
    return Targets(torch.from_numpy(boxes).float(), torch.from_numpy(rng.integers(0, CLASSES, 24)), images, IMAGES)


@pytest.mark.parametrize("strides", LEVELS.values(), ids=LEVELS)
@pytest.mark.parametrize("seed", range(40))
def test_a_random_projection_teaches(strides: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    projection = cast(Projection, SearchSpace(Projection()).sample(rng))
    size = (64, 96)
    targets = batch(rng, size)
    sides = (targets.boxes_xyxy[:, 2:] - targets.boxes_xyxy[:, :2]).clamp(min=1).double().numpy()
    grid = projection.lattice(projection.anchors.anchors_px(sides, size, strides), strides, size)
    scale = 10.0 if seed % 4 == 0 else 1.0
    generator = torch.Generator().manual_seed(seed)
    heads = [
        (scale * torch.randn(IMAGES, a * (5 + CLASSES), h, w, generator=generator)).requires_grad_()
        for a, h, w in grid.shapes
    ]
    terms = projection.loss(heads, targets, grid, (90, 5, 1))
    terms.total.backward()
    assert terms.positives > 0
    assert all(math.isfinite(value) for value in terms.values().values())
    slopes = [head.grad for head in heads]
    assert all(slope is not None and torch.isfinite(slope).all() for slope in slopes)
    assert any(slope is not None and slope.any() for slope in slopes)
