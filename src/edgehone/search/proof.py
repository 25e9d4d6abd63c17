"""The proof: the presets trained for the same compute, at the winner's input, each at its best learning rate."""

from __future__ import annotations

from dataclasses import dataclass

from edgehone.search.ladder import RunTasks, TaskMaker, best, preset_suggestion
from edgehone.search.objective import AP, Objectives
from edgehone.search.plan import FINAL, LEARNING_RATE_FACTORS, SHORT, Proof
from edgehone.search.searcher import Suggestion
from edgehone.search.trial import Outcome, Task
from edgehone.strategy import PRESETS, Strategy

RATE = "rate"


@dataclass(frozen=True)
class PresetRuns:
    """The presets' trainings: short ones for the learning rate, full ones by preset name; and what they are after."""

    rates: list[Outcome]
    finals: dict[str, Outcome]
    objectives: Objectives = AP

    @property
    def default(self) -> str | None:
        """Name of the preset that did better on validation; None if none was trained."""
        if not self.finals:
            return None
        return max(self.finals, key=lambda name: self.objectives.score(self.finals[name]))


def train_presets(winner: Strategy, proof: Proof, make: TaskMaker, run_tasks: RunTasks) -> PresetRuns:
    """Train what ``proof`` asks for: both presets, the one that did better in short trainings, or none."""
    if proof == "off":
        return PresetRuns([], {}, make.objectives)
    tasks = [
        make.task(f"{RATE}-{name}-{k}", RATE, SHORT, preset_suggestion(preset, name, winner, factor))
        for name, preset in PRESETS.items()
        for k, factor in enumerate(LEARNING_RATE_FACTORS)
    ]
    rates = run_tasks(tasks)
    count = len(LEARNING_RATE_FACTORS)
    chosen = {name: best(rates[i * count : (i + 1) * count], 1, make.objectives)[0] for i, name in enumerate(PRESETS)}
    if proof == "quick":
        name = max(chosen, key=lambda key: make.objectives.score(chosen[key]))
        chosen = {name: chosen[name]}
    finals: list[str] = list(chosen)
    outcomes = run_tasks([_full(name, chosen[name], make) for name in finals])
    return PresetRuns(rates, dict(zip(finals, outcomes, strict=True)), make.objectives)


def _full(name: str, rate: Outcome, make: TaskMaker) -> Task:
    suggestion = Suggestion(rate.task.job.strategy, rate.task.origin)
    return make.task(f"{FINAL}-{name}", FINAL, 1.0, suggestion)
