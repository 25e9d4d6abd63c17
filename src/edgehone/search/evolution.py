"""Genetic evolution as the authors ran it: the baseline that a search must beat.

Source: PyTorch_YOLOv4 train.py (``--evolve``): a parent picked among the best five, weighted by fitness; each
gene mutated with probability 0.8 by a factor ``1 + g * N(0, 1) * U(0, 1) * 0.2`` clipped to 0.3..3; fitness
0.1 AP50 + 0.9 AP. Only numbers of the authors' own recipe evolve: no part is exchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from edgehone.search.searcher import Result, Suggestion
from edgehone.space import Span, SearchSpace, flatten, replace
from edgehone.strategy import Strategy

PARENTS = 5
GENE_PROBABILITY = 0.8
SIGMA = 0.2
CLIP = (0.3, 3.0)


class EvolutionSearcher:
    """The authors' evolution behind ``suggest`` / ``update``; ``Result.score`` is the fitness."""

    def __init__(self, start: Strategy, seed: int) -> None:
        self.start = start
        self.rng = np.random.default_rng(seed)
        self.results: list[Result] = []

    def suggest(self, count: int) -> list[Suggestion]:
        """The start first, then mutated parents."""
        return [self._next(k) for k in range(count)]

    def update(self, results: Sequence[Result]) -> None:
        """Add to the population."""
        self.results.extend(results)

    def _next(self, turn: int) -> Suggestion:
        if not self.results and turn == 0:
            return Suggestion(self.start, "the authors' recipe")
        parent = self._parent()
        return Suggestion(self._mutated(parent), "evolved")

    def _parent(self) -> Strategy:
        if not self.results:
            return self.start
        best = sorted(self.results, key=lambda r: -r.score)[:PARENTS]
        scores = np.array([r.score for r in best])
        weights = scores - scores.min() + 1e-6
        return best[int(self.rng.choice(len(best), p=weights / weights.sum()))].strategy

    def _mutated(self, parent: Strategy) -> Strategy:
        flat = flatten(parent)
        changes: dict[str, Any] = {}
        for dimension in SearchSpace(parent).active(parent):
            if not isinstance(dimension.domain, Span) or self.rng.random() >= GENE_PROBABILITY:
                continue
            gain = 1 + self.rng.standard_normal() * self.rng.random() * SIGMA
            value = float(flat[dimension.path]) * float(np.clip(gain, *CLIP))
            changes[dimension.path] = dimension.at(dimension.domain.unit(value))
        return cast(Strategy, replace(parent, changes))
