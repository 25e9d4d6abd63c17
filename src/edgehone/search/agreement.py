"""How far short trainings can be trusted: rank correlation between rungs, measured and believed.

A search of half an hour promotes three trials, which say little by themselves. So what they say is added to what
earlier searches said (ADR 0042): two strategies come in the same order on both rungs with a probability whose
distribution is a beta, worth :data:`EARLIER_PAIRS` pairs before anything is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from scipy.special import betainc, betaincinv
from scipy.stats import kendalltau, rankdata  # pyright: ignore[reportUnknownVariableType]

from edgehone.space import Settings

EARLIER_TAU = 0.7
"""Kendall's tau of short with full trainings in the feasibility study (ADR 0009), over six to eight strategies."""

EARLIER_PAIRS = 6.0
"""What it counts: half of the independent pairs that eight strategies are worth, for it was another data set."""

FEWEST = 3
"""Trials in both rungs, below which their order is a coin's."""

TRUSTED = 1 / 3
"""Kendall's tau above which a rung ranks well enough (Spearman's rho of about 0.5)."""

STRICTER, MORE_GENEROUS = 2 / 3, 4 / 3


class RungAgreement(Settings):
    """Rank correlation of two neighbouring rungs over the trials that both hold.

    Attributes:
        lower: name of the shorter rung; ``upper`` of the next.
        trials: in both. Only promoted ones are, which makes the correlation look smaller than it is.
        tau: Kendall's, measured; None with fewer than :data:`FEWEST` trials or where one side is all ties.
        rho: Spearman's, likewise.
        believed: Kendall's tau by what was measured and by what earlier searches said.
        interval95: of ``believed``.
        promotion: what the planned number of promotions is multiplied with: 1 where nothing was measured.
    """

    lower: str
    upper: str
    trials: int
    tau: float | None
    rho: float | None = None
    believed: float = EARLIER_TAU
    interval95: tuple[float, float] | None = None
    promotion: float = 1.0


def agree(lower: str, upper: str, pairs: Sequence[tuple[float, float]]) -> RungAgreement:
    """From scores of the same trials on both rungs."""
    tau, rho = (None, None) if len(pairs) < FEWEST else correlations(pairs)
    same, other = believed_pairs(len(pairs), tau)
    low, high = (2 * float(cast(Any, betaincinv)(same, other, at)) - 1 for at in (0.025, 0.975))
    return RungAgreement(
        lower=lower,
        upper=upper,
        trials=len(pairs),
        tau=tau,
        rho=rho,
        believed=round(2 * same / (same + other) - 1, 3),
        interval95=(round(low, 3), round(high, 3)),
        promotion=promotion(same, other),
    )


def believed_pairs(trials: int, tau: float | None) -> tuple[float, float]:
    """Independent pairs of strategies in the same order on both rungs, and in another; earlier searches' included."""
    pairs = 0.0 if tau is None else independent_pairs(trials)
    each = [EARLIER_PAIRS * (1 + sign * EARLIER_TAU) / 2 + pairs * (1 + sign * (tau or 0.0)) / 2 for sign in (1, -1)]
    return each[0], each[1]


def independent_pairs(trials: int) -> float:
    """The pairs of trials overlap; so many independent ones would give Kendall's tau the variance that it has.

    That is ``2 (2n + 5) / (9 n (n - 1))`` where the rungs do not agree at all (Kendall, 1938).
    """
    return 4.5 * trials * (trials - 1) / (2 * trials + 5)


def promotion(same: float, other: float) -> float:
    """Fewer go up the surer it is that a rung ranks well, and more the less sure, from what was sure before."""
    before, now = trust(*believed_pairs(0, None)), trust(same, other)
    if now >= before:
        return 1 - (1 - STRICTER) * (now - before) / (1 - before)
    return 1 + (MORE_GENEROUS - 1) * (before - now) / before


def trust(same: float, other: float) -> float:
    """Probability that Kendall's tau is above :data:`TRUSTED`."""
    return 1 - float(cast(Any, betainc)(same, other, (1 + TRUSTED) / 2))


def correlations(pairs: Sequence[tuple[float, float]]) -> tuple[float | None, float | None]:
    """Kendall's tau and Spearman's rho; None where one side is all ties."""
    first, second = (np.array(side) for side in zip(*pairs, strict=True))
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return None, None
    ranks = [np.asarray(cast(Any, rankdata)(side), float) for side in (first, second)]
    rho = float(np.corrcoef(ranks[0], ranks[1])[0, 1])
    tau = float(cast(Any, kendalltau(first, second))[0])
    return round(tau, 3), round(rho, 3)
