"""The outcome of a run as data: what results.json holds, and the verdict."""

from __future__ import annotations

from typing import Literal

from edgehone.deploy.bundle import Deployment
from edgehone.evaluation import Evaluation
from edgehone.evaluation.operating_point import OperatingPoint
from edgehone.space import Settings
from edgehone.strategy import Strategy
from edgehone.types import Json

Kept = Literal["found", "default"]
Verdict = Literal["better", "tie", "worse", "unproven"]


class Entry(Settings):
    """One fully trained strategy.

    Attributes:
        strategy: how it learned.
        preset: name of the preset; None for what a search found.
        test: metrics on the test split.
        validation: metrics on validation, which chose between strategies.
        interval95: 95 % bootstrap intervals over test images.
        steps: of training.
        gflops: compute of its training, in image-GFLOPs.
    """

    strategy: Strategy
    preset: str | None
    test: Evaluation
    validation: Evaluation
    interval95: dict[str, tuple[float, float]]
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


class Application(Settings):
    """What the found detector does at a precision that was asked for.

    Attributes:
        thresholds: by class, the lowest score that keeps the precision on validation; None where none does.
        validation: at these thresholds; ``test`` likewise.
    """

    thresholds: dict[str, float | None]
    validation: OperatingPoint
    test: OperatingPoint


class Gain(Settings):
    """Found against default on the test split.

    Attributes:
        ap: difference of AP.
        interval95: of the difference, both evaluated on the same bootstrap draws of images.
        verdict: ``better`` or ``worse`` only if the interval leaves out zero.
    """

    ap: float
    interval95: tuple[float, float]
    verdict: Verdict


class Results(Settings):
    """Everything that scripts may rely on; see the shapes in the README.

    ``kept`` is what is deployed and written to strategy.json: what the search found, or the default where the two
    could not be told apart on validation; ``margin`` is that comparison, seeds counted. ``gain`` is measured on the
    test split and changes nothing any more.
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

    def to_json(self) -> Json:
        """The content of results.json; what was not run is left out."""
        content = self.model_dump(mode="json")
        for key in ("evolution", "gain_over_evolution", "default", "gain", "margin", "application"):
            if content[key] is None:
                del content[key]
        return content


def judge(difference: float, interval: tuple[float, float]) -> Gain:
    """The verdict on a paired difference."""
    low, high = interval
    verdict: Verdict = "better" if low > 0 else "worse" if high < 0 else "tie"
    return Gain(ap=round(difference, 5), interval95=(round(low, 5), round(high, 5)), verdict=verdict)
