"""The searchers by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from edgehone.errors import UsageError
from edgehone.search.evolution import EvolutionSearcher, GeneticSearcher
from edgehone.search.optuna_searcher import OptunaSearcher
from edgehone.search.searcher import PriorSearcher, RandomSearcher, Searcher
from edgehone.space import SearchSpace
from edgehone.strategy import AUTHORS, Strategy

AS_AUTHORS = "authors"

SEARCHERS: dict[str, Callable[[SearchSpace, int], Searcher]] = {
    "informed": PriorSearcher,
    "random": lambda space, seed: RandomSearcher(space.blind(), seed),
    "evolution": lambda space, seed: GeneticSearcher(space.blind(), seed),
    AS_AUTHORS: lambda space, seed: EvolutionSearcher(authors_at(space), seed),
    "tpe": lambda space, seed: OptunaSearcher(space.blind(), seed, "tpe"),
    "gp": lambda space, seed: OptunaSearcher(space.blind(), seed, "gp"),
}
"""``informed`` alone listens to the rules; ``authors`` moves numbers of the authors' recipe only."""


def authors_at(space: SearchSpace) -> Strategy:
    """The authors' recipe at the input that the space prefers."""
    return AUTHORS.model_copy(update={"input": cast(Strategy, space.preferred()).input})


def make_searcher(name: str, space: SearchSpace, seed: int) -> Searcher:
    """A searcher by name.

    Raises:
        UsageError: there is none, or what it needs is not installed.
    """
    if name not in SEARCHERS:
        raise UsageError(f"the searchers are {', '.join(SEARCHERS)}; got {name!r}")
    return SEARCHERS[name](space, seed)
