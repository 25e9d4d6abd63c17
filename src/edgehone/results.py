"""The outcome of a run as data: what results.json holds, and the verdict."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgehone.deploy.bundle import Deployment
from edgehone.evaluation import Evaluation
from edgehone.evaluation.operating_point import OperatingPoint
from edgehone.space import Settings
from edgehone.strategy import Strategy
from edgehone.types import Json

Kept = Literal["found", "default"]
Verdict = Literal["better", "tie", "worse", "unproven"]


class Reached(Settings):
    """A fully trained strategy in terms of an objective other than AP.

    Attributes:
        objective: as it was given.
        validation: the objective on validation.
        test: on the test split; None where that has nothing to measure it on.
        interval95: 95 % bootstrap interval over test images.
    """

    objective: str
    validation: float
    test: float | None = None
    interval95: tuple[float, float] | None = None


class Entry(Settings):
    """One fully trained strategy.

    Attributes:
        strategy: how it learned.
        preset: name of the preset; None for what a search found.
        test: metrics on the test split.
        validation: metrics on validation, which chose between strategies.
        interval95: 95 % bootstrap intervals over test images.
        reached: the first objective; None where that is AP.
        steps: of training.
        gflops: compute of its training, in image-GFLOPs.
    """

    strategy: Strategy
    preset: str | None
    test: Evaluation
    validation: Evaluation
    interval95: dict[str, tuple[float, float]]
    reached: Reached | None = None
    steps: int
    gflops: float


class FrontPoint(Settings):
    """A full training that no other one beats on every objective.

    Attributes:
        trial: its name.
        strategy: how it learned.
        values: by objective, on validation; milliseconds for a latency.
    """

    trial: str
    strategy: Strategy
    values: dict[str, float]


class RungZero(Settings):
    """What a search drew and did not train, by its ceiling alone.

    Attributes:
        drawn: strategies, rejected ones included.
        rejected: of these.
        reasons: ``ceiling``, or the class whose objects are lost, to rejections; the commonest first.
        examples: some of them in words.
    """

    drawn: int = 0
    rejected: int = 0
    reasons: dict[str, int] = Field(default_factory=dict[str, int])
    examples: tuple[str, ...] = ()

    def words(self) -> str:
        """``rung 0: 23 of 64 drawn strategies rejected: 15 by their ceiling, 8 lose objects of class Platelets``."""
        if not self.rejected:
            return f"rung 0: none of {self.drawn} drawn strategies rejected"
        each = [
            f"{count} by their ceiling"
            if reason == "ceiling"
            else f"{count} for objects of class {reason} that they lose"
            for reason, count in self.reasons.items()
        ]
        return f"rung 0: {self.rejected} of {self.drawn} drawn strategies rejected: {', '.join(each)}"


class Application(Settings):
    """What the found detector does at a precision that was asked for.

    Attributes:
        thresholds: by class, the lowest score that keeps the precision on validation; None where none does.
        validation: at these thresholds; ``test`` likewise.
    """

    thresholds: dict[str, float | None]
    validation: OperatingPoint
    test: OperatingPoint


class Difference(Settings):
    """Found minus default, of an objective other than AP.

    Attributes:
        objective: as it was given.
        value: of the difference.
        interval95: both on the same bootstrap draws of images.
    """

    objective: str
    value: float
    interval95: tuple[float, float]


class Gain(Settings):
    """Found against default.

    Attributes:
        ap: difference of AP.
        interval95: of the difference, both evaluated on the same bootstrap draws of images.
        asked: the same of the first objective; None where that is AP, or where the split has nothing to measure it on.
        verdict: on ``asked``, else on AP: ``better`` or ``worse`` only if the interval leaves out zero.
    """

    ap: float
    interval95: tuple[float, float]
    asked: Difference | None = None
    verdict: Verdict

    def words(self) -> str:
        """``+3.2 AP points [+1.0, +5.1]``; after the objective, in points as well, where that is another."""
        ap = f"{100 * self.ap:+.1f} AP points {_points(self.interval95)}"
        if self.asked is None:
            return ap
        return f"{100 * self.asked.value:+.1f} points of {self.asked.objective} {_points(self.asked.interval95)}, {ap}"


def _points(interval: tuple[float, float]) -> str:
    return f"[{100 * interval[0]:+.1f}, {100 * interval[1]:+.1f}]"


class Results(Settings):
    """Everything that scripts may rely on; see the shapes in the README.

    Gains and entries say what they are worth in AP and in terms of the first of ``objectives``, which decides.
    ``kept`` is what is deployed and written to strategy.json: what the search found, or the default where the two
    could not be told apart on validation; ``margin`` is that comparison, seeds counted. ``gain`` is measured on the
    test split and changes nothing any more. ``rung_zero`` counts strategies that were
    not worth a training. ``warnings`` say what makes the choice doubtful.
    """

    edgehone: str
    date: str
    hardware: str
    model: str
    data: str
    found: Entry
    kept: Kept = "found"
    margin: Gain | None = None
    objectives: tuple[str, ...] = ("ap",)
    front: tuple[FrontPoint, ...] = ()
    application: Application | None = None
    default: Entry | None = None
    default_preset: str | None
    presets: dict[str, Entry]
    evolution: Entry | None = None
    gain: Gain | None = None
    gain_over_evolution: Gain | None = None
    seconds: dict[str, float]
    trials: int
    boards: dict[str, Deployment]
    rung_zero: RungZero = RungZero()
    warnings: tuple[str, ...] = ()

    def to_json(self) -> Json:
        """The content of results.json; what was not run is left out."""
        content = self.model_dump(mode="json")
        for key in ("evolution", "gain_over_evolution", "default", "gain", "margin", "application"):
            if content[key] is None:
                del content[key]
        return content


def judge(difference: float, interval: tuple[float, float], asked: Difference | None = None) -> Gain:
    """The verdict on a paired difference of AP, or of what was asked for."""
    low, high = interval if asked is None else asked.interval95
    verdict: Verdict = "better" if low > 0 else "worse" if high < 0 else "tie"
    ends = (round(interval[0], 5), round(interval[1], 5))
    return Gain(ap=round(difference, 5), interval95=ends, asked=asked, verdict=verdict)
