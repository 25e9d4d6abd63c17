"""The order of pictures is endless, complete and resumable; the cache scales boxes with pictures."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from contextlib import closing
from itertools import chain, count, islice
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehone.data.dataset import Sample
from edgehone.data.decoded_cache import DecodedCache
from edgehone.data.loader import PictureCache, epochs, prefetch, rounded
from edgehone.data.picture import FileImage
from edgehone.types import IGNORED


@given(count=st.integers(1, 40), size=st.integers(1, 12), seed=st.integers(0, 9), start=st.integers(0, 60))
def test_epochs_resume_anywhere(count: int, size: int, seed: int, start: int) -> None:
    whole = list(islice(epochs(count, size, seed), start + 5))
    assert list(islice(epochs(count, size, seed, start), 5)) == whole[start:]


@given(count=st.integers(1, 40), size=st.integers(1, 12), seed=st.integers(0, 9))
def test_every_picture_is_seen_once_an_epoch(count: int, size: int, seed: int) -> None:
    batches = list(islice(epochs(count, size, seed), 3 * count))
    assert all(len(batch) == size for batch in batches)
    order = list(chain.from_iterable(batches))
    for epoch in range(3):
        assert Counter(order[epoch * count : (epoch + 1) * count]) == Counter(range(count))


REPEATS = st.lists(st.floats(0.01, 6.0), min_size=1, max_size=30)


def whole(repeats: list[float]) -> np.ndarray:
    often = np.array(repeats)
    return often * (max(1, round(often.sum())) / often.sum())


@given(repeats=REPEATS, size=st.integers(1, 12), seed=st.integers(0, 9), start=st.integers(0, 20))
def test_repeated_epochs_resume_anywhere(repeats: list[float], size: int, seed: int, start: int) -> None:
    before = list(islice(epochs(whole(repeats), size, seed), start + 5))
    assert list(islice(epochs(whole(repeats), size, seed, start), 5)) == before[start:]


@given(repeats=REPEATS, offset=st.floats(0, 0.9999))
def test_pictures_come_as_often_as_asked_rounded_up_or_down(repeats: list[float], offset: float) -> None:
    often = whole(repeats)
    counts = np.bincount(rounded(often, offset), minlength=len(often))
    assert counts.sum() == round(often.sum())
    assert (np.abs(counts - often) < 1 + 1e-6).all()


def test_pictures_come_as_often_as_asked_in_the_mean() -> None:
    often = whole([0.3, 1.0, 2.7, 0.1, 1.4])
    length = round(often.sum())
    shown = Counter(chain.from_iterable(islice(epochs(often, length, 0), 2000)))
    means = np.array([shown[k] / 2000 for k in range(len(often))])
    assert np.abs(means - often).max() < 0.05


def test_once_each_is_the_plain_order() -> None:
    plain, repeated = (list(islice(epochs(once, 4, 3), 20)) for once in (7, np.ones(7)))
    assert plain == repeated


class TestPrefetching:
    @pytest.mark.parametrize("workers", [0, 1, 3])
    def test_keeps_the_order_however_long_each_takes(self, workers: int) -> None:
        def make(number: int) -> int:
            time.sleep(random.Random(number).random() / 500)
            return number * number

        assert list(prefetch(make, range(60), workers)) == [n * n for n in range(60)]

    @pytest.mark.parametrize("workers", [0, 1, 3])
    def test_raises_in_its_turn(self, workers: int) -> None:
        def make(number: int) -> int:
            if number == 5:
                raise ValueError("five")
            return number

        made = prefetch(make, count(), workers)
        assert list(islice(made, 5)) == [0, 1, 2, 3, 4]
        with pytest.raises(ValueError, match="five"):
            next(made)

    @pytest.mark.parametrize("workers", [1, 3])
    def test_makes_little_ahead_and_leaves_no_thread(self, workers: int) -> None:
        started: list[int] = []
        before = threading.active_count()
        with closing(prefetch(lambda n: started.append(n), count(), workers)) as made:
            next(made)
            time.sleep(0.02)
            assert len(started) <= 2 * workers + 1
        assert threading.active_count() == before


def test_epochs_are_shuffled_differently() -> None:
    order = list(chain.from_iterable(islice(epochs(50, 10, 0), 10)))
    assert order[:50] != order[50:] != list(range(50))
    assert order != list(chain.from_iterable(islice(epochs(50, 10, 1), 10)))


@given(height=st.integers(4, 90), width=st.integers(4, 90), side=st.integers(4, 100))
def test_boxes_shrink_with_their_picture(height: int, width: int, side: int) -> None:
    boxes = np.array([[0, 0, width, height], [1, 1, 3, 3]], np.float32)
    source = SimpleNamespace(read=lambda: np.zeros((height, width, 3), np.uint8))
    sample = Sample("a", (height, width), boxes, np.zeros(2, np.int64), source, boxes[1:])
    small = PictureCache([sample], side, 0)[0]
    assert small.classes.tolist() == [0, 0, IGNORED]
    rows, columns = small.image.shape[:2]
    assert max(rows, columns) == min(side, max(height, width))
    np.testing.assert_allclose(small.boxes_xyxy[0], [0, 0, columns, rows], rtol=1e-5)
    np.testing.assert_allclose(small.boxes_xyxy[1, 0], columns / width, rtol=1e-5)


def test_the_cache_keeps_pictures_up_to_its_limit() -> None:
    reads: Counter[int] = Counter()

    def sample(number: int) -> Sample:
        def read() -> np.ndarray:
            reads[number] += 1
            return np.full((20, 40, 3), number, np.uint8)

        source = SimpleNamespace(read=read)
        box = np.array([[4, 4, 20, 16]], np.float32)
        return Sample(str(number), (20, 40), box, np.array([0]), source)

    cache = PictureCache([sample(n) for n in range(4)], 20, limit_bytes=2 * 10 * 20 * 3)
    assert len(cache) == 4
    for _ in range(3):
        for number in range(4):
            picture = cache[number]
            assert picture.image.shape == (10, 20, 3)
            assert (picture.image == number).all()
            np.testing.assert_allclose(picture.boxes_xyxy, [[2, 2, 10, 8]])
    assert reads == {0: 1, 1: 1, 2: 3, 3: 3}


@pytest.mark.parametrize("with_disk", [True, False])
def test_a_picture_that_changes_is_read_anew(with_disk: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    disk = DecodedCache(tmp_path / "cache") if with_disk else None
    sample = Sample("a.png", (20, 40), np.zeros((0, 4), np.float32), np.zeros(0, np.int64), FileImage(path))
    cache = PictureCache([sample], 20, 1 << 20, disk)
    for number, level in enumerate((10, 200)):
        assert cv2.imwrite(str(path), np.full((20, 40, 3), level, np.uint8))
        os.utime(path, ns=(number, number))
        assert (cache[0].image == level).all()
        assert cache[0] is cache[0]
    assert cache.free_bytes == (1 << 20) - 10 * 20 * 3
