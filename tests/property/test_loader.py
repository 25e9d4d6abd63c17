"""The order of pictures is endless, complete and resumable; the cache scales boxes with pictures."""

from __future__ import annotations

from collections import Counter
from itertools import chain, islice
from types import SimpleNamespace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgehone.data.dataset import Sample
from edgehone.data.loader import PictureCache, epochs, shrink
from edgehone.types import Picture


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


def test_epochs_are_shuffled_differently() -> None:
    order = list(chain.from_iterable(islice(epochs(50, 10, 0), 10)))
    assert order[:50] != order[50:] != list(range(50))
    assert order != list(chain.from_iterable(islice(epochs(50, 10, 1), 10)))


@given(height=st.integers(4, 90), width=st.integers(4, 90), side=st.integers(4, 100))
def test_boxes_shrink_with_their_picture(height: int, width: int, side: int) -> None:
    boxes = np.array([[0, 0, width, height], [1, 1, 3, 3]], np.float32)
    small = shrink(Picture(np.zeros((height, width, 3), np.uint8), boxes, np.zeros(2, np.int64)), side)
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
