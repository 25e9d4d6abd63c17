"""Genetic evolution: as the authors ran it, and over the whole space.

Source: PyTorch_YOLOv4 train.py (``--evolve``): a parent picked among the best five, weighted by fitness; each
gene mutated with probability 0.8 by a factor ``1 + g * N(0, 1) * U(0, 1) * 0.2`` clipped to 0.3..3; fitness
0.1 AP50 + 0.9 AP. Only the numbers that they evolved do so there: no part is exchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace as replaced
from typing import Any, cast

import numpy as np

from edgehone.search.ladder import RunTasks, TaskMaker
from edgehone.search.plan import FINAL, SHORT
from edgehone.search.searcher import History, Result, Suggestion
from edgehone.search.trial import Outcome
from edgehone.space import Choice, Dimension, SearchSpace, Span, flatten, replace
from edgehone.strategy import AUTHORS, Strategy

GENES = frozenset(
    {
        *(f"optimisation.{name}" for name in ("optimizer.lr", "optimizer.momentum", "optimizer.weight_decay")),
        *(f"optimisation.{name}" for name in ("schedule.final", "warm_up.fraction")),
        *(f"projection.{name}.weight" for name in ("box_loss", "objectness", "classification")),
        "projection.assigner.anchor_t",
        *(f"augmentation.hsv.{name}" for name in ("hue", "saturation", "value")),
        *(f"augmentation.affine.{name}" for name in ("degrees", "translate", "scale", "shear")),
        "augmentation.perspective.tilt",
        "augmentation.mosaic.probability",
        "augmentation.mixup.probability",
    }
)
"""The authors' own (the ``meta`` of train.py) as far as they are numbers here. Not here: the weights of positives, the
gamma of a focal loss (0 in all their recipes), the number of anchors, warm-up's momentum and bias rate, and flips."""

PARENTS = 5
GENE_PROBABILITY = 0.8
SIGMA = 0.2
CLIP = (0.3, 3.0)
GENERATION = 2
"""Trials side by side: each generation learns from all before."""

EXCHANGED = 0.5
"""Probability that a child takes a gene from the second parent, where both have it."""

SWITCHED = 0.05
"""Probability that a gene is drawn anew from its whole range: the only way for a choice, or for a zero, to change.

Where there are few genes, one of them on average."""


def evolve(winner: Strategy, make: TaskMaker, run_tasks: RunTasks) -> Outcome:
    """Evolution from the authors' recipe at the winner's input, for the compute of the search, then in full."""
    spent = make.plan.search_shares() - 1
    searcher = EvolutionSearcher(AUTHORS.model_copy(update={"input": winner.input}), make.seed)
    outcomes: list[Outcome] = []
    for start in range(0, round(spent / SHORT), GENERATION):
        tasks = [
            make.task(f"evolution-{start + k:03d}", "evolution", SHORT, suggestion)
            for k, suggestion in enumerate(searcher.suggest(GENERATION))
        ]
        generation = run_tasks(tasks)
        searcher.update([Result(o.task.job.strategy, (o.fitness,), trial=start + k) for k, o in enumerate(generation)])
        outcomes += generation
    fittest = max(outcomes, key=lambda outcome: outcome.fitness)
    suggestion = Suggestion(fittest.task.job.strategy, "the best that evolution found")
    return run_tasks([make.task(f"{FINAL}-evolution", FINAL, 1.0, suggestion)])[0]


class EvolutionSearcher(History):
    """The authors' evolution: of :data:`GENES`, by its own fitness whatever the objective; else by the values."""

    def __init__(self, start: Strategy, seed: int) -> None:
        super().__init__(SearchSpace(start), seed)
        self.start = start

    def update(self, results: Sequence[Result]) -> None:
        """See :class:`Searcher`."""
        known = [r if r.values is None or r.fitness is None else replaced(r, values=(r.fitness,)) for r in results]
        super().update(known)

    def draw(self, number: int, rng: np.random.Generator) -> Suggestion:
        """The start first, then mutated parents."""
        if number == 0:
            return Suggestion(self.start, "the authors' recipe")
        return Suggestion(self._mutated(self._parent(rng), rng), "evolved")

    def _parent(self, rng: np.random.Generator) -> Strategy:
        parents = self.ranked()[:PARENTS]
        if not parents:
            return self.start
        scores = np.array([parent.score for parent in parents])
        weights = scores - scores.min() + 1e-6
        return parents[int(rng.choice(len(parents), p=weights / weights.sum()))].strategy

    def _mutated(self, parent: Strategy, rng: np.random.Generator) -> Strategy:
        flat = flatten(parent)
        changes: dict[str, Any] = {}
        for dimension in self.space.active(parent):
            if dimension.path in GENES and rng.random() < GENE_PROBABILITY:
                changes[dimension.path] = mutated(dimension, float(flat[dimension.path]), rng)
        return replace(parent, changes)


def mutated(dimension: Dimension, value: float, rng: np.random.Generator) -> float | int:
    """A number times the authors' random factor, within its span."""
    assert isinstance(dimension.domain, Span)
    gain = 1 + rng.standard_normal() * rng.random() * SIGMA
    return dimension.at(dimension.domain.unit(value * float(np.clip(gain, *CLIP))))


class GeneticSearcher(History):
    """Evolution over every dimension, choices too: two of the best five are crossed, then each gene mutates.

    The best five weigh 5 to 1: their scores may come from different rungs.
    """

    def draw(self, number: int, rng: np.random.Generator) -> Suggestion:
        """See :class:`History`."""
        start = cast(Strategy, self.space.preferred())
        if number == 0:
            return Suggestion(start, "the defaults", trusted=True)
        parents = [cast(Strategy, self.space.within(r.strategy)) for r in self.ranked()[:PARENTS]] or [start]
        weights = np.arange(len(parents), 0, -1) / np.arange(len(parents) + 1).sum()
        first, second = (parents[int(k)] for k in rng.choice(len(parents), size=2, p=weights))
        spare = flatten(second)
        switched = max(SWITCHED, 1 / max(len(self.space.active(first)), 1))

        def gene(dimension: Dimension, value: Any) -> Any:
            exists = all(spare.get(path) == kind for path, kind in dimension.when)
            if exists and rng.random() < EXCHANGED:
                value = spare[dimension.path]
            if rng.random() < switched:
                return self.space.draw(dimension, rng)
            if isinstance(dimension.domain, Choice):
                allowed = self.space.allowed(dimension)
                return value if value in allowed else allowed[int(rng.integers(len(allowed)))]
            return mutated(dimension, float(value), rng) if rng.random() < GENE_PROBABILITY else value

        return Suggestion(cast(Strategy, self.space.fill(first, gene)), "evolved")
