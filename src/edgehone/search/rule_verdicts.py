"""What each rule claimed, held against the trials: those that follow it with those that do not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from edgehone.search.importance import AP_OF, Scoring, fullest_rung
from edgehone.search.origins import follows, subject_of
from edgehone.search.trial import Outcome
from edgehone.space import Dimension, Prefer, Prior, Settings, flatten
from edgehone.types import Json

Verdict = Literal["borne out", "contradicted", "undecided", "not tested"]

LEAST_TRIALS = 3
"""A side with fewer trials decides nothing."""


class RuleVerdict(Settings):
    """A rule's claim and what became of it.

    Attributes:
        path: of the setting, ``value`` what the rule wants there, ``confidence`` how sure it is, ``because`` why.
        followed: trials with that value (or, on a span, near it); ``departed`` trials with another.
        difference: mean AP of those that followed less that of those that departed; None where a side is empty.
        interval95: of the difference, Welch's; None where a side has fewer than two.
        verdict: ``not tested`` where a side is empty; ``borne out`` or ``contradicted`` only where the interval leaves
            out zero and both sides hold at least three trials.
    """

    path: str
    value: Json
    confidence: float
    because: str
    followed: int
    departed: int
    difference: float | None
    interval95: tuple[float, float] | None
    verdict: Verdict


def rule_verdicts(priors: Sequence[Prior], outcomes: Sequence[Outcome], score: Scoring = AP_OF) -> list[RuleVerdict]:
    """The verdict on every preference; of several for one setting the last counts, as it does in the search.

    Trials are compared within the rung that holds most strategies. They differ in other settings, too, so a verdict
    is about the company that a value kept, not about the value alone: that is what ablations are for.
    """
    trials = fullest_rung(outcomes)
    preferred = {prior.subject: prior for prior in priors if isinstance(prior, Prefer)}
    scored = [(flatten(outcome.task.job.strategy), score(outcome)) for outcome in trials]
    return [_verdict(prior, subject_of(prior), scored) for prior in preferred.values()]


def _verdict(prior: Prefer, dimension: Dimension | None, trials: Sequence[tuple[dict[str, Any], float]]) -> RuleVerdict:
    sides: dict[bool, list[float]] = {True: [], False: []}
    for settings, score in trials:
        value = settings.get(prior.path) if prior.applies(settings) else None
        if value is not None:
            sides[follows(value, prior.value, dimension)].append(score)
    followed, departed = np.array(sides[True]), np.array(sides[False])
    difference, interval = None, None
    verdict: Verdict = "not tested"
    if len(followed) and len(departed):
        difference, verdict = round(float(followed.mean() - departed.mean()), 4), "undecided"
        if min(len(followed), len(departed)) >= 2:
            interval = interval95(followed, departed)
        if interval is not None and min(len(followed), len(departed)) >= LEAST_TRIALS:
            verdict = "borne out" if interval[0] > 0 else "contradicted" if interval[1] < 0 else "undecided"
    return RuleVerdict(
        path=prior.path,
        value=prior.value,
        confidence=prior.confidence,
        because=prior.because,
        followed=len(followed),
        departed=len(departed),
        difference=difference,
        interval95=interval,
        verdict=verdict,
    )


def interval95(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float]:
    """Of the difference of two means, by Student's t with Welch's degrees of freedom (Welch, 1947)."""
    difference = float(first.mean() - second.mean())
    squares = [float(side.var(ddof=1)) / len(side) for side in (first, second)]
    error = math.sqrt(sum(squares))
    if error == 0:
        return round(difference, 4), round(difference, 4)
    freedom = sum(squares) ** 2 / sum(s**2 / (len(side) - 1) for s, side in zip(squares, (first, second), strict=True))
    half = float(stdtrit(freedom, 0.975)) * error
    return round(difference - half, 4), round(difference + half, 4)
