"""Calibrators on distributions whose best range is known; histograms that are filled piece by piece."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgehone.deploy.integer.calibration import (
    CALIBRATORS,
    Calibrator,
    Entropy,
    Max,
    MeanSquare,
    Percentile,
)
from edgehone.deploy.integer.histogram import BINS, Histogram
from edgehone.space.settings import union_types


def seen(*tensors: np.ndarray) -> Histogram:
    histogram = Histogram()
    for tensor in tensors:
        histogram.add(tensor.reshape(1, 1, -1))
    return histogram


def gauss(count: int = 200_000) -> np.ndarray:
    return np.random.default_rng(0).normal(size=count)


def uniform(count: int = 200_000) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, size=count)


def test_every_calibrator_is_tried() -> None:
    assert {type(one) for one in CALIBRATORS} == set(union_types(Calibrator))


@pytest.mark.parametrize("calibrator", CALIBRATORS, ids=lambda one: one.kind)
class TestEveryCalibrator:
    def test_stays_within_what_was_seen(self, calibrator: Calibrator) -> None:
        for values in (gauss(), uniform(), np.full(100, 3.0), np.array([0.0, 5.0])):
            histogram = seen(values)
            assert 0 < calibrator.amax(histogram) <= histogram.peak

    def test_of_zeros_is_zero(self, calibrator: Calibrator) -> None:
        assert calibrator.amax(seen(np.zeros(10))) == 0.0

    def test_follows_the_scale(self, calibrator: Calibrator) -> None:
        one, thousand = calibrator.amax(seen(gauss())), calibrator.amax(seen(1024 * gauss()))
        assert thousand == pytest.approx(1024 * one, rel=1e-6)

    def test_keeps_nearly_all_of_a_uniform_distribution(self, calibrator: Calibrator) -> None:
        assert calibrator.amax(seen(uniform())) > 0.97


def test_an_outlier_moves_only_the_maximum() -> None:
    values = np.append(gauss(), 100.0)
    assert Max().amax(seen(values)) == 100.0
    assert Percentile().amax(seen(values)) < 5
    assert Entropy().amax(seen(values)) < 20
    assert MeanSquare().amax(seen(values)) < 100


def test_a_percentile_is_that_of_numpy() -> None:
    values = np.abs(gauss())
    for percent in (50.0, 90.0, 99.9):
        histogram = seen(values)
        found = Percentile(percent=percent).amax(histogram)
        assert found == pytest.approx(float(np.percentile(values, percent)), abs=2 * histogram.width)


def test_least_squares_of_a_gauss_is_the_published_optimum() -> None:
    """256 levels that lie symmetrically about a Gauss are best 3.9 deviations wide (J. Max, 1960, extended)."""
    values = gauss(400_000)
    found = MeanSquare().amax(seen(values))
    errors = {a: _error(values, a) for a in np.linspace(2.5, values.max(), 40)}
    assert _error(values, found) <= min(errors.values()) * 1.01
    assert found == pytest.approx(3.95, abs=0.25)


def _error(values: np.ndarray, amax: float) -> float:
    step = amax / 127
    return float(((values - np.clip(np.round(values / step), -127, 127) * step) ** 2).mean())


@given(st.lists(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20), min_size=1, max_size=8))
@example([[4.90454462513686e-44]])
@settings(max_examples=60, deadline=None)
def test_pieces_count_like_the_whole_but_for_resolution(pieces: list[list[float]]) -> None:
    parts = [np.array(piece, np.float32) for piece in pieces]
    histogram, whole = seen(*parts), np.abs(np.concatenate(parts)).astype(np.float64)
    assert histogram.counts.sum() == len(whole)
    assert histogram.peak == whole.max()
    if histogram.peak > 1e-30:
        assert histogram.peak <= histogram.width * BINS * (1 + 1e-6)
        for edge in (BINS // 4, BINS // 2):
            near = np.isclose(whole, edge * histogram.width, rtol=1e-5)
            assert abs(int(histogram.counts[:edge].sum()) - int((whole < edge * histogram.width).sum())) <= near.sum()


def test_peaks_are_kept_by_channel_and_no_nonsense_is_counted() -> None:
    histogram = Histogram()
    histogram.add(np.array([[[[1.0, -3.0]], [[0.5, 0.0]]]]))
    histogram.add(np.array([[[[2.0, 0.0]], [[-4.0, 0.0]]]]))
    assert histogram.channel_peaks.tolist() == [3.0, 4.0]
    with pytest.raises(ValueError, match="NaN"):
        histogram.add(np.array([[np.nan]]))
