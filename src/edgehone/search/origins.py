"""Where each value of a found strategy comes from: the defaults, a rule, or a trial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgehone.search.trial import Outcome
from edgehone.space import Dimension, Prefer, Prior, Span, flatten, replace
from edgehone.space.search_space import NEAR, declared
from edgehone.strategy import Strategy
from edgehone.types import Json

NEARLY = 0.01
"""A number this close, relatively, to what a rule prefers is the rule's."""


def value_origins(strategy: Strategy, priors: Sequence[Prior], trials: Sequence[Outcome]) -> dict[str, dict[str, Json]]:
    """The origin of every value.

    Args:
        strategy: the found one.
        priors: what the rules said.
        trials: of the search, in the order in which they ran.

    Returns:
        Dotted path to ``{"from": "default"}``, ``{"from": "rule", "because", "evidence"}`` or
        ``{"from": "trial", "trial", "because"}``: the first trial that had the value, and how its strategy
        came about. ``{"from": "given"}`` is a value that no default, rule or trial has.
    """
    found = flatten(strategy)
    kinds = {path: value for path, value in found.items() if path.endswith(".kind")}
    # A part of another kind than the default's has defaults of its own.
    alike = flatten(replace(Strategy(), kinds))
    plain = flatten(Strategy())
    preferred = {prior.path: prior for prior in priors if isinstance(prior, Prefer) and prior.applies(found)}
    tried = [(outcome, flatten(outcome.task.job.strategy)) for outcome in trials]

    def origin(path: str, value: Json) -> dict[str, Json]:
        usual = plain if path in kinds else alike
        if path in usual and usual[path] == value:
            return {"from": "default"}
        rule = preferred.get(path)
        if rule is not None and nearly(value, rule.value):
            return {"from": "rule", "because": rule.because, "evidence": rule.evidence}
        for outcome, values in tried:
            if path in values and values[path] == value:
                return {"from": "trial", "trial": outcome.task.name, "because": outcome.task.origin}
        return {"from": "given"}

    return {path: origin(path, value) for path, value in found.items()}


def nearly(value: Any, wanted: Any) -> bool:
    """Equal, or numbers within :data:`NEARLY` of each other."""
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (value, wanted))
    if not numbers:
        return bool(value == wanted)
    return abs(value - wanted) <= NEARLY * max(abs(value), abs(wanted))


def subject_of(rule: Prefer) -> Dimension | None:
    """The dimension that a rule speaks of; of several the last."""
    return next((d for d in reversed(declared(Strategy)) if rule.about(d)), None)


def follows(value: Any, wanted: Any, dimension: Dimension | None) -> bool:
    """Whether a setting takes a rule's advice: equal; on a span, as near as a draw that trusts the rule comes."""
    if dimension is None or not isinstance(dimension.domain, Span):
        return nearly(value, wanted)
    domain = dimension.domain
    return abs(domain.unit(float(value)) - domain.unit(float(wanted))) <= NEAR
