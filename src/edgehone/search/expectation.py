"""What trials let a search expect of strategies that it has not tried: a Gaussian process over all of them.

One kernel spans the searched dimensions and the length of the training (Rasmussen and Williams, 2006): strategies that
are alike speak for each other, and a short training speaks for a long one as far as lengths are alike. Asked about
candidates, it draws what all of them may be worth together (Thompson sampling: Russo et al., 2018), so that what is
unknown gets its chance. With several objectives each question weighs them at random (ParEGO: Knowles, 2006).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor  # pyright: ignore[reportMissingTypeStubs]
from sklearn.gaussian_process.kernels import (  # pyright: ignore[reportMissingTypeStubs]
    ConstantKernel,
    Matern,
    WhiteKernel,
)
from threadpoolctl import threadpool_limits

from edgehone.space import Choice, SearchSpace, Span, flatten
from edgehone.space.search_space import declared
from edgehone.strategy import Strategy

LEAST, GROWTH = 8, 1.3
"""Fewer results teach nothing; the kernel is fitted anew whenever they have grown by that factor."""

MEMORY = 200
"""Results that are remembered, half of them the best, half the last: a question takes a fraction of a second."""

A_RUNG = 0.5
"""Between neighbouring rungs, where 1 lies between the ends of a span."""

LENGTH, NOISE = 1.5, 0.1
"""Where the fit of the kernel begins: its length, and the variance between equals as a share of all."""

Rows = NDArray[np.float64]


@dataclass(frozen=True)
class Training:
    """What is known of one: its strategy and that one's fingerprint, its rung, its values (None: it diverged)."""

    key: str
    strategy: Strategy
    rung: int
    values: tuple[float, ...] | None


class Expectation:
    """Learns from trainings in the order in which they end; the same order teaches the same."""

    def __init__(self, space: SearchSpace) -> None:
        searched = [d for d in declared(type(space.base)) if d.path not in space.fixed]
        self._coders = [(d.path, d.when, _coder(d.domain)) for d in searched]
        self._known: list[Training] = []
        self._codes: dict[str, Rows] = {}
        self._kernel: tuple[int, Any] = (0, None)
        """Of the first so many trainings."""

    def learn(self, training: Training) -> None:
        """One more."""
        self._known.append(training)

    @property
    def ready(self) -> bool:
        """Whether it has something to say."""
        return sum(training.values is not None for training in self._known) >= LEAST

    def draw(self, strategies: Sequence[Strategy], rng: np.random.Generator) -> Rows:
        """``[strategies]`` what they may be worth in a training of the longest kind so far, in no particular unit."""
        with threadpool_limits(1):  # small tables, and the cores are at work on trainings
            return self._draw(strategies, rng)

    def _draw(self, strategies: Sequence[Strategy], rng: np.random.Generator) -> Rows:
        objectives = next(len(training.values) for training in self._known if training.values is not None)
        weights = rng.dirichlet(np.ones(objectives))
        fitted_on = LEAST
        while (longer := int(np.ceil(GROWTH * fitted_on))) <= len(self._known):
            fitted_on = longer
        if self._kernel[0] != fitted_on:
            equal = np.full(objectives, 1 / objectives)
            self._kernel = fitted_on, _fitted(_begun(), *self._table(self._known[:fitted_on], equal)).kernel_
        kernel = self._kernel[1]
        process = _fitted(kernel, *self._table(self._known, weights), optimizer=None)
        top = max(training.rung for training in self._known)
        asked = np.stack([_beside(self._code(strategy), top) for strategy in strategies])
        mean, covariance = process.predict(asked, return_cov=True)
        spread = covariance - kernel.k2.noise_level * np.eye(len(mean))  # of what is true, not of what is measured
        return mean + rng.multivariate_normal(np.zeros(len(mean)), spread, check_valid="ignore")

    def _table(self, known: Sequence[Training], weights: Rows) -> tuple[Rows, Rows]:
        """``[n, numbers]`` and ``[n]``: the remembered trainings, their worth with mean 0 and standard deviation 1."""
        worth = _worth(known, weights)
        best = np.argsort(-worth, kind="stable")[: MEMORY // 2].tolist()
        kept = sorted({*best, *range(max(0, len(known) - MEMORY // 2), len(known))})
        for k in kept:
            if known[k].key not in self._codes:
                self._codes[known[k].key] = self._code(known[k].strategy)
        x = np.stack([_beside(self._codes[known[k].key], known[k].rung) for k in kept])
        y = worth[kept]
        return x, (y - y.mean()) / (y.std() or 1.0)

    def _code(self, strategy: Strategy) -> Rows:
        """Every dimension as numbers, two different choices 1 apart; half-way where it does not exist."""
        flat = flatten(strategy)
        numbers: list[float] = []
        for path, when, code in self._coders:
            exists = path in flat and all(flat.get(where) == kind for where, kind in when)
            numbers += code(flat[path] if exists else None)
        return np.array(numbers)


Coder = Callable[[Any], Sequence[float]]
"""Of a value, None where there is none."""


def _coder(domain: Span | Choice) -> Coder:
    if isinstance(domain, Span):
        return lambda value: (0.5,) if value is None else (domain.unit(float(value)),)
    values = domain.values
    if any(isinstance(each, str) for each in values):
        apart = {value: tuple(float(value == each) / np.sqrt(2) for each in values) for value in values}
        nowhere = (0.0,) * len(values)
        return lambda value: apart.get(value, nowhere)
    # In order, as sizes are.
    places = {value: k / max(len(values) - 1, 1) for k, value in enumerate(values)}
    return lambda value: (places.get(value, 0.5),)


def _beside(code: Rows, rung: int) -> Rows:
    return np.append(code, A_RUNG * rung)


def _begun() -> Any:
    kernel = cast(Any, Matern)(LENGTH, (0.5, 10.0), nu=2.5)
    return cast(Any, ConstantKernel)(1.0, (0.1, 10.0)) * kernel + cast(Any, WhiteKernel)(NOISE, (1e-2, 1.0))


def _fitted(kernel: Any, x: Rows, y: Rows, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a kernel at the end of its bounds is meant to stay there
        return cast(Any, GaussianProcessRegressor)(kernel, alpha=1e-6, **options).fit(x, y)


def _worth(known: Sequence[Training], weights: Rows) -> Rows:
    """``[n]`` of each training, as if all were of the shortest kind; what diverged is worth as much as the worst."""
    alike = _alike(known, len(weights))
    if np.isnan(alike).all():
        return np.zeros(len(known))
    low, high = np.nanmin(alike, 0), np.nanmax(alike, 0)
    shares = (alike - low) / np.where(high > low, high - low, 1.0)
    return np.nan_to_num(shares, nan=0.0) @ weights


def _alike(known: Sequence[Training], objectives: int) -> Rows:
    """``[n, objectives]``: values of longer trainings divided by what the same strategies gain from the length."""
    values = np.array([t.values if t.values is not None else (np.nan,) * objectives for t in known], float)
    scale = np.ones(objectives)
    lower: dict[str, int] = {}
    for rung in sorted({training.rung for training in known}):
        here = {training.key: k for k, training in enumerate(known) if training.rung == rung}
        both = [
            (lower[key], k) for key, k in here.items() if key in lower and not np.isnan(values[[lower[key], k]]).any()
        ]
        if both:
            before, after = (values[list(side)].sum(0) for side in zip(*both, strict=True))
            ratio = np.divide(after, before, out=np.ones(objectives), where=before != 0)
            scale = np.where(ratio > 0, ratio, 1.0)
        values[[k for k, training in enumerate(known) if training.rung == rung]] /= scale
        lower = here
    return values
