"""Which dimensions the scores of a search hang on, as a forest fitted to its trials sees it.

The importance of a dimension is the share of the scores' variance that its marginal explains (the first order of
functional ANOVA; Hutter, Hoos and Leyton-Brown, 2014), here on the distribution of the trials themselves. A search
has few trials and many dimensions, so each importance has an interval over draws of trials, and there is a floor:
what the most important dimension reaches when the scores are dealt to the trials at random.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr  # pyright: ignore[reportUnknownVariableType]
from sklearn.ensemble import RandomForestRegressor  # pyright: ignore[reportMissingTypeStubs]

from edgehone.search.trial import Outcome
from edgehone.space import Choice, Dimension, Settings, Span, dimensions, fingerprint, flatten
from edgehone.strategy import Strategy
from edgehone.types import Json

LEAST_TRIALS = 8
"""Fewer trials tell nothing about any dimension."""

DRAWS, TREES = 20, 24
"""Draws of trials, and deals of the scores; a small forest for each."""

DRAWN = 0.8
"""Share of the trials in a draw: without any twice, which would look like certainty."""

GRID = 5
"""Values of a span at which its marginal is taken."""

Rows = NDArray[np.float64]

Scoring = Callable[[Outcome], float]
AP_OF: Scoring = attrgetter("ap")
"""What trials are judged by where nothing else is said; then "AP" below is another accuracy."""


class Importance(Settings):
    """One dimension.

    Attributes:
        path: of the dimension.
        share: of the variance of AP, 0..1; ``interval90`` over draws of trials.
        best: the tried value with the best marginal; ``worst`` likewise.
        effect: AP between the marginals of the two.
        stands_out: the share is above the floor.
    """

    path: str
    share: float
    interval90: tuple[float, float]
    best: Json
    worst: Json
    effect: float
    stands_out: bool


class Importances(Settings):
    """All dimensions that varied, the most important first.

    Attributes:
        rung: whose trials were looked at: those of one rung, so that their lengths do not count.
        trials: of that rung, each strategy once.
        agreement: Spearman's correlation of AP with what the forest says of trials that it was not shown; None where
            either is constant.
        floor: share that the most important dimension reaches in 19 of 20 deals of the scores at random.
        dimensions: with what was found; empty where there were too few trials.
    """

    rung: str
    trials: int
    agreement: float | None
    floor: float
    dimensions: tuple[Importance, ...]

    def of(self, path: str) -> float:
        """The share of a dimension, or the largest of a part's; 0 where it did not vary."""
        inside = [d.share for d in self.dimensions if d.path == path or d.path.startswith(f"{path}.")]
        return max(inside, default=0.0)


def fullest_rung(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The trials of the rung that holds most strategies, each strategy once; of several such rungs the first."""
    by_rung: dict[str, dict[str, Outcome]] = {}
    for outcome in outcomes:
        by_rung.setdefault(outcome.task.rung, {}).setdefault(fingerprint(outcome.task.job.strategy), outcome)
    return list(max(by_rung.values(), key=len).values()) if by_rung else []


def importances(outcomes: Sequence[Outcome], seed: int = 0, score: Scoring = AP_OF) -> Importances:
    """The importance of every dimension that the trials varied."""
    trials = fullest_rung(outcomes)
    scores = np.array([score(outcome) for outcome in trials])
    rung = trials[0].task.rung if trials else ""
    if len(trials) < LEAST_TRIALS or np.ptp(scores) == 0:
        return Importances(rung=rung, trials=len(trials), agreement=None, floor=1.0, dimensions=())
    table = Table.of([outcome.task.job.strategy for outcome in trials])
    everything = np.arange(len(trials))
    marginals = table.marginals(_fit(table, scores, everything, seed))
    rng = np.random.default_rng(seed)
    draws = [rng.permutation(len(trials))[: round(DRAWN * len(trials))] for _ in range(DRAWS)]
    fits = [_fit(table, scores, rows, seed) for rows in draws]
    drawn = np.array([_shares(table.marginals(fit), scores) for fit in fits])
    deals = [rng.permutation(scores) for _ in range(DRAWS)]
    dealt = [max(_shares(table.marginals(_fit(table, deal, everything, seed)), deal)) for deal in deals]
    floor = float(np.quantile(dealt, 0.95))
    found = [
        _importance(column, share, drawn[:, k], marginals[k], floor)
        for k, (column, share) in enumerate(zip(table.columns, _shares(marginals, scores), strict=True))
    ]
    return Importances(
        rung=rung,
        trials=len(trials),
        agreement=_agreement(table, scores, fits, draws),
        floor=round(floor, 4),
        dimensions=tuple(sorted(found, key=lambda d: -d.share)),
    )


class Surrogate:
    """What a forest fitted to the trials expects of a strategy; a flat guess where there are too few trials."""

    def __init__(self, outcomes: Sequence[Outcome], seed: int = 0, score: Scoring = AP_OF) -> None:
        trials = fullest_rung(outcomes)
        self.forest: Any = None
        if len(trials) >= LEAST_TRIALS:
            self.table = Table.of([outcome.task.job.strategy for outcome in trials])
            scores = np.array([score(outcome) for outcome in trials])
            self.forest = _fit(self.table, scores, np.arange(len(trials)), seed, 4 * TREES)

    def expect(self, strategies: Sequence[Strategy]) -> list[float]:
        """The score at the rung of the trials."""
        if self.forest is None or not len(self.table.columns):
            return [0.0] * len(strategies)
        return [float(value) for value in self.forest.predict(self.table.encode(strategies))]


@dataclass(frozen=True)
class Column:
    """A dimension that varied: the values at which it was tried (or a grid of them) and where it is encoded."""

    dimension: Dimension
    values: tuple[Any, ...]
    slots: tuple[int, ...]

    def code(self, value: Any) -> list[float]:
        """NaN where the dimension does not exist."""
        domain = self.dimension.domain
        if value is None:
            return [np.nan] * len(self.slots)
        if isinstance(domain, Span):
            return [domain.unit(float(value))]
        if len(self.slots) == 1:
            return [float(domain.values.index(value)) if value in domain.values else np.nan]
        return [float(value == tried) for tried in self.values]


@dataclass(frozen=True)
class Table:
    """The trials' strategies as numbers: one column, or several for named values, for each dimension that varied.

    Where a dimension does not exist stands the mean of those where it does: a gap would tell which part was chosen,
    and take the credit for it.

    Attributes:
        columns: what is where.
        rows: ``[trials, slots]``.
        present: ``[trials, slots]``: the dimension exists.
        usual: ``[slots]``: what fills the gaps.
    """

    columns: tuple[Column, ...]
    rows: Rows
    present: NDArray[np.bool_]
    usual: Rows

    @staticmethod
    def of(strategies: Sequence[Strategy]) -> Table:
        """Dimensions with at least two values among the strategies, whatever else holds."""
        flats = [flatten(strategy) for strategy in strategies]
        columns: list[Column] = []
        seen: set[str] = set()
        slot = 0
        for dimension in dimensions(Strategy):
            tried = [flat[dimension.path] for flat in flats if flat.get(dimension.path) is not None]
            if dimension.path in seen or len(set(tried)) < 2:
                continue
            seen.add(dimension.path)
            values = _grid(dimension, tried)
            named = isinstance(dimension.domain, Choice) and any(isinstance(value, str) for value in values)
            width = len(values) if named else 1
            columns.append(Column(dimension, values, tuple(range(slot, slot + width))))
            slot += width
        coded = _coded(columns, strategies)
        present = ~np.isnan(coded)
        usual = np.where(present, coded, 0.0).sum(0) / np.maximum(present.sum(0), 1)
        return Table(tuple(columns), np.where(present, coded, usual), present, usual)

    def encode(self, strategies: Sequence[Strategy]) -> Rows:
        """``[strategies, slots]``."""
        coded = _coded(self.columns, strategies)
        return np.where(np.isnan(coded), self.usual, coded)

    def marginals(self, forest: Any) -> list[NDArray[np.float64]]:
        """For each column, the mean prediction over all trials that have the dimension, at each of its values."""
        blocks: list[Rows] = []
        for column in self.columns:
            having = self.rows[self.present[:, column.slots[0]]]
            for value in column.values:
                block = having.copy()
                block[:, column.slots] = column.code(value)
                blocks.append(block)
        if not blocks:
            return []
        ends = np.cumsum([len(block) for block in blocks])[:-1]
        parts = np.split(forest.predict(np.concatenate(blocks)), ends)
        means = iter([float(part.mean()) for part in parts])
        return [np.array([next(means) for _ in column.values]) for column in self.columns]


def _coded(columns: Sequence[Column], strategies: Sequence[Strategy]) -> Rows:
    flats = [flatten(strategy) for strategy in strategies]
    coded = [[number for c in columns for number in c.code(flat.get(c.dimension.path))] for flat in flats]
    return np.array(coded, float).reshape(len(strategies), -1)


def _grid(dimension: Dimension, tried: Sequence[Any]) -> tuple[Any, ...]:
    """All tried values of a choice; the quantiles of a span's."""
    if isinstance(dimension.domain, Choice):
        return tuple(sorted(set(tried), key=_rank))
    quantiles = np.quantile(np.array(tried, float), np.linspace(0, 1, GRID), method="nearest")
    return tuple(dict.fromkeys(float(value) for value in quantiles))


def _rank(value: Any) -> tuple[bool, Any]:
    """Words after numbers: a choice may hold both."""
    return isinstance(value, str), value


def _fit(table: Table, scores: Rows, rows: NDArray[np.int64], seed: int, trees: int = TREES) -> Any:
    forest = RandomForestRegressor(trees, min_samples_leaf=2, max_features=0.7, random_state=seed)
    return cast(Any, forest).fit(table.rows[rows], scores[rows])


def _shares(marginals: Sequence[Rows], scores: Rows) -> list[float]:
    total = float(np.var(scores))
    return [min(float(np.var(marginal)) / total, 1.0) for marginal in marginals]


def _importance(column: Column, share: float, drawn: Rows, marginal: Rows, floor: float) -> Importance:
    low, high = np.quantile([*drawn, share], [0.05, 0.95])
    best, worst = int(np.argmax(marginal)), int(np.argmin(marginal))
    return Importance(
        path=column.dimension.path,
        share=round(share, 4),
        interval90=(round(min(float(low), share), 4), round(max(float(high), share), 4)),
        best=column.values[best],
        worst=column.values[worst],
        effect=round(float(marginal[best] - marginal[worst]), 4),
        stands_out=share > floor,
    )


def _agreement(table: Table, scores: Rows, fits: Sequence[Any], draws: Sequence[NDArray[np.int64]]) -> float | None:
    """Correlation of the scores with the mean prediction of the forests that were not shown them."""
    predictions = np.array([fit.predict(table.rows) for fit in fits])
    unseen = np.array([[row not in set(draw.tolist()) for row in range(len(scores))] for draw in draws])
    known = unseen.any(0)
    if known.sum() < LEAST_TRIALS:
        return None
    expected = (predictions * unseen).sum(0)[known] / unseen.sum(0)[known]
    if np.ptp(expected) == 0 or np.ptp(scores[known]) == 0:
        return None
    return round(float(cast(Any, spearmanr(expected, scores[known]))[0]), 3)
