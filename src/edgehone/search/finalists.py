"""The finalists: how good each is over its seeds, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgehone.search.objective import shown
from edgehone.search.study import Study
from edgehone.space import Settings

SEED_NOISE = 0.018
"""Standard deviation of AP between seeds in the feasibility study (ADR 0009); it weighs like :data:`WEIGHT` seeds."""

WEIGHT = 4

LEAST_TRAININGS = 4
"""Fewer say nothing about how an objective spreads."""


class Standing(Settings):
    """A finalist over all its seeds.

    Attributes:
        name: of its first training.
        trial: number of its first training, whose detector it is: seeds are repeated to know, not to choose.
        seeds: trained.
        values: means over the seeds, one an objective.
        shown: the same by the objectives' names, milliseconds positive.
        low: and ``high``: 95 % interval of the first value over seeds.
    """

    name: str
    trial: int
    seeds: int
    values: tuple[float, ...]
    shown: dict[str, float]
    low: float
    high: float


def standings(study: Study, noise: float) -> list[Standing]:
    """Every strategy that was trained in full, by the lower end of its interval.

    A seed that diverged counts as it is, one that failed with its workers not at all.

    Args:
        study: finished.
        noise: see :func:`seed_noise`.
    """
    found: list[Standing] = []
    for number, group in _by_strategy(study).items():
        if not study.worth[number].diverged:
            means = tuple(float(value) for value in np.mean(group, axis=0))
            half = 1.96 * noise / math.sqrt(len(group))
            found.append(
                Standing(
                    name=study.name(study.trials[number]),
                    trial=number,
                    seeds=len(group),
                    values=means,
                    shown=shown(study.terms.objectives, means),
                    low=means[0] - half,
                    high=means[0] + half,
                )
            )
    return sorted(found, key=lambda standing: -standing.low)


def known_noise(scores: Sequence[float], aps: Sequence[float]) -> float:
    """Standard deviation of an objective between seeds, before any seed is repeated.

    What is known is that of AP. An objective that differs between trainings twice as much as AP does is taken to be
    twice as noisy.

    Args:
        scores: of trainings, by the objective.
        aps: of the same trainings.
    """
    spread = float(np.std(aps)) if len(aps) >= LEAST_TRAININGS else 0.0
    return SEED_NOISE * float(np.std(scores)) / spread if spread > 0 else SEED_NOISE


def seed_noise(study: Study, known: float = SEED_NOISE) -> float:
    """Standard deviation between seeds: pooled over the finalists, with what is known from elsewhere.

    Of seeds that did not diverge: between those and one that did there is more than noise.
    """
    groups = [[values[0] for values in group] for group in _by_strategy(study, diverged=False).values()]
    squares = sum(float(np.var(group)) * len(group) for group in groups)
    freedom = sum(len(group) - 1 for group in groups)
    return math.sqrt((squares + WEIGHT * known**2) / (freedom + WEIGHT))


def _by_strategy(study: Study, *, diverged: bool = True) -> dict[int, list[tuple[float, ...]]]:
    """Values of full trainings, by the number of the first training of a strategy; without seeds that failed."""
    groups: dict[int, list[tuple[float, ...]]] = {}
    for trial in study.trials:
        known = study.worth.get(trial.number)
        if trial.rung < len(study.terms.rungs) - 1 or known is None:
            continue
        lost = known.failed and trial.kind == "repeated"
        if not lost and (diverged or not known.diverged):
            first = trial.parent if trial.kind == "repeated" and trial.parent is not None else trial.number
            groups.setdefault(first, []).append(known.values)
    return groups
