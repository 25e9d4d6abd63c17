"""A trial: one training with its evaluation on validation, as data on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from edgehone.evaluation import Evaluation
from edgehone.files import read_json, write_json
from edgehone.space import Settings, load
from edgehone.training import Job
from edgehone.types import Json

RESULT = "result.json"
STATE = "state.pt"


class Task(Settings):
    """What a worker is asked to do.

    Attributes:
        name: of the trial, unique in the run: ``short-03``, ``final-darknet``.
        rung: name of its rung.
        job: the training.
        gflops: its compute in image-GFLOPs, for progress.
        expendable: a search goes on without it where it takes its workers with it; a proof does not.
        keep: keep the trained detector, not only its score.
        integer: boards in whose integer arithmetic it is evaluated, too.
        origin: how the strategy came about.
    """

    name: str
    rung: str
    job: Job
    gflops: float
    expendable: bool = False
    keep: bool = False
    integer: tuple[str, ...] = ()
    origin: str


class Outcome(Settings):
    """What became of a task.

    Attributes:
        task: what was asked for.
        status: a training that diverged, or failed with its workers, counts as ``ap`` 0.
        ap: on validation.
        validation: all metrics; ``integer`` by board in its integer arithmetic, where that was asked for.
        curve: of the training.
        seconds: of the training.
        message: why it diverged or failed.
    """

    task: Task
    status: Literal["done", "diverged", "failed"]
    ap: float
    validation: Evaluation | None
    integer: dict[str, Evaluation] = Field(default_factory=dict[str, Evaluation])
    curve: list[dict[str, float]]
    seconds: float
    message: str = ""

    @property
    def fitness(self) -> float:
        """What the authors' evolution weighs: 0.1 AP50 + 0.9 AP on validation."""
        return 0.0 if self.validation is None else 0.1 * self.validation.ap50 + 0.9 * self.validation.ap


def save_outcome(outcome: Outcome, folder: Path) -> None:
    """Write the outcome of a trial; from then on it counts as finished."""
    write_json(folder / outcome.task.name / RESULT, outcome.model_dump(mode="json"))


def load_outcome(folder: Path, name: str) -> Outcome | None:
    """A finished trial; None where it is not finished."""
    path = folder / name / RESULT
    return load(Outcome, read_json(path)) if path.is_file() else None


def finished(folder: Path) -> dict[str, Outcome]:
    """Every finished trial below ``folder``, by name."""
    found: dict[str, Outcome] = {}
    for path in sorted(folder.glob(f"*/{RESULT}")):
        content: Json = read_json(path)
        outcome = load(Outcome, content)
        found[outcome.task.name] = outcome
    return found
