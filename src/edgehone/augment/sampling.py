"""How often each picture is shown in an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edgehone.space import Settings, Span

Labels = Sequence[NDArray[np.int64]]
"""The classes of the objects of each picture, without regions to ignore."""

Repeats = NDArray[np.float64]
"""``[n]``, how often each picture is shown in an epoch, in the mean; adds up to a whole number."""


class UniformSampling(Settings):
    """Every picture once."""

    kind: Literal["uniform"] = "uniform"

    def repeats(self, labels: Labels) -> Repeats:
        """See :data:`Repeats`."""
        return np.ones(len(labels))


class RepeatFactor(Settings):
    """Pictures with a rare class more often, epochs longer.

    A class ``c`` in a share ``f(c)`` of the pictures has the factor ``max(1, sqrt(threshold / f(c)))``, a
    picture the largest factor of its classes. Source: Gupta et al. 2019 (LVIS), arXiv 1908.03195.

    Attributes:
        threshold: share of pictures below which a class is rare.
    """

    kind: Literal["repeat_factor"] = "repeat_factor"
    threshold: Annotated[float, Span(0.01, 0.5, log=True), Field(gt=0.0, le=1.0)] = 0.1

    def repeats(self, labels: Labels) -> Repeats:
        """See :data:`Repeats`."""
        holds = _holds(labels)
        share = holds.mean(axis=0) if len(labels) else np.zeros(0)
        factors = np.maximum(1.0, np.sqrt(self.threshold / np.maximum(share, 1e-12)))
        return _whole(np.where(holds, factors, 1.0).max(axis=1, initial=1.0))


class ClassBalanced(Settings):
    """A class drawn uniformly, then a picture that has it; an epoch is as long as before.

    Source: the class-aware sampling of Shen, Lin and Huang 2016, "Relay Backpropagation for Effective Learning
    of Deep Convolutional Neural Networks". Pictures without objects are shown once.

    Attributes:
        strength: exponent of how often a picture is shown: 1 balances fully, 0 is uniform.
    """

    kind: Literal["class_balanced"] = "class_balanced"
    strength: Annotated[float, Span(0.2, 1.0), Field(ge=0.0, le=1.0)] = 1.0

    def repeats(self, labels: Labels) -> Repeats:
        """See :data:`Repeats`."""
        holds = _holds(labels)
        filled = holds.any(axis=1)
        wanted = np.ones(len(labels))
        if filled.any():
            per_class = holds.sum(axis=0)
            used = per_class > 0
            mean = (holds[:, used] / per_class[used]).mean(axis=1) * filled.sum()
            wanted[filled] = mean[filled] ** self.strength
            wanted[filled] *= filled.sum() / wanted[filled].sum()
        return _whole(wanted)


Sampling = Annotated[UniformSampling | RepeatFactor | ClassBalanced, Field(discriminator="kind")]
"""Every way to sample pictures."""


def _holds(labels: Labels) -> NDArray[np.bool_]:
    """``[n, classes]``, whether a picture has an object of a class."""
    count = max((int(classes.max()) + 1 for classes in labels if len(classes)), default=0)
    holds = np.zeros((len(labels), count), dtype=np.bool_)
    for row, classes in enumerate(labels):
        holds[row, classes] = True
    return holds


def _whole(repeats: Repeats) -> Repeats:
    """Scaled (by less than half a picture in all) to add up to a whole number."""
    total = repeats.sum()
    return repeats * (max(1, round(float(total))) / total) if len(repeats) else repeats
