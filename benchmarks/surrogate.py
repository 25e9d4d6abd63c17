"""A stand-in for trainings, fitted to recorded ones: what a strategy would score, and how surely.

For each length of training the mean of two models over the dimensions of ``recorded_trainings.py``: a forest of
extremely randomised trees (Geurts et al., 2006), which knows how choices interact, and a Gaussian process, which
knows that the space is smooth. Of unseen trials the one predicts better on one set and length, the other on another;
their mean is nowhere as bad as the worse. A query is answered with it plus the residuals of a trial drawn at random,
the same trial at every length, so that noise is as correlated over lengths as it really is; shrunk until full
trainings are as noisy as two seeds of one strategy were, because most of a residual is what the models do not know.
Trees are grown on draws of the trials, so that the best recorded strategy is not the luckiest one.
How well they predict is measured by cross-validation: a replay says no more than that allows.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recorded_trainings import PATHS, RUNGS, STEPS
from scipy.stats import spearmanr
from sklearn.ensemble import ExtraTreesRegressor, VotingRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from sklearn.model_selection import KFold
from trainings import Row, Table, strategy_of

from edgehone.search.finalists import SEED_NOISE
from edgehone.space import Choice, Dimension, dimensions, flatten
from edgehone.strategy import Strategy

FOLDS, TREES = 10, 100
ENOUGH = 10
"""Second seeds that tell how noisy full trainings are; with fewer, what is known from elsewhere."""

STUDIES = ("random", "informed", "change")


@cache
def domains() -> dict[str, list[Dimension]]:
    """Path to its dimensions: a path may mean another span under another kind."""
    found: dict[str, list[Dimension]] = {}
    for dimension in dimensions(Strategy):
        if dimension.path in PATHS:
            found.setdefault(dimension.path, []).append(dimension)
    return found


def encoded(strategy: Strategy) -> NDArray[np.float64]:
    """``[features]``: choices one-hot, spans as their place between their ends."""
    flat = flatten(strategy)
    features: list[float] = []
    for path, candidates in domains().items():
        value = flat[path]
        first = candidates[0].domain
        if isinstance(first, Choice):
            features += [float(value == option) for option in first.values]
        else:
            own = next((d for d in candidates if all(flat.get(p) == kind for p, kind in d.when)), candidates[0])
            features.append(float(own.domain.unit(float(value))))  # pyright: ignore
    return np.array(features)


@dataclass(frozen=True)
class Surrogate:
    """Fitted to the trials of one data set.

    Attributes:
        x: ``[trials, features]``.
        y: share of the full length to ``[trials]`` AP.
        seconds: share to the mean seconds of a training.
        more_x: ``[strategies, features]`` that were trained in full alone.
        more_y: ``[strategies]`` AP of theirs, mean over seeds.
        seed_noise: standard deviation of a full training between seeds.
    """

    x: NDArray[np.float64]
    y: Mapping[float, NDArray[np.float64]]
    seconds: Mapping[float, float]
    more_x: NDArray[np.float64]
    more_y: NDArray[np.float64]
    seed_noise: float = SEED_NOISE

    @staticmethod
    def of(table: Table) -> Surrogate:
        """From the trials that were trained at every length, and what was trained in full alone."""
        known: dict[tuple[str, int, str], dict[float, Row]] = {}
        for row in table.rows.values():
            if row["study"] in STUDIES:
                name = (row["study"], row["seed"], json.dumps(row["strategy"], sort_keys=True))
                known.setdefault(name, {})[row["steps"] / STEPS] = row
        trials = [known[name] for name in sorted(known) if set(known[name]) >= set(RUNGS)]
        x = np.stack([encoded(strategy_of(trial[RUNGS[-1]])) for trial in trials])
        y = {share: np.array([trial[share]["ap"] for trial in trials]) for share in RUNGS}
        alone: dict[str, list[Row]] = {}
        for (_, _, strategy), lengths in known.items():
            if set(lengths) == {RUNGS[-1]}:
                alone.setdefault(strategy, []).append(lengths[RUNGS[-1]])
        more_x = [encoded(strategy_of(same[0])) for same in alone.values()]
        more_y = [float(np.mean([row["ap"] for row in same])) for same in alone.values()]
        seconds = {s: float(np.mean([trial[s]["seconds"] for trial in trials])) for s in RUNGS}
        more = np.array(more_x).reshape(-1, x.shape[1]), np.array(more_y)
        return Surrogate(x, y, seconds, *more, seed_noise_of(list(known.values()), RUNGS[-1]))

    @cached_property
    def models(self) -> dict[float, Any]:
        """Share to its models."""
        return {share: model().fit(*self.beside(share, self.x, y)) for share, y in self.y.items()}

    @cached_property
    def unseen(self) -> dict[float, NDArray[np.float64]]:
        """Share to the predictions of trials by models that have not seen them."""
        folds = KFold(min(FOLDS, len(self.x)), shuffle=True, random_state=0)
        found = {share: np.zeros(len(self.x)) for share in self.y}
        for seen, hidden in folds.split(self.x):
            for share, y in self.y.items():
                fitted = model().fit(*self.beside(share, self.x[seen], y[seen]))
                found[share][hidden] = fitted.predict(self.x[hidden])
        return found

    def beside(
        self, share: float, x: NDArray[np.float64], y: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What models of a length learn from: trials, and beside them what was trained in full alone."""
        if share != RUNGS[-1]:
            return x, y
        return np.concatenate([x, self.more_x]), np.concatenate([y, self.more_y])

    @cached_property
    def noise(self) -> dict[float, NDArray[np.float64]]:
        """Share to the noise of each trial."""
        residuals = {share: y - self.unseen[share] for share, y in self.y.items()}
        shrunk = min(1.0, self.seed_noise / float(np.std(residuals[max(residuals)])))
        return {share: shrunk * each for share, each in residuals.items()}

    def trustworthiness(self) -> dict[float, float]:
        """Share to Spearman's rank correlation of unseen predictions with what was recorded.

        What was trained in full alone is mostly a second seed of trials: here no model knows them, either.
        """
        none = dataclasses.replace(self, more_x=self.more_x[:0], more_y=self.more_y[:0])
        return {share: float(spearmanr(none.unseen[share], y).statistic) for share, y in self.y.items()}

    def second_seeds(self) -> int:
        """How many of the strategies that were trained in full alone were trained at every length, too."""
        known = {tuple(row) for row in self.x.tolist()}
        return sum(tuple(row) in known for row in self.more_x.tolist())

    def best_recorded(self) -> float:
        """The best noiseless score, in full, of all strategies that were trained."""
        return float(self._mean(np.concatenate([self.x, self.more_x]), RUNGS[-1]).max())

    def mean(self, strategies: Sequence[Strategy], share: float) -> NDArray[np.float64]:
        """What strategies would score, without noise."""
        return self._mean(np.stack([encoded(strategy) for strategy in strategies]), share)

    def _mean(self, x: NDArray[np.float64], share: float) -> NDArray[np.float64]:
        x = x.astype(np.float32)
        trees, process = self.models[share].estimators_
        # The trees are asked one by one: a forest checks its input for longer than it thinks.
        forest = np.mean([tree.tree_.predict(x).ravel() for tree in trees.estimators_], axis=0)
        return (forest + process.predict(x)) / 2

    def answers(self, strategies: Sequence[Strategy], share: float, trials: Sequence[int], seed: int) -> list[float]:
        """Noisy scores; a trial's noise is that of one recorded trial, the same one at every length.

        Args:
            strategies: what is trained.
            share: of the full length.
            trials: number of each in its search.
            seed: of the search.
        """
        noise = [self.noise[share][np.random.default_rng([seed, trial]).integers(len(self.x))] for trial in trials]
        return [max(0.0, float(score)) for score in self.mean(strategies, share) + np.array(noise)]


def seed_noise_of(trainings: Sequence[Mapping[float, Row]], share: float) -> float:
    """Standard deviation between seeds at a length, pooled over the strategies that were trained with several."""
    seeds: dict[str, list[float]] = {}
    for training in trainings:
        if share in training:
            seeds.setdefault(json.dumps(training[share]["strategy"], sort_keys=True), []).append(training[share]["ap"])
    freedom = sum(len(each) - 1 for each in seeds.values())
    squares = sum(float(np.var(each)) * len(each) for each in seeds.values())
    return float(np.sqrt(squares / freedom)) if freedom >= ENOUGH else SEED_NOISE


def model() -> VotingRegressor:
    """Unfitted."""
    forest = ExtraTreesRegressor(TREES, bootstrap=True, max_features=0.5, random_state=0, n_jobs=1)
    kernel = ConstantKernel() * Matern(2.0, (0.3, 30.0), nu=2.5) + WhiteKernel(0.1)
    process = GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=2, random_state=0)
    return VotingRegressor([("forest", forest), ("process", process)])
