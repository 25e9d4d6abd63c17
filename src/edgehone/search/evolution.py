"""Genetic evolution as the authors ran it: the baseline that a search must beat.

Source: PyTorch_YOLOv4 train.py (``--evolve``): a parent picked among the best five, weighted by fitness; each
gene mutated with probability 0.8 by a factor ``1 + g * N(0, 1) * U(0, 1) * 0.2`` clipped to 0.3..3; fitness
0.1 AP50 + 0.9 AP. Only numbers of the authors' own recipe evolve: no part is exchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgehone.search.ladder import FINAL, RunTasks, TaskMaker, best
from edgehone.search.plan import SHORT
from edgehone.search.searcher import Result, Suggestion
from edgehone.search.trial import Outcome
from edgehone.space import SearchSpace, Span, flatten, replace
from edgehone.strategy import AUTHORS, Strategy

PARENTS = 5
GENE_PROBABILITY = 0.8
SIGMA = 0.2
CLIP = (0.3, 3.0)
GENERATION = 2
"""Trials side by side: each generation learns from all before."""


def evolve(winner: Strategy, make: TaskMaker, run_tasks: RunTasks) -> Outcome:
    """Evolution from the authors' recipe at the winner's input, for the compute of the search, then in full."""
    spent = sum(rung.share * rung.trials for rung in make.plan.rungs) + make.plan.finalists - 1
    searcher = EvolutionSearcher(AUTHORS.model_copy(update={"input": winner.input}), make.seed)
    outcomes: list[Outcome] = []
    for start in range(0, round(spent / SHORT), GENERATION):
        tasks = [
            make.task(f"evolution-{start + k:03d}", "evolution", SHORT, suggestion)
            for k, suggestion in enumerate(searcher.suggest(GENERATION))
        ]
        generation = run_tasks(tasks)
        searcher.update([Result(o.task.job.strategy, fitness(o)) for o in generation])
        outcomes += generation
    suggestion = Suggestion(best(outcomes, 1)[0].task.job.strategy, "the best that evolution found")
    return run_tasks([make.task(f"{FINAL}-evolution", FINAL, 1.0, suggestion)])[0]


def fitness(outcome: Outcome) -> float:
    """0.1 AP50 + 0.9 AP on validation."""
    validation = outcome.validation
    return 0.0 if validation is None else 0.1 * validation.ap50 + 0.9 * validation.ap


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
        return replace(parent, changes)
