"""Is a budget long enough for its data? Short trainings that find nothing rank strategies no better than dice do."""

from __future__ import annotations

from collections.abc import Iterable

from edgehone.search.plan import Plan
from edgehone.search.trial import Outcome

LEAST_AP = 0.02
"""What the best short training must reach: below, all differences are within the noise between seeds."""


def too_short(plan: Plan, outcomes: Iterable[Outcome]) -> str | None:
    """What to tell whoever gave the budget, and what would help; None where short trainings can be told apart.

    Args:
        plan: of the run.
        outcomes: its trainings so far; those of the lowest rung count.
    """
    lowest = plan.rungs[0]
    short = [outcome for outcome in outcomes if outcome.task.rung == lowest.name]
    if len(short) < lowest.trials:
        return None
    ended = [outcome for outcome in short if outcome.status == "done"]
    if not ended or any(outcome.ap >= LEAST_AP for outcome in ended):
        return None
    best = max(ended, key=lambda outcome: outcome.ap)
    start = "" if best.task.job.weights else ", or start from a detector that knows something (--weights)"
    return (
        f"the budget is too short for this data: short trainings of {best.task.job.steps} steps reach AP "
        f"{best.ap:.3f} at most, which does not tell strategies apart: the choice among them is little better than a "
        f"guess. Give several times as much (--budget){start}"
    )
