"""Anchors: the official lists, clustering, evolution, and which head owns which."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edgehone.data import read_dataset
from edgehone.inference import DetectorInfo
from edgehone.projection import Anchors, EvolvedAnchors, KmeansAnchors, LevelAnchors, OfficialAnchors, Projection
from edgehone.projection.anchors import (
    OFFICIAL_416_PX,
    OFFICIAL_608_PX,
    best_possible_recall,
    official_px,
    ratio_fitness,
    shape_iou,
)
from edgehone.space import replace, union_types
from edgehone.strategy import AUTHORS
from edgehone.training import detector_info

ROOT = Path(__file__).parents[2]
DARKNET_FILES = Path(os.environ.get("EDGEHONE_DARKNET", ROOT / "../shared/darknet"))
SIDES = np.exp(np.random.default_rng(0).normal([3.2, 3.8], [0.5, 0.7], (800, 2)))


def slow_recall(sides: np.ndarray, anchors: np.ndarray, limit: float) -> float:
    return sum(any(max(w / a, a / w, h / b, b / h) < limit for a, b in anchors) for w, h in sides) / len(sides)


@pytest.mark.parametrize("member", union_types(Anchors))
@pytest.mark.parametrize("strides", [(32, 16), (32, 16, 8)], ids=["two heads", "three heads"])
class TestAnchors:
    def test_as_many_as_the_heads_own(self, member: type, strides: tuple[int, ...]) -> None:
        found = member().anchors_px(SIDES, (256, 320), strides)
        assert found.shape == (member().per_head * len(strides), 2)
        assert (np.diff(found.prod(1).reshape(len(strides), -1), axis=1) >= 0).all(), "each head's by area"
        assert (found > 0).all()
        assert np.array_equal(found, member().anchors_px(SIDES, (256, 320), strides)), "the same every time"

    @pytest.mark.parametrize("sides", [np.zeros((0, 2)), np.ones((4, 2)), np.full((100, 2), 30.0)])
    def test_too_few_shapes_do_no_harm(self, member: type, strides: tuple[int, ...], sides: np.ndarray) -> None:
        found = member().anchors_px(sides, (416, 416), strides)
        assert found.shape == (3 * len(strides), 2)
        assert np.isfinite(found).all()


@pytest.mark.parametrize("per_head", [2, 4, 5])
@pytest.mark.parametrize("kind", [KmeansAnchors, EvolvedAnchors])
def test_the_number_a_head_owns_can_be_set(kind: type, per_head: int) -> None:
    projection = Projection(anchors=kind(per_head=per_head))
    anchors = projection.anchors.anchors_px(SIDES, (128, 128), (32, 16, 8))
    grid = projection.lattice(anchors, (32, 16, 8), (128, 128))
    assert [shape[0] for shape in grid.shapes] == [per_head] * 3
    assert grid.slots == per_head * (16 + 64 + 256)
    assert grid.anchors_px[grid.levels == 0].prod(1).min() >= grid.anchors_px[grid.levels == 1].prod(1).max()


def test_the_network_follows_the_anchors_a_head() -> None:
    data = read_dataset("builtin:digits?train=8&val=1&test=1")
    strategy = replace(AUTHORS, {"projection.anchors.kind": "kmeans", "projection.anchors.per_head": 4})
    info = detector_info("yolov4-tiny", strategy, data.class_names, data.train)
    assert info.anchors_per_level == (4, 4)
    assert len(info.anchors_px) == 8
    widths = [info.network().head_convolution(i).out_channels for i in info.network().graph.outputs]
    assert widths == [4 * (5 + len(data.class_names))] * 2
    assert sum(info.class_counts) == sum(len(s.classes) for s in data.train)
    assert DetectorInfo.model_validate_json(info.model_dump_json()) == info


def test_masks_are_darknets() -> None:
    assert Projection(second_head_mask="1,2,3").anchor_masks(2) == ((3, 4, 5), (1, 2, 3))
    assert Projection(second_head_mask="0,1,2").anchor_masks(2) == ((3, 4, 5), (0, 1, 2))
    for mask in ("1,2,3", "0,1,2"):
        assert Projection(second_head_mask=mask).anchor_masks(3) == ((6, 7, 8), (3, 4, 5), (0, 1, 2))


def test_three_heads_have_the_anchors_of_their_cfg() -> None:
    path = DARKNET_FILES / "yolov4-tiny-3l.cfg"
    if not path.is_file():
        pytest.skip(f"the official cfg is not at {path}; set EDGEHONE_DARKNET to its folder")
    lines = [line.replace(" ", "") for line in path.read_text().splitlines()]
    numbers = [int(v) for v in next(line for line in lines if line.startswith("anchors=")).partition("=")[2].split(",")]
    assert list(zip(numbers[::2], numbers[1::2], strict=True)) == list(OFFICIAL_608_PX)
    masks = [tuple(map(int, line.partition("=")[2].split(","))) for line in lines if line.startswith("mask=")]
    assert tuple(masks) == Projection().anchor_masks(3)
    assert f"width={608}" in lines
    found = OfficialAnchors().anchors_px(SIDES, (608, 304), (32, 16, 8))
    assert found == pytest.approx(np.array(OFFICIAL_608_PX) * (0.5, 1.0))


def test_another_length_runs_along_the_official_list() -> None:
    found = official_px(5, 2, (416, 416))
    official = np.array(OFFICIAL_416_PX, float)
    assert len(found) == 10
    assert found[[0, 9]] == pytest.approx(official[[0, 5]])
    assert found[3] == pytest.approx(official[1] ** (1 / 3) * official[2] ** (2 / 3))  # 3 * 5 / 9 = 1.67 along
    assert (np.diff(found.prod(1)) > 0).all()


def test_recall_and_fitness_by_hand() -> None:
    sides, anchors = np.array([[10.0, 10.0], [30.0, 10.0], [10.0, 90.0]]), np.array([[10.0, 20.0], [40.0, 10.0]])
    assert best_possible_recall(sides, anchors, 4.0) == pytest.approx(2 / 3)
    assert best_possible_recall(sides, anchors, 1.5) == pytest.approx(1 / 3)
    assert ratio_fitness(sides, anchors, 4.0) == pytest.approx((0.5 + 0.75) / 3)
    assert best_possible_recall(SIDES, anchors, 3.0) == pytest.approx(slow_recall(SIDES, anchors, 3.0))


def test_evolution_is_never_less_fit_than_what_it_starts_from() -> None:
    rng = np.random.default_rng(1)
    flat = np.stack([rng.uniform(60, 200, 300), rng.uniform(6, 14, 300)], 1)
    for sides in (SIDES, flat, np.concatenate([SIDES, flat])):
        found = EvolvedAnchors().anchors_px(sides, (416, 416))
        others = [kind().anchors_px(sides, (416, 416)) for kind in (KmeansAnchors, OfficialAnchors)]
        assert all(ratio_fitness(sides, found, 4.0) >= ratio_fitness(sides, other, 4.0) for other in others)
        assert best_possible_recall(sides, found, 4.0) > 0.99


def test_clustering_may_be_worse_than_the_official_list() -> None:
    """The trap: most boxes alike, some small ones; the clusters sit where the many are."""
    sides = np.concatenate([np.random.default_rng(0).uniform(75, 90, (500, 2)), np.full((4, 2), 12.0)])
    clustered, official = (kind().anchors_px(sides, (416, 416)) for kind in (KmeansAnchors, OfficialAnchors))
    assert shape_iou(sides, clustered).max(1).mean() > shape_iou(sides, official).max(1).mean()
    assert best_possible_recall(sides, clustered, 4.0) < best_possible_recall(sides, official, 4.0)


def test_small_objects_stay_off_the_coarse_head() -> None:
    sides = np.random.default_rng(0).uniform(10, 40, (400, 2))
    by_level, by_area = (kind().anchors_px(sides, (416, 416)) for kind in (LevelAnchors, KmeansAnchors))
    assert by_level[:3].max() <= 40
    assert np.array_equal(by_level[3:], np.array(OFFICIAL_416_PX[3:], float)), "nothing for it: the official part"
    best = [shape_iou(sides, anchors).argmax(1) for anchors in (by_level, by_area)]
    assert (best[0] < 3).all()
    assert (best[1] < 3).mean() < 0.8, "of clusters of all boxes the coarse head owns half"
    large = np.random.default_rng(1).uniform(100, 300, (100, 2))
    both = LevelAnchors().anchors_px(np.concatenate([sides, large]), (416, 416))
    assert both[3:].min() >= 100
