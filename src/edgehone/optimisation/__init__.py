"""How the network moves towards its targets: optimizer, schedule, average."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from edgehone.optimisation.averaging import Average, Ema, NoAverage, TailAverage, WeightAverage
from edgehone.optimisation.optimizers import RATE, AdamW, Optimizer, Sgd, SlowParameters
from edgehone.optimisation.schedules import Cosine, Schedule, Steps, WarmUp
from edgehone.optimisation.warm_start import WarmStart, freeze
from edgehone.space import Choice, Settings


class Optimisation(Settings):
    """Everything about the steps of a run. ``batch_size`` shrinks where a run would have too few steps."""

    optimizer: Optimizer = Sgd()
    schedule: Schedule = Cosine()
    warm_up: WarmUp = WarmUp()
    average: Average = Ema()
    batch_size: Annotated[int, Choice(8, 16, 32, 64)] = 16
    warm_start: WarmStart = WarmStart()
    clip_norm: float = Field(default=10.0, gt=0, description="the gradient's norm is cut to this")

    def rate(self, progress: float) -> float:
        """Share of the optimizer's learning rate at ``progress`` in 0..1."""
        return self.warm_up.factor(progress) * self.schedule.factor(progress)


__all__ = [
    "AdamW",
    "Average",
    "RATE",
    "Cosine",
    "Ema",
    "NoAverage",
    "Optimisation",
    "Optimizer",
    "Schedule",
    "Sgd",
    "SlowParameters",
    "Steps",
    "TailAverage",
    "WarmStart",
    "WarmUp",
    "WeightAverage",
    "freeze",
]
