"""Decoded pictures in memory, and the order in which a run sees them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from edgehone.data.dataset import Sample
from edgehone.types import Picture


class PictureCache:
    """Pictures shrunk so that the longest side is at most ``longest_side``, kept up to ``limit_bytes``.

    Pictures beyond the limit are decoded again at every access.
    """

    def __init__(self, samples: Sequence[Sample], longest_side: int, limit_bytes: int) -> None:
        self.samples = samples
        self.longest_side = longest_side
        self.free_bytes = limit_bytes
        self.kept: dict[int, Picture] = {}

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Picture:
        if index in self.kept:
            return self.kept[index]
        picture = shrink(self.samples[index].read(), self.longest_side)
        if picture.image.nbytes <= self.free_bytes:
            self.free_bytes -= picture.image.nbytes
            self.kept[index] = picture
        return picture


def shrink(picture: Picture, longest_side: int) -> Picture:
    """The picture with its boxes, area-averaged where it is larger than ``longest_side`` pixels."""
    height, width = picture.image.shape[:2]
    if max(height, width) <= longest_side:
        return picture
    ratio = longest_side / max(height, width)
    rows, columns = max(1, round(height * ratio)), max(1, round(width * ratio))
    image = cv2.resize(picture.image, (columns, rows), interpolation=cv2.INTER_AREA)
    scale = np.array([columns / width, rows / height] * 2)
    boxes = (picture.boxes_xyxy * scale).astype(np.float32)
    return Picture(np.asarray(image, dtype=np.uint8), boxes, picture.classes)


def epochs(count: int, batch_size: int, seed: int, start: int = 0) -> Iterator[list[int]]:
    """Endless batches of shuffled indices; every index once an epoch, batches may span two epochs.

    Args:
        count: of pictures.
        batch_size: indices a batch.
        seed: of the order.
        start: number of the first batch; the sequence from there is the same as if all before had been drawn.
    """
    position = start * batch_size
    shuffled: dict[int, np.ndarray] = {}
    while True:
        batch: list[int] = []
        for place in range(position, position + batch_size):
            epoch, offset = divmod(place, count)
            if epoch not in shuffled:
                shuffled = {key: order for key, order in shuffled.items() if key >= epoch - 1}
                shuffled[epoch] = np.random.default_rng((seed, epoch)).permutation(count)
            batch.append(int(shuffled[epoch][offset]))
        position += batch_size
        yield batch
