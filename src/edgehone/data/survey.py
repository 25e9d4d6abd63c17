"""One pass over the pixels of many pictures: what each looks like, in columns small enough to keep."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehone.data.picture import FileImage, Image, ImageSource, decode, read_content
from edgehone.data.picture_header import PictureHeader, opened
from edgehone.errors import EdgehoneError

SIDE = 256
"""Longest side, in pixels, at which looks are measured; smaller pictures are taken as they are."""

CHUNK = 1000
"""Pictures that wait for a thread at the same time."""

GRAY_TOLERANCE = 8
"""Channels that nowhere differ by more, of 255 and at :data:`SIDE`, are shades of gray."""

BLANK_RANGE = 8
"""A picture whose brightest and darkest gray differ by no more, of 255 and at :data:`SIDE`, shows nothing."""

THUMBNAIL = 16
"""Side of a thumbnail in pixels."""

# The 64 lowest frequencies after the mean. Dealt out in turn, so that each 16 bits of a hash hold some of every height.
_FREQUENCIES = np.array(sorted(product(range(16), repeat=2), key=lambda uv: (sum(uv), uv))[1:65]).reshape(16, 4, 2)
_ROWS, _COLUMNS = _FREQUENCIES.transpose(2, 1, 0).reshape(2, 64)


@dataclass(frozen=True, slots=True)
class Survey:
    """What ``n`` pictures look like, one row each. A row with a problem has zeros for its looks.

    Attributes:
        problem: why a picture cannot be decoded, without its name; empty for one that can.
        sizes: ``[n, 2]`` int32, height and width as read; as the header says for a file that cannot be decoded.
        content: ``[n, 2]`` uint64, digest of the file's bytes (of the pixels of a source that is no file); 0 where
            there is nothing to digest.
        perceptual: ``[n]`` uint64, whether each of the 64 lowest frequencies of a 32 x 32 picture (DCT-II, the mean
            left out) is above their median.
        thumbnails: ``[n, 16, 16]`` uint8, gray, area-averaged, the picture's shape stretched to a square.
        brightness: ``[n]`` float32, mean gray, 0..255, at :data:`SIDE`.
        contrast: ``[n]`` float32, standard deviation of the grays, at :data:`SIDE`.
        sharpness: ``[n]`` float32, variance of the Laplacian of the grays, at :data:`SIDE`.
        gray: ``[n]`` bool, within :data:`GRAY_TOLERANCE`.
        blank: ``[n]`` bool, within :data:`BLANK_RANGE`.
    """

    problem: list[str]
    sizes: NDArray[np.int32]
    content: NDArray[np.uint64]
    perceptual: NDArray[np.uint64]
    thumbnails: NDArray[np.uint8]
    brightness: NDArray[np.float32]
    contrast: NDArray[np.float32]
    sharpness: NDArray[np.float32]
    gray: NDArray[np.bool_]
    blank: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.problem)

    @property
    def readable(self) -> NDArray[np.bool_]:
        """``[n]``: pictures without a problem."""
        return np.array([not problem for problem in self.problem], bool)

    def take(self, rows: NDArray[np.int64]) -> Survey:
        """Some of the rows, in this order."""
        columns = (getattr(self, field.name)[rows] for field in fields(Survey)[1:])
        return Survey([self.problem[row] for row in rows.tolist()], *columns)


def survey(
    sources: Sequence[ImageSource], *, threads: int | None = None, watch: Callable[[int, int], None] | None = None
) -> Survey:
    """Look at every picture once; files of equal bytes are decoded once.

    Args:
        sources: of the pictures.
        threads: that decode; as many as this process may use cores where not given.
        watch: called with the number of pictures done and of all.
    """
    work = _Pass(sources)
    pool = ThreadPoolExecutor(threads or _cores())
    try:
        for start in range(0, len(sources), CHUNK):
            chunk = range(start, min(start + CHUNK, len(sources)))
            for done, _ in enumerate(pool.map(work.look, chunk), start=start + 1):
                if watch:
                    watch(done, len(sources))
    finally:
        pool.shutdown(cancel_futures=True)
    return work.finished()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Pass:
    """A survey under way. Threads write different rows."""

    def __init__(self, sources: Sequence[ImageSource]) -> None:
        n = len(sources)
        self.sources = sources
        self.table = Survey(
            problem=[""] * n,
            sizes=np.zeros((n, 2), np.int32),
            content=np.zeros((n, 2), np.uint64),
            perceptual=np.zeros(n, np.uint64),
            thumbnails=np.zeros((n, THUMBNAIL, THUMBNAIL), np.uint8),
            brightness=np.zeros(n, np.float32),
            contrast=np.zeros(n, np.float32),
            sharpness=np.zeros(n, np.float32),
            gray=np.zeros(n, bool),
            blank=np.zeros(n, bool),
        )
        self._first: dict[bytes, int] = {}
        self._copies: list[tuple[int, int]] = []
        self._lock = threading.Lock()

    def look(self, row: int) -> None:
        """Fill a row."""
        source = self.sources[row]
        try:
            if isinstance(source, FileImage):
                self._look_at_file(row, source)
            else:
                self._look_at_pixels(row, source.read())
        except EdgehoneError as error:
            name = f"{source.path}: " if isinstance(source, FileImage) else ""
            self.table.problem[row] = str(error).removeprefix(name)

    def finished(self) -> Survey:
        """The table, with copies filled in from the first of their kind, and closed."""
        for copy, first in self._copies:
            for field in fields(Survey):
                column = getattr(self.table, field.name)
                column[copy] = column[first]
        for field in fields(Survey)[1:]:
            getattr(self.table, field.name).setflags(write=False)
        return self.table

    def _look_at_file(self, row: int, source: FileImage) -> None:
        with opened(source.path) as file:
            content, header = read_content(file)
        self.table.sizes[row] = header.size
        if self._is_new(row, content):
            self._measure(row, decode(content, header, _divisor(header)))

    def _look_at_pixels(self, row: int, image: Image) -> None:
        self.table.sizes[row] = image.shape[:2]
        if self._is_new(row, str(image.shape).encode() + image.tobytes()):
            self._measure(row, image)

    def _is_new(self, row: int, content: bytes) -> bool:
        digest = hashlib.blake2b(content, digest_size=16).digest()
        self.table.content[row] = np.frombuffer(digest, np.uint64)
        with self._lock:
            first = self._first.setdefault(digest, row)
            if first != row:
                self._copies.append((row, first))
        return first == row

    def _measure(self, row: int, image: Image) -> None:
        table, small = self.table, shrunk(image)
        red, green, blue = cv2.split(small)
        apart = max(cv2.norm(red, green, cv2.NORM_INF), cv2.norm(green, blue, cv2.NORM_INF))
        gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        darkest, brightest, *_ = cv2.minMaxLoc(gray)
        mean, deviation = cv2.meanStdDev(gray)
        _, edges = cv2.meanStdDev(cv2.Laplacian(gray, cv2.CV_16S))
        table.brightness[row], table.contrast[row], table.sharpness[row] = mean[0, 0], deviation[0, 0], edges[0, 0] ** 2
        table.gray[row], table.blank[row] = apart <= GRAY_TOLERANCE, brightest - darkest <= BLANK_RANGE
        tile = cv2.resize(gray, (2 * THUMBNAIL, 2 * THUMBNAIL), interpolation=cv2.INTER_AREA)
        table.thumbnails[row] = cv2.resize(tile, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
        table.perceptual[row] = perceptual_hash(tile)


def _divisor(header: PictureHeader) -> int:
    """What a JPEG's sides can be divided by while it is decoded, without falling short of :data:`SIDE`."""
    if header.kind != "jpeg":
        return 1
    return max(divisor for divisor in (1, 2, 4, 8) if divisor == 1 or max(header.size) >= divisor * SIDE)


def shrunk(image: Image) -> cv2.typing.MatLike:
    """The picture with its longest side at :data:`SIDE` pixels; smaller pictures as they are."""
    height, width = image.shape[:2]
    longest = max(height, width)
    if longest <= SIDE:
        return image
    small: cv2.typing.MatLike = image
    factor = min(longest // SIDE, height, width)
    if factor > 1:
        # Whole factors average areas fast; less than a factor of rows or columns is left out at the edge.
        rows, columns = height // factor, width // factor
        small = image[: rows * factor, : columns * factor]
        small = cv2.resize(small, (columns, rows), interpolation=cv2.INTER_AREA)
    size = max(1, round(width * SIDE / longest)), max(1, round(height * SIDE / longest))
    return cv2.resize(small, size, interpolation=cv2.INTER_LINEAR)


def perceptual_hash(tile: cv2.typing.MatLike) -> np.uint64:
    """The 64 bits of :attr:`Survey.perceptual` of a 32 x 32 gray picture."""
    low = cv2.dct(np.asarray(tile, np.float32))[_ROWS, _COLUMNS]
    middle = np.sort(low)[31:33].mean()
    return np.packbits(low > middle).view(np.uint64)[0]
