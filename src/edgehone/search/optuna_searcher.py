"""Optuna's samplers behind the seam: the tree-structured Parzen estimator and the Gaussian process.

Optuna (Akiba et al., 2019) refuses to prune studies of several objectives and compares results of one fidelity only.
It is therefore told one number a strategy: its place in our own order (who was promoted, then Pareto front, then
crowding), which is all that the Parzen estimator uses of a score. Its study is made anew for each suggestion from what
we know, so that nothing of it has to be saved.
"""

from __future__ import annotations

import warnings
from typing import Any, Literal, cast

import numpy as np

from edgehone.errors import UsageError
from edgehone.search.searcher import History, Result, Suggestion
from edgehone.space import Choice, Dimension, SearchSpace, fingerprint, flatten
from edgehone.strategy import Strategy

MEMORY = {"tpe": 200, "gp": 40}
"""Results that a sampler is told, so that a suggestion takes about a second whatever was tried: half of them the best,
half the last."""

STARTUP, STARTING_SHARE = 10, 1 / 4
"""Strategies whose results a sampler needs, drawn at random: so many, or this share of a short search."""


class OptunaSearcher(History):
    """``tpe`` is multivariate and splits a conditional space into groups; ``gp`` models what all strategies share."""

    def __init__(self, space: SearchSpace, seed: int, kind: Literal["tpe", "gp"], trials: int) -> None:
        super().__init__(space, seed)
        self.kind = kind
        self.startup = min(STARTUP, max(2, round(STARTING_SHARE * trials)))
        self.optuna = _import_optuna()
        self._told: dict[str, tuple[dict[str, Any], dict[str, Any]] | None] = {}
        self._domains: dict[str, Any] = {}

    def draw(self, number: int, rng: np.random.Generator) -> Suggestion:
        """See :class:`History`."""
        if number == 0:
            return Suggestion(cast(Strategy, self.space.preferred()), "the defaults", trusted=True)
        if len(self.best) < self.startup:
            return Suggestion(cast(Strategy, self.space.sample(rng)), "drawn at random")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # experimental options, and trials that lack a dimension
            trial = self._study(int(rng.integers(2**31))).ask()

            def choose(dimension: Dimension, value: Any) -> Any:
                del value
                name = self._name(dimension)
                if isinstance(dimension.domain, Choice):
                    return trial.suggest_categorical(name, self.space.allowed(dimension))
                return dimension.at(trial.suggest_float(name, 0.0, 1.0))

            strategy = cast(Strategy, self.space.fill(self.space.base, choose))
        return Suggestion(strategy, f"Optuna's {self.kind}")

    def _study(self, seed: int) -> Any:
        """A study that knows what counts."""
        samplers = self.optuna.samplers
        sampler = (
            samplers.TPESampler(seed=seed, multivariate=True, group=True, n_startup_trials=1)
            if self.kind == "tpe"
            else samplers.GPSampler(seed=seed, n_startup_trials=1)
        )
        study = self.optuna.create_study(sampler=sampler, direction="maximize")
        ranked = self.ranked()
        place = {id(result): 1 - index / len(ranked) for index, result in enumerate(ranked)}
        half = MEMORY[self.kind] // 2
        recent = list(self.best.values())[-half:]
        for result in {id(r): r for r in (*ranked[:half], *recent)}.values():
            known = self._parameters(result)
            if known is not None:
                params, distributions = known
                study.add_trial(
                    self.optuna.trial.create_trial(params=params, distributions=distributions, value=place[id(result)])
                )
        return study

    def _parameters(self, result: Result) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """A strategy in Optuna's form; None where it lies outside the space."""
        key = fingerprint(result.strategy)
        if key not in self._told:
            self._told[key] = self._translated(result.strategy)
        return self._told[key]

    def _translated(self, strategy: Strategy) -> tuple[dict[str, Any], dict[str, Any]] | None:
        flat = flatten(strategy)
        params: dict[str, Any] = {}
        distributions: dict[str, Any] = {}
        for dimension in self.space.active(strategy):
            name, value = self._name(dimension), flat[dimension.path]
            if isinstance(dimension.domain, Choice):
                if value not in self.space.allowed(dimension):
                    return None
            else:
                value = dimension.domain.unit(float(value))
            params[name] = value
            distributions[name] = self._domain(dimension)
        return params, distributions

    def _domain(self, dimension: Dimension) -> Any:
        """Categories, or how far along its span a number lies."""
        name = self._name(dimension)
        if name not in self._domains:
            distributions = self.optuna.distributions
            self._domains[name] = (
                distributions.CategoricalDistribution(self.space.allowed(dimension))
                if isinstance(dimension.domain, Choice)
                else distributions.FloatDistribution(0.0, 1.0)
            )
        return self._domains[name]

    def _name(self, dimension: Dimension) -> str:
        """One path may mean different things under different kinds: each is a parameter of its own."""
        return dimension.path + "".join(f"@{kind}" for _, kind in dimension.when)


def _import_optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise UsageError("the searchers tpe and gp need Optuna: pip install 'edgehone[optuna]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return cast(Any, optuna)
