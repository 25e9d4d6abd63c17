"""Sampling of pictures, against sums worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgehone.augment import ClassBalanced, RepeatFactor, Sampling, UniformSampling
from edgehone.space import union_types

# Class 0 in all ten pictures, class 1 in four, class 2 in one.
LABELS = [np.array([0]) for _ in range(6)] + [np.array([0, 1, 1]) for _ in range(3)] + [np.array([0, 1, 2])]
NONE = np.zeros(0, np.int64)


def test_uniform_is_once_each() -> None:
    assert UniformSampling().repeats(LABELS).tolist() == [1.0] * 10


def test_repeat_factor_is_the_papers() -> None:
    """``max(1, sqrt(t / f))`` of the rarest class, then made whole: 6 + 3 sqrt(1.25) + sqrt(5) is 11.59."""
    repeats = RepeatFactor(threshold=0.5).repeats(LABELS)
    plain = np.array([1.0] * 6 + [np.sqrt(0.5 / 0.4)] * 3 + [np.sqrt(0.5 / 0.1)])
    np.testing.assert_allclose(repeats, plain * 12 / plain.sum())
    assert RepeatFactor(threshold=0.05).repeats(LABELS).tolist() == [1.0] * 10


def test_class_balanced_draws_a_class_first() -> None:
    """A class of three, then one of its pictures: 10 x (1/10 [+ 1/4 [+ 1/1]]) / 3."""
    repeats = ClassBalanced(strength=1.0).repeats(LABELS)
    np.testing.assert_allclose(repeats, [1 / 3] * 6 + [3.5 / 3] * 3 + [13.5 / 3])
    np.testing.assert_allclose(ClassBalanced(strength=0.0).repeats(LABELS), np.ones(10))


@pytest.mark.parametrize("member", union_types(Sampling))
@pytest.mark.parametrize("labels", [LABELS, [*LABELS, NONE, NONE], [NONE] * 3, [np.array([5])]], ids=len)
class TestEveryMember:
    def test_an_epoch_is_a_whole_number_of_pictures(self, member: type, labels: list[np.ndarray]) -> None:
        repeats = member().repeats(labels)
        assert repeats.shape == (len(labels),)
        assert (repeats > 0).all()
        assert repeats.sum() == pytest.approx(round(repeats.sum()), abs=1e-9)

    def test_pictures_without_objects_keep_their_share(self, member: type, labels: list[np.ndarray]) -> None:
        repeats = member().repeats(labels)
        empty = np.array([len(classes) == 0 for classes in labels])
        assert np.abs(repeats[empty] - 1).max(initial=0.0) < 0.05
