"""The profile of the data: known facts come out, and the test split has no say."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from edgehone.analysis.data_space import DataProfile, data_profile
from edgehone.data import Dataset, Sample, read_dataset


class Plain:
    """A picture of one colour."""

    def __init__(self, size: tuple[int, int], colour: tuple[int, int, int]) -> None:
        self.size, self.colour = size, colour

    def read(self) -> np.ndarray:
        return np.full((*self.size, 3), self.colour, np.uint8)


def sample(name: str, boxes: list, classes: list[int], colour: tuple[int, int, int] = (90, 90, 90)) -> Sample:
    size = (100, 200)
    return Sample(
        name,
        size,
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(classes, np.int64),
        Plain(size, colour),
    )


@pytest.fixture
def dataset() -> Dataset:
    """Boxes of 0.2 x 0.2 of the picture's sides, two of them shifted by a fifth of their side."""
    pair = [[0, 0, 40, 20], [8, 0, 48, 20]]
    train = (
        sample("a", pair, [0, 0]),
        sample("b", [[100, 50, 140, 70]], [1], (200, 100, 0)),
        sample("c", [], []),
    )
    val = (sample("d", [[20, 20, 100, 60]], [1]),)
    test = (sample("e", [[0, 0, 200, 100]] * 7, [2] * 7),)
    return Dataset("made", "memory", ("ant", "bee", "cat"), train, val, test)


def test_facts_of_known_data(dataset: Dataset) -> None:
    profile = data_profile(dataset, [100, 320], [16, 32])
    assert profile.splits == {"train": {"images": 3, "boxes": 3}, "val": {"images": 1, "boxes": 1}}
    assert profile.classes == {"ant": 2, "bee": 1, "cat": 0}
    assert profile.imbalance == 2
    assert (profile.boxes_per_image_mean, profile.boxes_per_image_max, profile.empty_images) == (1, 2, 1)
    assert profile.aspect["50 %"] == pytest.approx(1)
    assert profile.crowded_fraction == 0.5  # the pair overlaps by 32 / 48, the two others by nothing
    assert profile.neighbour_share == pytest.approx(0.04)
    assert profile.image_sizes == {"100 x 200": 3}
    pixels = profile.pixels
    assert (pixels.read, pixels.gray.mean, pixels.gray.error) == (3, pytest.approx(2 / 3, abs=0.01), 0)
    assert pixels.brightness.mean == pytest.approx((90 + 90 + 118) / 3, abs=1)
    assert pixels.contrast.mean == pytest.approx(0, abs=0.01)
    assert profile.images_by_class == {"ant": 1, "bee": 1, "cat": 0}
    assert profile.together == {"ant": {}, "bee": {}}
    assert profile.cut_fraction == 0.5  # the pair begins at the upper edge
    assert profile.positions[0][:2] == (0.25, 0.25)  # the pair: its centres are at 20 and 28 of 200
    assert np.sum(profile.positions) == pytest.approx(1)
    assert profile.boxes_per_image["50 %"] == 1
    assert profile.shift["classes"] == pytest.approx(2 / 3, abs=1e-3)
    assert profile.crowded_error == 0
    small, large = profile.sizes
    assert small.side_px["50 %"] == pytest.approx(20)
    assert small.side_px_by_class == {"ant": 20, "bee": 30}
    assert (small.small, small.medium, small.large) == (0.75, 0.25, 0)
    assert small.below_stride == {16: 0, 32: 0.75}
    assert small.below_two_strides == {16: 0.75, 32: 1}
    assert large.load == {16: 0.75, 32: 0.25}  # 64 px are four cells of 16, 128 px four cells of 32
    assert (large.small, large.medium, large.large) == (0, 0.75, 0.25)
    assert large.neighbour_cells == {16: pytest.approx(0.8), 32: pytest.approx(0.4)}
    histogram = profile.size_histogram
    assert {len(c) + 1 for c in histogram.counts.values()} == {len(histogram.edges_share)}
    assert [sum(histogram.counts[name]) for name in dataset.class_names] == [2, 2, 0]
    edges = np.array(histogram.edges_share)
    assert edges[int(np.argmax(histogram.counts["ant"]))] <= 0.2 < edges[int(np.argmax(histogram.counts["ant"])) + 1]


def test_the_test_split_has_no_say(dataset: Dataset) -> None:
    without = dataclasses.replace(dataset, test=())
    assert data_profile(dataset, [256], [16, 32]) == data_profile(without, [256], [16, 32])


def test_a_profile_survives_json(dataset: Dataset) -> None:
    profile = data_profile(dataset, [256, 416], [16, 32])
    text = json.dumps(profile.model_dump(mode="json"), allow_nan=False)
    assert DataProfile.model_validate(json.loads(text)) == profile


def test_pictures_with_one_object_have_no_neighbours(dataset: Dataset) -> None:
    alone = dataclasses.replace(dataset, train=dataset.train[1:2])
    profile = data_profile(alone, [256], [16])
    assert profile.neighbour_share is None
    assert profile.sizes[0].neighbour_cells == {}
    assert profile.crowded_fraction == 0


def test_the_digits_have_the_sizes_that_their_knobs_ask_for() -> None:
    profile = data_profile(
        read_dataset("builtin:digits?train=60&val=5&test=1&min_px=24&max_px=48&min_objects=1&max_objects=4"),
        [240],
        [16, 32],
    )
    assert profile.sizes[0].side_px["95 %"] <= 48
    assert profile.sizes[0].large == 0
    assert profile.pixels.gray.mean < 0.2
    assert profile.pixels.different_images == 60
