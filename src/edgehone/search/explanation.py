"""Why a search found what it found: as data, in three parts of different price."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from edgehone.search.changes import Change
from edgehone.search.importance import Importances, importances
from edgehone.search.rule_verdicts import RuleVerdict, rule_verdicts
from edgehone.search.trial import Outcome
from edgehone.space import Prior, Settings

Effect = Literal["helps", "hurts", "within noise"]


class Step(Settings):
    """One step from the default towards the winner.

    Attributes:
        changes: made in this step on top of all before; more than one where the budget did not buy a step for each.
        ap: on validation, of the training with all changes so far.
        gain: over the step before; ``interval95`` over draws of validation pictures, of both trainings alike.
        effect: ``helps`` or ``hurts`` only where the interval leaves out zero. The chance of a training (its seed) is
            not in the interval.
    """

    changes: tuple[Change, ...]
    ap: float
    gain: float
    interval95: tuple[float, float]
    effect: Effect


class Ablation(Settings):
    """From default to winner, one change at a time.

    Attributes:
        base: name of the default.
        base_ap: on validation, trained as long as the steps.
        share: length of the trainings, of a full one.
        steps: the most important change first.
        trainings: that this took, without those that the run had made already.
    """

    base: str
    base_ap: float
    share: float
    steps: tuple[Step, ...]
    trainings: int


class Explanation(Settings):
    """All that is known about why.

    Attributes:
        importances: of the dimensions, from the trials of the search.
        rules: what each claimed and what the trials say of it.
        ablation: None where nothing was trained for it.
    """

    importances: Importances
    rules: tuple[RuleVerdict, ...]
    ablation: Ablation | None = None


def explain_trials(outcomes: Sequence[Outcome], priors: Sequence[Prior], seed: int = 0) -> Explanation:
    """What the trials of a search tell by themselves, without another training."""
    return Explanation(importances=importances(outcomes, seed), rules=tuple(rule_verdicts(priors, outcomes, seed)))


def judge_step(gain: float, interval: tuple[float, float]) -> Effect:
    """See :class:`Step`."""
    return "helps" if interval[0] > 0 else "hurts" if interval[1] < 0 else "within noise"
