"""The magnitudes of a tensor, collected picture by picture in bounded memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float32] | NDArray[np.float64]

BINS = 2048


class Histogram:
    """Counts of ``|x|`` in :data:`BINS` equal bins from zero.

    A larger number than any before doubles the width of the bins until it fits, and joins their counts in pairs: so
    no picture must be seen twice, and nothing is lost but resolution.

    Attributes:
        counts: ``[BINS]``.
        width: of a bin; 0 as long as every number was zero.
        peak: largest magnitude.
        channel_peaks: ``[c]`` the same by channel (the second axis); empty before the first tensor.
        channel_means: ``[c]`` of the numbers with their signs; likewise.
    """

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros(BINS, np.int64)
        self.width = 0.0
        self.peak = 0.0
        self.channel_peaks: NDArray[np.float64] = np.zeros(0)
        self.channel_means: NDArray[np.float64] = np.zeros(0)
        self._tensors = 0

    def add(self, values: Real) -> None:
        """Count the numbers of a tensor ``[b, c, ...]``.

        Raises:
            ValueError: some are no numbers.
        """
        magnitudes = np.abs(values)
        peak = float(magnitudes.max(initial=0.0))
        if not np.isfinite(peak):
            raise ValueError("a tensor holds NaN or infinity")
        others = tuple(k for k in range(magnitudes.ndim) if k != 1)
        self._count_channels(magnitudes.max(others).astype(np.float64), values.mean(others, dtype=np.float64))
        self._widen(peak)
        self.peak = max(self.peak, peak)
        if self.width == 0.0:
            self.counts[0] += magnitudes.size
            return
        in_bins = np.divide(magnitudes.ravel(), self.width, dtype=np.float64)  # float32 has no width below 1e-45
        places = np.minimum(in_bins.astype(np.int64), BINS - 1)
        self.counts += np.bincount(places, minlength=BINS)

    def _count_channels(self, peaks: NDArray[np.float64], means: NDArray[np.float64]) -> None:
        first = self._tensors == 0
        self._tensors += 1
        self.channel_peaks = peaks if first else np.maximum(self.channel_peaks, peaks)
        self.channel_means = means if first else self.channel_means + (means - self.channel_means) / self._tensors

    def _widen(self, peak: float) -> None:
        if self.width == 0.0:
            self.width = peak / BINS  # zeros counted so far stay in the first bin
        while self.width and peak > self.width * BINS:
            self.counts = np.concatenate([self.counts.reshape(-1, 2).sum(1), np.zeros(BINS // 2, np.int64)])
            self.width *= 2

    @property
    def centres(self) -> NDArray[np.float64]:
        """Middle of each bin."""
        return np.arange(0.5, BINS, dtype=np.float64) * self.width
