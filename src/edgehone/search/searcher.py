"""Where the next strategies come from.

The seam is two methods:

    suggestions = searcher.suggest(count)
    ... train them ...
    searcher.update(results)

``suggest`` is a function of the seed and of what ``update`` was told, so a resumed search suggests the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np

from edgehone.space import SearchSpace, fingerprint
from edgehone.strategy import Strategy

MUTATIONS = 8
"""Dimensions that change, on average, between an incumbent and its neighbour."""

ATTEMPTS = 50


@dataclass(frozen=True)
class Suggestion:
    """A strategy to try and how it came about."""

    strategy: Strategy
    origin: str


@dataclass(frozen=True)
class Result:
    """What a suggestion was worth: ``score`` is AP on validation at some rung."""

    strategy: Strategy
    score: float


class Searcher(Protocol):
    """Anything that proposes strategies."""

    def suggest(self, count: int) -> list[Suggestion]:
        """The next strategies, all different from each other and from earlier ones."""
        ...

    def update(self, results: Sequence[Result]) -> None:
        """Learn from finished trials."""
        ...


class PriorSearcher:
    """Draws from the priors, and near the best results so far (the mixture of PriorBand, Mallik et al., 2023).

    The first suggestion is the priors' own favourite. Before any result, half of the others are its
    neighbours and half are drawn from the whole space by the priors; after, half are neighbours of the best.
    """

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self.space = space
        self.rng = np.random.default_rng(seed)
        self.results: list[Result] = []
        self.seen: set[str] = set()

    def suggest(self, count: int) -> list[Suggestion]:
        """See :class:`Searcher`."""
        return [self._next(k) for k in range(count)]

    def update(self, results: Sequence[Result]) -> None:
        """See :class:`Searcher`."""
        self.results.extend(results)

    def _next(self, turn: int) -> Suggestion:
        suggestion = self._draw(turn)
        for _ in range(ATTEMPTS):
            if fingerprint(suggestion.strategy) not in self.seen:
                break
            suggestion = self._draw(turn)
        self.seen.add(fingerprint(suggestion.strategy))
        return suggestion

    def _draw(self, turn: int) -> Suggestion:
        if not self.seen:
            return Suggestion(cast(Strategy, self.space.preferred()), "what the rules prefer")
        if turn % 2 == 0 and (self.results or len(self.seen) > 1):
            return Suggestion(cast(Strategy, self.space.sample(self.rng)), "drawn by the rules' priors")
        if not self.results:
            favourite = self.space.preferred()
            return Suggestion(self._neighbour(favourite), "a neighbour of what the rules prefer")
        best = sorted(self.results, key=lambda r: -r.score)[: max(1, len(self.results) // 4)]
        chosen = best[int(self.rng.integers(len(best)))]
        return Suggestion(self._neighbour(chosen.strategy), f"a neighbour of the best so far (AP {chosen.score:.3f})")

    def _neighbour(self, settings: object) -> Strategy:
        strategy = cast(Strategy, settings)
        rate = min(1.0, MUTATIONS / max(len(self.space.active(strategy)), 1))
        return cast(Strategy, self.space.mutate(strategy, self.rng, rate))
