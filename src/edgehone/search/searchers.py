"""The searchers by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from edgehone.errors import UsageError
from edgehone.search.evolution import EvolutionSearcher, GeneticSearcher
from edgehone.search.lengths import without_augmentation
from edgehone.search.optuna_searcher import OptunaSearcher
from edgehone.search.searcher import PriorSearcher, RandomSearcher, Searcher
from edgehone.space import SearchSpace
from edgehone.strategy import AUTHORS, Strategy

ADVISED, AS_AUTHORS = "informed", "authors"

SEARCHERS: dict[str, Callable[[SearchSpace, int, int], Searcher]] = {
    ADVISED: lambda space, seed, _: PriorSearcher(space, seed),
    "random": lambda space, seed, _: RandomSearcher(_unadvised(space), seed),
    "evolution": lambda space, seed, _: GeneticSearcher(_unadvised(space), seed),
    AS_AUTHORS: lambda space, seed, _: EvolutionSearcher(authors_at(space), seed),
    "tpe": lambda space, seed, trials: OptunaSearcher(_unadvised(space), seed, "tpe", trials),
    "gp": lambda space, seed, trials: OptunaSearcher(_unadvised(space), seed, "gp", trials),
}
"""``informed`` alone listens to the rules; ``authors`` moves numbers of the authors' recipe only."""

MANY = 100
"""Trials of a search whose length nobody has said."""


def _unadvised(space: SearchSpace) -> SearchSpace:
    """What searchers draw from that know neither rules nor lengths of trainings."""
    return without_augmentation(space).blind()


def authors_at(space: SearchSpace) -> Strategy:
    """The authors' recipe at the input that the space prefers."""
    return AUTHORS.model_copy(update={"input": cast(Strategy, space.preferred()).input})


def make_searcher(name: str, space: SearchSpace, seed: int, trials: int = MANY) -> Searcher:
    """A searcher by name.

    Args:
        name: of :data:`SEARCHERS`.
        space: of whole strategies.
        seed: of everything random.
        trials: strategies that are to be tried: some begin at random in proportion.

    Raises:
        UsageError: there is none, or what it needs is not installed.
    """
    if name not in SEARCHERS:
        raise UsageError(f"the searchers are {', '.join(SEARCHERS)}; got {name!r}")
    return SEARCHERS[name](space, seed, trials)
