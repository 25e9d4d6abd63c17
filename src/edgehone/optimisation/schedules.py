"""Learning-rate schedules as functions of the run's progress: a short run is a small copy of a long one."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from edgehone.space import Settings, Span


class Cosine(Settings):
    """From the full rate down to ``final`` of it along half a cosine."""

    kind: Literal["cosine"] = "cosine"
    final: Annotated[float, Span(0.01, 0.2, log=True)] = 0.01

    def factor(self, progress: float) -> float:
        """Share of the full rate at ``progress`` in 0..1."""
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * progress)) / 2


class Steps(Settings):
    """The full rate, cut to a tenth at ``first`` and again at ``second`` (Darknet's ``policy=steps``)."""

    kind: Literal["steps"] = "steps"
    first: Annotated[float, Span(0.5, 0.85)] = 0.8
    second: Annotated[float, Span(0.85, 0.98)] = 0.9

    def factor(self, progress: float) -> float:
        """Share of the full rate at ``progress`` in 0..1."""
        return 0.1 ** ((progress >= self.first) + (progress >= self.second))


Schedule = Annotated[Cosine | Steps, Field(discriminator="kind")]


class WarmUp(Settings):
    """The rate grows over the first ``fraction`` of the run as ``(progress / fraction) ** power``.

    Darknet's ``burn_in`` has power 4; the usual linear warm-up has power 1.
    """

    fraction: Annotated[float, Span(0.01, 0.15, log=True)] = 0.08
    power: float = Field(default=1.0, ge=1.0, le=4.0)

    def factor(self, progress: float) -> float:
        """Share of the scheduled rate at ``progress`` in 0..1."""
        return min(1.0, progress / self.fraction) ** self.power
