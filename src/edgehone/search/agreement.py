"""How far short trainings can be trusted: rank correlation between rungs, with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from scipy.stats import kendalltau, rankdata  # pyright: ignore[reportUnknownVariableType]

from edgehone.space import Settings

FEWEST = 6
"""Trials in both rungs, below which an interval says nothing."""

TRUSTED = 0.5
"""A rung whose correlation with the next is above this, at the lower end of its interval, ranks well enough; one that
is below it at the upper end does not."""

STRICTER, MORE_GENEROUS = 2 / 3, 4 / 3


class RungAgreement(Settings):
    """Rank correlation of two neighbouring rungs over the trials that both hold.

    Attributes:
        lower: name of the shorter rung; ``upper`` of the next.
        trials: in both. Only promoted ones are, which makes the correlation look smaller than it is.
        tau: Kendall's; None with fewer than three trials or where one side is all ties.
        rho: Spearman's, likewise.
        interval95: of rho; None with fewer than :data:`FEWEST` trials.
    """

    lower: str
    upper: str
    trials: int
    tau: float | None
    rho: float | None = None
    interval95: tuple[float, float] | None = None

    @property
    def promotion(self) -> float:
        """What the planned number of promotions is multiplied with."""
        if self.interval95 is None:
            return 1.0
        low, high = self.interval95
        return STRICTER if low > TRUSTED else MORE_GENEROUS if high < TRUSTED else 1.0


def agree(lower: str, upper: str, pairs: Sequence[tuple[float, float]]) -> RungAgreement:
    """From scores of the same trials on both rungs."""
    tau, rho = (None, None) if len(pairs) < 3 else correlations(pairs)
    found = None if rho is None or len(pairs) < FEWEST else spearman_interval(rho, len(pairs))
    return RungAgreement(lower=lower, upper=upper, trials=len(pairs), tau=tau, rho=rho, interval95=found)


def correlations(pairs: Sequence[tuple[float, float]]) -> tuple[float | None, float | None]:
    """Kendall's tau and Spearman's rho; None where one side is all ties."""
    first, second = (np.array(side) for side in zip(*pairs, strict=True))
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return None, None
    ranks = [np.asarray(cast(Any, rankdata)(side), float) for side in (first, second)]
    rho = float(np.corrcoef(ranks[0], ranks[1])[0, 1])
    tau = float(cast(Any, kendalltau(first, second))[0])
    return round(tau, 3), round(rho, 3)


def spearman_interval(rho: float, count: int) -> tuple[float, float]:
    """95 % interval through Fisher's z with the variance of Bonett and Wright (2000)."""
    z = math.atanh(min(max(rho, -0.999), 0.999))
    half = 1.96 * math.sqrt((1 + rho**2 / 2) / (count - 3))
    return round(math.tanh(z - half), 3), round(math.tanh(z + half), 3)
