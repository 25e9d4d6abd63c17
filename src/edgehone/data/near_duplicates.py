"""Groups of pictures that show the same: equal files, and the same view stored or lit a little differently."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components  # pyright: ignore[reportUnknownVariableType]

from edgehone.data.survey import Survey

BANDS = 4
"""Bands of 16 bits of the perceptual hash, one of which a pair must share: any 3 bits may differ."""

WINDOW = 128
"""How many of those that share a band, in the order of the whole hash, a picture is compared with."""

NEAR_BITS = 12
"""Most bits of the perceptual hash in which near duplicates differ."""

NEAR_CORRELATION = 0.95
"""Least normalised correlation of the thumbnails of near duplicates."""

PAIRS = 1 << 14
"""Pairs of thumbnails that are compared at once."""

_BITS_SET = np.array([bin(number).count("1") for number in range(1 << 16)], np.uint8)


def near_duplicates(survey: Survey, *, bits: int = NEAR_BITS, correlation: float = NEAR_CORRELATION) -> list[list[int]]:
    """Groups of two or more rows, each ascending, in the order of their first rows.

    Rows of equal content belong together, and so do rows whose hashes differ in at most ``bits`` and whose thumbnails
    correlate by at least ``correlation``, and whatever is connected by such pairs. All pairs that differ in up to 3
    bits are looked at, unless more than :data:`WINDOW` pictures share the first band that they share; of those
    that differ in more, most. Blank pictures, which all look the same, are grouped by content alone.
    """
    first = _first_of_content(survey.content)
    groups = _Groups(first)
    rows = np.flatnonzero((first == np.arange(len(first))) & survey.readable & ~survey.blank)
    for left, right in _candidates(survey.perceptual, rows):
        apart = groups.apart(left, right)
        left, right = left[apart], right[apart]
        near = hamming(survey.perceptual[left], survey.perceptual[right]) <= bits
        left, right = left[near], right[near]
        alike = thumbnail_correlation(survey.thumbnails, left, right) >= correlation
        groups.join(left[alike], right[alike])
    return groups.listed()


def equal_content(survey: Survey) -> list[list[int]]:
    """Groups of two or more rows of equal content, each ascending, in the order of their first rows."""
    return _Groups(_first_of_content(survey.content)).listed()


def _first_of_content(content: NDArray[np.uint64]) -> NDArray[np.intp]:
    """For each row the first one with the same content; a row without content is its own."""
    _, first, inverse = np.unique(content, axis=0, return_index=True, return_inverse=True)
    found = first[inverse.reshape(-1)]
    empty = ~content.any(1)
    found[empty] = np.flatnonzero(empty)
    return found


class _Groups:
    """Rows that belong together so far."""

    def __init__(self, label: NDArray[np.intp]) -> None:
        self.label = label.copy()
        self._pending: list[NDArray[np.intp]] = []
        self._pending_pairs = 0

    def apart(self, left: NDArray[np.intp], right: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Pairs that are not known to belong together."""
        return self.label[left] != self.label[right]

    def join(self, left: NDArray[np.intp], right: NDArray[np.intp]) -> None:
        """Put pairs together."""
        self._pending.append(np.stack([self.label[left], self.label[right]]))
        self._pending_pairs += len(left)
        # Many thousands that look the same are connected by few pairs; the others need no comparison.
        if self._pending_pairs > len(self.label) // 8:
            self._settle()

    def listed(self) -> list[list[int]]:
        """Groups of two and more."""
        self._settle()
        order = np.argsort(self.label, kind="stable")
        borders = np.flatnonzero(np.diff(self.label[order])) + 1
        groups = [group.tolist() for group in np.split(order, borders) if len(group) > 1]
        return sorted(groups)

    def _settle(self) -> None:
        left, right = np.concatenate([np.zeros((2, 0), np.intp), *self._pending], axis=1)
        n = len(self.label)
        graph = coo_array((np.ones(len(left), bool), (left, right)), (n, n))
        self.label = _components(graph)[self.label]
        self._pending, self._pending_pairs = [], 0


def _components(graph: coo_array) -> NDArray[np.intp]:
    """The number of each node's connected component."""
    _, component = cast("tuple[int, NDArray[np.int32]]", connected_components(graph, directed=False))
    return component.astype(np.intp)


def _candidates(
    hashes: NDArray[np.uint64], rows: NDArray[np.intp]
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Pairs of rows that share a band of their hashes, once each; as many at a time as there are rows, at most."""
    for band in range(BANDS):
        key = (hashes[rows] >> np.uint64(16 * band)) & np.uint64(0xFFFF)
        order = np.lexsort((hashes[rows], key))
        ordered, key = rows[order], key[order]
        live = np.arange(len(rows))
        for lag in range(1, WINDOW + 1):
            live = live[live + lag < len(rows)]
            live = live[key[live] == key[live + lag]]
            if not len(live):
                break
            left, right = ordered[live], ordered[live + lag]
            new = (_words(hashes[left] ^ hashes[right])[:, :band] != 0).all(1)
            yield left[new], right[new]


def _words(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """``[n, 4]``, the bands of hashes, lowest first."""
    return (hashes[:, None] >> (np.uint64(16) * np.arange(BANDS, dtype=np.uint64))) & np.uint64(0xFFFF)


def hamming(left: NDArray[np.uint64], right: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Bits in which two rows of hashes differ."""
    return _BITS_SET[_words(left ^ right)].sum(1, dtype=np.int64)


def thumbnail_correlation(
    thumbnails: NDArray[np.uint8], left: NDArray[np.intp], right: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Pearson's correlation of pairs of thumbnails, -1..1; 0 where one of them is flat."""
    found = np.zeros(len(left), np.float32)
    for start in range(0, len(left), PAIRS):
        part = slice(start, start + PAIRS)
        a, b = (_centred(thumbnails[rows[part]]) for rows in (left, right))
        norms = np.sqrt((a * a).sum(1) * (b * b).sum(1))
        found[part] = (a * b).sum(1) / np.maximum(norms, 1e-6)
    return found


def _centred(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    flat = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    return flat - flat.mean(1, keepdims=True)
