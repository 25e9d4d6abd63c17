"""builtin:digits: the same scenes every time, boxes tight on the ink, and knobs that do what they say."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from edgehone.data import Dataset, read_dataset
from edgehone.data.digits import SPLIT_SEEDS, SceneImage, Scenes, glyph_images, glyph_pools

KNOBS = "builtin:digits?classes=10&min_objects=1&max_objects=6&min_px=20&max_px=90"
"""The knobs stated, so that these tests hold whatever the defaults are."""

SMALL = f"{KNOBS}&train=12&val=4&test=4"


def all_boxes(dataset: Dataset) -> np.ndarray:
    return np.concatenate([s.boxes_xyxy for part in dataset.splits.values() for s in part])


def test_a_scene_is_the_same_in_every_process_and_at_every_read() -> None:
    one, two = read_dataset(SMALL), read_dataset(SMALL)
    assert one.fingerprint() == two.fingerprint()
    assert one.source == SMALL
    for a, b in zip(one.train, pickle.loads(pickle.dumps(two.train)), strict=True):
        picture = a.read()
        assert picture.image.dtype == np.uint8
        assert picture.image.shape == (*a.size, 3)
        np.testing.assert_array_equal(picture.image, b.read().image)
        np.testing.assert_array_equal(picture.image, a.read().image)
        assert a.truth().boxes_xyxy is picture.boxes_xyxy


def test_more_scenes_leave_the_first_ones_as_they_were() -> None:
    few, many = read_dataset(SMALL), read_dataset(f"{KNOBS}&train=20&val=4&test=4")
    for a, b in zip(few.train, many.train, strict=False):
        np.testing.assert_array_equal(a.boxes_xyxy, b.boxes_xyxy)


def test_another_seed_makes_other_scenes() -> None:
    assert read_dataset(SMALL).fingerprint() != read_dataset(f"{SMALL}&seed=1").fingerprint()


def test_no_glyph_serves_in_two_splits() -> None:
    pools = {split: {i for digit in pool for i in digit} for split, pool in glyph_pools().items()}
    assert sum(map(len, pools.values())) == len(set.union(*pools.values())) == len(glyph_images()) == 1797
    dataset = read_dataset(SMALL)
    for split in SPLIT_SEEDS:
        for sample in dataset.splits[split]:
            assert isinstance(sample.source, SceneImage)
            assert {g.index for g in sample.source.glyphs} <= pools[split]


def test_boxes_are_tight_on_the_ink() -> None:
    dataset = read_dataset(SMALL.replace("train=12", "train=30").replace("max_objects=6", "max_objects=1"))
    errors: list[np.ndarray] = []
    for sample in dataset.train:
        assert isinstance(sample.source, SceneImage)
        inked = sample.read().image.astype(float)
        bare = SceneImage(sample.size, (), sample.source.seed).read().astype(float)
        # The noise over a scene is drawn after its glyphs, so the two differ by noise away from the ink.
        ink = np.abs(inked - bare).mean(-1)
        ys, xs = np.nonzero(ink > max(0.25 * ink.max(), 16))
        found = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
        errors.append(np.abs(found - sample.boxes_xyxy[0]))
    assert np.median(errors) < 1
    assert np.mean(np.max(errors, axis=1) < 3) > 0.9


def test_boxes_obey_the_knobs() -> None:
    sides = "width=200&height=120&min_px=10&max_px=30&min_objects=2&max_objects=5"
    dataset = read_dataset(f"builtin:digits?train=40&val=4&test=4&overlap=0&{sides}")
    boxes = all_boxes(dataset)
    longer = (boxes[:, 2:] - boxes[:, :2]).max(1)
    assert longer.min() > 9.9
    assert longer.max() < 30.1
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= (200, 120)).all()
    assert max(len(s.classes) for s in dataset.train) <= 5
    assert dataset.train[0].size == (120, 200)
    for sample in dataset.train:
        for i, a in enumerate(sample.boxes_xyxy):
            for b in sample.boxes_xyxy[i + 1 :]:
                assert (np.minimum(a[2:], b[2:]) <= np.maximum(a[:2], b[:2])).any()


@pytest.mark.parametrize("ratio", [1, 20])
def test_imbalance_is_the_ratio_of_the_commonest_to_the_rarest_class(ratio: int) -> None:
    sizes = "classes=10&min_px=8&max_px=12&min_objects=1&max_objects=9"
    text = f"builtin:digits?train=600&val=1&test=1&imbalance={ratio}&{sizes}"
    counts = np.bincount(np.concatenate([s.classes for s in read_dataset(text).train]), minlength=10)
    assert ratio / 2 < (counts[0] + 1) / (counts[9] + 1) < ratio * 2


def test_fewer_classes_use_the_first_digits_only() -> None:
    dataset = read_dataset(SMALL.replace("classes=10", "classes=3") + "&label_noise=0.9")
    assert dataset.class_names == ("0", "1", "2")
    assert {int(k) for part in dataset.splits.values() for s in part for k in s.classes} == {0, 1, 2}


def test_label_noise_spoils_the_training_labels_only() -> None:
    clean, noisy = read_dataset(SMALL), read_dataset(f"{SMALL}&label_noise=0.5")
    for split in ("val", "test"):
        for a, b in zip(clean.splits[split], noisy.splits[split], strict=True):
            np.testing.assert_array_equal(a.boxes_xyxy, b.boxes_xyxy)
            np.testing.assert_array_equal(a.classes, b.classes)
    spoiled = [
        not np.array_equal(a.boxes_xyxy, b.boxes_xyxy) or not np.array_equal(a.classes, b.classes)
        for a, b in zip(clean.train, noisy.train, strict=True)
    ]
    assert sum(spoiled) >= 4
    np.testing.assert_array_equal(clean.train[0].read().image, noisy.train[0].read().image)
    boxes = all_boxes(noisy)
    assert boxes.min() >= 0
    assert boxes.max() <= Scenes().width
