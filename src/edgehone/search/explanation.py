"""Why a search found what it found: as data, in three parts of different price."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from edgehone.results import Difference, Gain, Verdict
from edgehone.search.changes import Change
from edgehone.search.importance import AP_OF, Importances, Scoring, importances
from edgehone.search.objective import AP, Objectives
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
        reached: the first objective, where that is not AP; ``asked`` its gain.
        effect: of ``asked``, else of AP: ``helps`` or ``hurts`` only where the interval leaves out zero. The chance of
            a training (its seed) is not in the interval.
    """

    changes: tuple[Change, ...]
    ap: float
    gain: float
    interval95: tuple[float, float]
    reached: float | None = None
    asked: Difference | None = None
    effect: Effect

    def told(self) -> tuple[float, float, tuple[float, float]]:
        """What the effect is about: the value, its gain, its interval."""
        if self.reached is None or self.asked is None:
            return self.ap, self.gain, self.interval95
        return self.reached, self.asked.value, self.asked.interval95


class Ablation(Settings):
    """From default to winner, one change at a time.

    Attributes:
        base: name of the default.
        base_ap: on validation, trained as long as the steps; ``base_reached`` the first objective, if it is not AP.
        share: length of the trainings, of a full one.
        steps: the most important change first.
        trainings: that this took, without those that the run had made already.
    """

    base: str
    base_ap: float
    base_reached: float | None = None
    share: float
    steps: tuple[Step, ...]
    trainings: int

    @property
    def base_told(self) -> float:
        """Of the base, what the steps are about."""
        return self.base_ap if self.base_reached is None else self.base_reached


class Explanation(Settings):
    """All that is known about why.

    Attributes:
        importances: of the dimensions, from the trials of the search.
        rules: what each claimed and what the trials say of it.
        ablation: None where nothing was trained for it.
        objective: the accuracy that all of it is about.
    """

    importances: Importances
    rules: tuple[RuleVerdict, ...]
    ablation: Ablation | None = None
    objective: str = "ap"


def explain_trials(
    outcomes: Sequence[Outcome], priors: Sequence[Prior], aim: Objectives = AP, seed: int = 0
) -> Explanation:
    """What the trials of a search tell by themselves, without another training, about its first objective."""
    score = scoring(aim)
    rules = tuple(rule_verdicts(priors, outcomes, score))
    return Explanation(importances=importances(outcomes, seed, score), rules=rules, objective=aim.first.text)


def scoring(aim: Objectives) -> Scoring:
    """What trials are judged by."""
    return AP_OF if aim.is_ap else aim.score


EFFECTS: dict[Verdict, Effect] = {"better": "helps", "worse": "hurts"}


def judge_step(gain: Gain) -> Effect:
    """See :class:`Step`."""
    return EFFECTS.get(gain.verdict, "within noise")
