"""What trials teach a search about its rules: a rule is believed as far as those that follow it do better.

The odds of a rule are multiplied by the squared odds that a trial which follows it beats one that departs from it (the
area under the ROC curve, with two imagined trials a side that know nothing). So one that is borne out narrows the
search, one that is contradicted lets go of it, and one that makes no difference stays as it was. Where the best trial
departs from most rules at once, all of them are set aside for as long: that takes two trials to see, not dozens.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehone.search.origins import follows, subject_of
from edgehone.space import Prefer, SearchSpace, flatten
from edgehone.strategy import Strategy

LEAST_TRIALS = 2
"""A rule with fewer on either side keeps its confidence."""
IMAGINED = 2.0
MOSTLY, TOGETHER = 0.5, 4
"""The best trial follows such a share of the rules, or they are set aside; fewer than four are judged one by one."""
LEAST, MOST = 0.02, 0.95
"""Confidences stay between: no rule is ever lost, and none is beyond doubt."""

Following = tuple[float, ...]
"""Of a strategy, a rule each: 1 follows it, 0 departs from it, NaN has no such setting."""


class Experience:
    """The rules of a space, and what trials say of them.

    Attributes:
        space: as the rules made it.
        rules: the preferences that count, one a setting.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.rules = list({prior.subject: prior for prior in space.priors if isinstance(prior, Prefer)}.values())
        self._subjects = [subject_of(rule) for rule in self.rules]

    def following(self, strategy: Strategy) -> Following:
        """Which rules a strategy follows."""
        flat = flatten(strategy)
        return tuple(
            float(follows(flat[rule.path], rule.value, dimension)) if rule.applies(flat) else np.nan
            for rule, dimension in zip(self.rules, self._subjects, strict=True)
        )

    def taught(self, ranked: Sequence[Following]) -> SearchSpace:
        """The space with the rules as confident as trials allow, given what those followed, the best first."""
        table = np.array(ranked, np.float64).reshape(len(ranked), len(self.rules))
        if len(table) and followed_share(table[0]) < MOSTLY:
            return self.space.blind()
        taught: dict[Any, Prefer] = {}
        for rule, column in zip(self.rules, table.T, strict=True):
            followed = column[~np.isnan(column)] == 1.0
            taught[rule.subject] = rule.model_copy(update={"confidence": revised(rule.confidence, followed.tolist())})
        priors = tuple(taught.get(p.subject, p) if isinstance(p, Prefer) else p for p in self.space.priors)
        return dataclasses.replace(self.space, priors=priors)


def followed_share(following: NDArray[np.float64]) -> float:
    """Of the rules that speak about a strategy; all, where few do."""
    spoken = following[~np.isnan(following)]
    return float(spoken.mean()) if len(spoken) >= TOGETHER else 1.0


def revised(confidence: float, followed: Sequence[bool]) -> float:
    """The confidence of a rule after trials.

    Args:
        confidence: before, in 0..1.
        followed: whether each trial followed it, the best first.
    """
    sides = np.array(followed, np.bool_)
    fewer = min(int(sides.sum()), int((~sides).sum()))
    if fewer < LEAST_TRIALS:
        return confidence
    beaten = np.cumsum(~sides[::-1])[::-1]  # departures behind each place
    wins = float(beaten[sides].sum()) / (int(sides.sum()) * int((~sides).sum()))
    better = (wins * fewer + 0.5 * IMAGINED) / (fewer + IMAGINED)
    odds = confidence / (1 - confidence) * (better / (1 - better)) ** 2
    return float(min(max(odds / (1 + odds), LEAST), MOST))
