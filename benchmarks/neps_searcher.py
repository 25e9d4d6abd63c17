"""PriorBand (Mallik et al., 2023) of neural-pipeline-search, over the dimensions of ``recorded_trainings.py``.

Its package wants a torchvision that the package here does without, so it lives in an environment of its own:
``pip install --no-deps neural-pipeline-search ifbo`` beside edgehone and what their imports ask for. ifBO (Rakotoarison
et al., 2024), of the same package, needs the weights of a network that it downloads when it is first used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import torch
from recorded_trainings import RUNGS
from surrogate import Surrogate, domains

from edgehone.space import Choice, Dimension, Prefer, SearchSpace
from edgehone.strategy import Strategy

Search = Callable[[str, int], tuple[float, Strategy]]
FIDELITY = "rung"
LEVELS = (1, 2, 4)
"""Of PriorBand's fidelity, which grows by a factor, for the lengths of :data:`RUNGS`."""
CONFIDENT = 0.7
"""From here on a rule's word is a prior of high confidence; below, of medium."""


def priorband(space: SearchSpace, surrogate: Surrogate, budget: Callable[[str], float]) -> Search:
    """A search with a seed, within the compute of a study of some size.

    Raises:
        ImportError: the package is not there.
    """
    import neps

    def search(size: str, seed: int) -> tuple[float, Strategy]:
        np.random.seed(seed)
        torch.manual_seed(seed)
        optimizer = neps.algorithms.priorband(neps.SearchSpace(parameters(space, neps)), eta=2, base="hyperband")
        asked = neps.AskAndTell(optimizer)
        cost, limit = 0.0, budget(size)
        best: dict[int, tuple[float, Strategy]] = {}
        numbers: dict[str, int] = {}
        while cost < limit:
            trial = asked.ask()
            level = LEVELS.index(trial.config[FIDELITY])
            strategy = strategy_of(space, trial.config)
            name = str(trial.id).split("_")[0]
            noise_of = numbers.setdefault(name, len(numbers))
            (score,) = surrogate.answers([strategy], RUNGS[level], [noise_of], seed)
            cost += RUNGS[level]
            asked.tell(trial, 1.0 - score)
            if level not in best or score > best[level][0]:
                best[level] = (score, strategy)
        return cost, best[max(best)][1]

    return search


def parameters(space: SearchSpace, neps: Any) -> dict[str, Any]:
    """Path to its parameter: choices by number, spans by how far along; a preference is a prior."""
    found: dict[str, Any] = {FIDELITY: neps.HPOInteger(LEVELS[0], LEVELS[-1], is_fidelity=True)}
    for path, candidates in domains().items():
        prior = prior_of(space.preference(candidates[0]), candidates[0])
        if isinstance(candidates[0].domain, Choice):
            found[path] = neps.HPOCategorical([str(k) for k in range(len(candidates[0].domain.values))], **prior)
        else:
            found[path] = neps.HPOFloat(0.0, 1.0, **prior)
    return found


def prior_of(preference: Prefer | None, dimension: Dimension) -> dict[str, Any]:
    """The arguments of a parameter that say what a rule said."""
    if preference is None:
        return {}
    confidence = "high" if preference.confidence >= CONFIDENT else "medium"
    if isinstance(dimension.domain, Choice):
        return {"prior": str(dimension.domain.values.index(preference.value)), "prior_confidence": confidence}
    return {"prior": dimension.domain.unit(float(preference.value)), "prior_confidence": confidence}


def strategy_of(space: SearchSpace, config: Mapping[str, Any]) -> Strategy:
    """The strategy that a configuration names."""

    def choose(dimension: Dimension, value: Any) -> Any:
        del value
        named = config[dimension.path]
        if not isinstance(dimension.domain, Choice):
            return dimension.at(float(named))
        wanted, allowed = dimension.domain.values[int(named)], space.allowed(dimension)
        return wanted if wanted in allowed else allowed[-1]

    return cast(Strategy, space.fill(space.base, choose))
