"""Real trainings of a very small study, interrupted in the middle of steps: the same weights in the end."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest
import torch

import edgehone.training as training
from edgehone.data import Dataset, read_dataset
from edgehone.inference import CHECKPOINT, open_network
from edgehone.search.journal import Journal
from edgehone.search.ladder import Ladder, TaskMaker, in_batches
from edgehone.search.plan import FINAL, Calibration, Plan, Rung
from edgehone.search.scope import Given, Scope, declared_space, open_study
from edgehone.search.trial import Outcome, Task, load_outcome
from edgehone.search.workers import run_task
from edgehone.training import Progress

DATA = "builtin:digits?train=8&val=4&test=4&width=96&height=96&min_px=30&max_px=60&max_objects=3"
PLAN = Plan(
    budget_s=60,
    proof="off",
    calibration=Calibration(
        precision="fp32", seconds_per_gflop=0.03, seconds_per_gflop_by_precision={}, workers=1, cpu="test"
    ),
    full_gflops=32.0,
    rungs=(Rung(name="short", share=1 / 2, trials=2, varied=1),),
    finalists=1,
    reserve_s=1,
)
SCOPE = Scope(
    fix=("input.size=160", "optimisation.batch_size=8"),
    only=("optimisation.optimizer", "optimisation.average", "augmentation"),
    deterministic=True,
)


class Killed(BaseException):
    """The process is gone: nothing may catch it."""


class Trainer:
    """Runs trials in this process, and dies now and then after a step."""

    def __init__(self, dataset: Dataset, folder: Path, dies: Callable[[], bool]) -> None:
        self.dataset, self.folder, self.dies = dataset, folder, dies

    def run(self, tasks: Sequence[Task]) -> list[Outcome]:
        return [self.stored(task.name) or run_task(task, self.dataset, self.folder, self.watch) for task in tasks]

    def flow(self, tasks: Iterable[Task | None]) -> Iterator[Outcome]:
        raise AssertionError("not in batches")

    def stored(self, name: str) -> Outcome | None:
        return load_outcome(self.folder, name)

    def watch(self, progress: Progress) -> None:
        if self.dies():
            raise Killed


def searched(folder: Path, dataset: Dataset, dies: Callable[[], bool]) -> Ladder:
    space = declared_space(SCOPE, (), Given(weights=False, teacher=False))
    make = TaskMaker(PLAN, "yolov4-tiny", lambda size: 1.0, 3)
    with Journal(folder / "study.jsonl") as journal:
        study = open_study(SCOPE, space, make, journal)
        return in_batches(study, make, Trainer(dataset, folder / "trials", dies), 2)


def test_a_study_that_died_in_many_steps_has_the_same_trials_and_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    dataset = read_dataset(DATA)
    calm = searched(tmp_path / "calm", dataset, lambda: False)
    rng = random.Random(1)
    deaths = 0
    while True:
        try:
            killed = searched(tmp_path / "killed", dataset, lambda: rng.random() < 0.4)
            break
        except Killed:
            deaths += 1
    assert deaths >= 3
    assert [(o.task, o.status, o.validation) for o in killed.outcomes] == [
        (o.task, o.status, o.validation) for o in calm.outcomes
    ]
    assert [o.task.rung for o in calm.outcomes] == ["short", "short", "short", FINAL]
    last = calm.finalists[0].task.name
    weights = [
        open_network(tmp_path / side / "trials" / last / CHECKPOINT)[0].state_dict() for side in ("calm", "killed")
    ]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
