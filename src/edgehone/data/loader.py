"""Decoded pictures in memory, and the order in which a run sees them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edgehone.data.dataset import Sample
from edgehone.data.decoded_cache import DecodedCache
from edgehone.data.picture import FileImage, shrink_image
from edgehone.types import Picture

Item = TypeVar("Item")
Made = TypeVar("Made")

Stamp = tuple[int, int] | None
"""Time of change and bytes of a picture's file; None for a picture that is no file."""


class PictureCache:
    """Pictures shrunk so that the longest side is at most ``longest_side``, kept up to ``limit_bytes``.

    Beyond the limit, and in other processes, the cache on disk serves where one is given. A file that changes is read
    anew. Several threads may read at once.
    """

    def __init__(
        self, samples: Sequence[Sample], longest_side: int, limit_bytes: int, disk: DecodedCache | None = None
    ) -> None:
        self.samples = samples
        self.longest_side = longest_side
        self.free_bytes = limit_bytes
        self.disk = disk
        self.kept: dict[int, tuple[Stamp, Picture]] = {}
        self.lock = Lock()

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Picture:
        sample = self.samples[index]
        stamp = sample.source.stamp() if isinstance(sample.source, FileImage) else None
        kept = self.kept.get(index)
        if kept is not None and kept[0] == stamp:
            return kept[1]
        picture = self._read(sample)
        with self.lock:
            before = self.kept.pop(index, None)
            if before is not None:
                self.free_bytes += before[1].image.nbytes
            if picture.image.nbytes <= self.free_bytes:
                self.free_bytes -= picture.image.nbytes
                self.kept[index] = stamp, picture
        return picture

    def _read(self, sample: Sample) -> Picture:
        if self.disk is None:
            image = sample.source.read()
            size, small = sample.size, shrink_image(image, self.longest_side)
        else:
            small, size = self.disk.read(sample.source, self.longest_side)
        boxes, classes = sample.labels()
        scale = np.array([small.shape[1] / size[1], small.shape[0] / size[0]] * 2)
        return Picture(small, (boxes * scale).astype(np.float32), classes)


def epochs(repeats: int | NDArray[np.float64], batch_size: int, seed: int, start: int = 0) -> Iterator[list[int]]:
    """Endless batches of shuffled indices; every epoch shows each picture as often as asked, batches may span two.

    Args:
        repeats: number of pictures, each shown once an epoch; or ``[n]``, how often each is shown in the mean
            (adds up to a whole number): an epoch rounds it up or down, so that all epochs are of one length.
        batch_size: indices a batch.
        seed: of the order.
        start: number of the first batch; the sequence from there is the same as if all before had been drawn.
    """
    often = np.ones(repeats) if isinstance(repeats, int) else repeats
    length = round(float(often.sum()))
    position = start * batch_size
    shuffled: dict[int, NDArray[np.int64]] = {}
    while True:
        batch: list[int] = []
        for place in range(position, position + batch_size):
            epoch, offset = divmod(place, length)
            if epoch not in shuffled:
                shuffled = {key: order for key, order in shuffled.items() if key >= epoch - 1}
                shown = rounded(often, float(np.random.default_rng((seed, epoch, 1)).random()))
                shuffled[epoch] = np.random.default_rng((seed, epoch)).permutation(shown)
            batch.append(int(shuffled[epoch][offset]))
        position += batch_size
        yield batch


def rounded(repeats: NDArray[np.float64], offset: float) -> NDArray[np.int64]:
    """Each index as often as ``repeats`` says, rounded up or down; as many in all as ``repeats`` adds up to.

    Over all offsets in 0..1 each index comes as often as asked (systematic sampling).
    """
    edges = np.cumsum(repeats)
    edges[-1] = round(float(edges[-1]))
    # Rounded sums of whole numbers must stay whole, whichever way the last bit fell.
    steps = np.floor(np.round(edges, 9) + offset).astype(np.int64)
    return np.repeat(np.arange(len(repeats)), np.diff(steps, prepend=0))


def prefetch(make: Callable[[Item], Made], items: Iterable[Item], workers: int) -> Generator[Made, None, None]:
    """``make(item)`` for each item, in their order, made ahead by threads.

    Args:
        make: free to run several times at once; what it raises is raised in its turn.
        items: possibly endless; a few more are taken than have been given out.
        workers: threads, ended when the generator is closed; 0 makes each when it is asked for.
    """
    if workers == 0:
        yield from map(make, items)
        return
    source = iter(items)
    pending: deque[Future[Made]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="edgehone-loader")
    try:
        while True:
            while len(pending) < 2 * workers:
                try:
                    pending.append(pool.submit(make, next(source)))
                except StopIteration:
                    break
            if not pending:
                return
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
