"""The batches of a run do not depend on how, by whom and from where they are made."""

from __future__ import annotations

from contextlib import closing
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch

from edgehone.augment import NONE, Frame, MultiScale
from edgehone.batches import Batch, BatchSource, collate
from edgehone.data import Dataset, read_dataset
from edgehone.data.loader import PictureCache
from edgehone.space import replace
from edgehone.strategy import AUTHORS

VARIED = {
    "input.size": 128,
    "augmentation.mosaic.probability": 0.5,
    "augmentation.paste.probability": 0.5,
    "augmentation.noise.probability": 0.3,
    "augmentation.multi_scale.spread": 0.3,
    "augmentation.sampling.kind": "repeat_factor",
    "augmentation.sampling.threshold": 0.9,
    "augmentation.off_fraction": 0.2,
}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return read_dataset("builtin:digits?train=12&val=1&test=1&width=96&height=80&min_px=20&max_px=40&max_objects=4")


def source(dataset: Dataset, limit_bytes: int = 1 << 30, **changes: Any) -> BatchSource:
    strategy = replace(AUTHORS, {**VARIED, **changes})
    return BatchSource(strategy, PictureCache(dataset.train, 160, limit_bytes), seed=3, steps=20, batch_size=4)


def taken(made: BatchSource, start: int, number: int, workers: int = 0) -> list[Batch]:
    with closing(made.stream(start, workers)) as stream:
        return list(islice(stream, number))


def same(a: Batch, b: Batch) -> bool:
    pairs = [(a.pixels, b.pixels)]
    pairs += [(getattr(a.targets, name), getattr(b.targets, name)) for name in ("boxes_xyxy", "classes", "images")]
    return all(torch.equal(x, y) for x, y in pairs)


@pytest.mark.parametrize("limit_bytes", [0, 1 << 30])
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_any_number_of_workers_from_any_step(dataset: Dataset, workers: int, limit_bytes: int) -> None:
    expected = taken(source(dataset), 0, 12)
    for start in (0, 7):
        found = taken(source(dataset, limit_bytes), start, 12 - start, workers)
        assert all(same(a, b) for a, b in zip(found, expected[start:], strict=True))


def test_a_batch_is_what_the_network_takes(dataset: Dataset) -> None:
    for batch in taken(source(dataset), 0, 4):
        height, width = batch.pixels.shape[2:]
        assert batch.pixels.shape[:2] == (4, 3)
        assert batch.pixels.dtype == torch.float32
        assert batch.pixels.is_contiguous(memory_format=torch.channels_last)
        assert 0 <= float(batch.pixels.min()) < float(batch.pixels.max()) <= 1
        boxes = batch.targets.boxes_xyxy
        assert ((boxes >= 0) & (boxes <= torch.tensor([width, height, width, height]))).all()
        assert batch.targets.batch_size == 4
        assert len(boxes) == len(batch.targets.classes) == len(batch.targets.images)


def test_the_size_follows_from_seed_and_step(dataset: Dataset) -> None:
    made = source(dataset)
    sizes = [made.frame(step).input_size for step in range(20)]
    assert sizes == [source(dataset).frame(step).input_size for step in range(20)]
    assert len(set(sizes[:16])) > 1
    assert all(side % 32 == 0 for size in sizes for side in size)
    assert set(sizes[16:]) == {(128, 128)}  # the tail ends on the strategy's own size
    assert made.frame(0).fit == "stretch"
    assert [tuple(b.pixels.shape[2:]) for b in taken(made, 0, 5)] == sizes[:5]
    assert source(dataset, **{"augmentation.multi_scale.spread": 0.0}).frame(3) == Frame((128, 128))


def test_both_painters_make_the_same_batch(dataset: Dataset) -> None:
    made = source(dataset)
    other = BatchSource(made.strategy, made.pictures, made.seed, made.steps, made.batch_size, "torch")
    for a, b in zip(taken(made, 0, 6), taken(other, 0, 6), strict=True):
        assert torch.equal(a.targets.boxes_xyxy, b.targets.boxes_xyxy)
        assert float((a.pixels - b.pixels).abs().mean()) < 0.5 / 255


def test_partners_are_sampled_like_pictures(dataset: Dataset) -> None:
    changes = {"mosaic.probability": 1.0, "sampling.kind": "class_balanced", "off_fraction": 0.0}
    augmentation = replace(NONE, changes)
    strategy = replace(AUTHORS, {"input.size": 128}).model_copy(update={"augmentation": augmentation})
    made = BatchSource(strategy, PictureCache(dataset.train, 160, 1 << 30), seed=0, steps=600, batch_size=1)
    shown = np.zeros(12)
    for step in range(600):
        for layer in made.recipes(step, [step % 12], made.pictures.__getitem__)[0].layers:
            shown[layer.source] += 1
    repeats = augmentation.sampling.repeats([s.classes for s in dataset.train])
    assert repeats.std() > 0.1
    assert np.corrcoef(shown, repeats)[0, 1] > 0.9


def test_pictures_without_objects_make_an_empty_truth() -> None:
    nothing = (np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    batch = collate(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), [nothing, nothing])
    assert batch.targets.boxes_xyxy.shape == (0, 4)
    assert batch.targets.images.shape == (0,)


@pytest.mark.parametrize("size", [(128, 128), (416, 416), (224, 320), (32, 32)])
@pytest.mark.parametrize("spread", [0.0, 0.1, 0.25, 0.5])
def test_the_cost_of_multi_scale_is_that_of_one_size(size: tuple[int, int], spread: float) -> None:
    scale = MultiScale(spread=spread)
    sizes, probabilities = scale.sizes(size)
    assert size in sizes
    assert len(set(sizes)) == len(sizes)
    assert probabilities.sum() == pytest.approx(1)
    assert (probabilities > 0).all()
    pixels = np.array([height * width for height, width in sizes])
    assert (probabilities * pixels).sum() <= size[0] * size[1] * (1 + 1e-9)
    assert scale.largest(size) == max(sizes)
    for height, width in sizes:
        assert height % 32 == width % 32 == 0
        assert height <= (1 + spread) * size[0] + 16
        assert width <= (1 + spread) * size[1] + 16
