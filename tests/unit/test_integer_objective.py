"""Integer accuracy as an objective: measured on validation by workers, on the longer rungs, and proven as asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgehone.data import Dataset, read_dataset
from edgehone.deploy.convert import open_trained
from edgehone.deploy.integer.accuracy import Inquiry, integer_accuracy
from edgehone.search import verdict
from edgehone.search.ladder import TaskMaker
from edgehone.search.objective import Objectives, parse_objectives
from edgehone.search.plan import MIDDLE, SHORT, Calibration, SearchKind, make_plan
from edgehone.search.searcher import Suggestion
from edgehone.search.trial import Outcome, Task, load_outcome
from edgehone.search.verdict import Split, answers_on, gain, on_test_split
from edgehone.search.workers import run_task
from edgehone.space import replace
from edgehone.strategy import AUTHORS
from edgehone.training import Job

BOARD = "kneron-kl720"
DATA = "builtin:digits?train=12&val=4&test=4&width=128&height=128&min_px=40&max_px=80&max_objects=2"
CALIBRATION = Calibration(
    precision="fp32", seconds_per_gflop=0.02, seconds_per_gflop_by_precision={}, workers=2, cpu="test"
)
STRATEGY = replace(
    AUTHORS,
    {
        "input.size": 128,
        "optimisation.optimizer.kind": "adamw",
        "optimisation.optimizer.lr": 0.003,
        "augmentation.mosaic.probability": 0.0,
    },
)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return read_dataset(DATA)


@pytest.fixture(scope="module")
def aim(dataset: Dataset) -> Objectives:
    return Objectives(parse_objectives([f"ap50@{BOARD}", "ap"], dataset.class_names, [BOARD]), {})


@pytest.fixture(scope="module")
def trials(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    folder = tmp_path_factory.mktemp("trials")
    job = Job(model="yolov4-tiny@width=0.25", strategy=STRATEGY, steps=60, batch_size=4)
    task = Task(name="final-00", rung="final", job=job, gflops=1.0, keep=True, integer=(BOARD,), origin="test")
    return folder, run_task(task, dataset, folder)


def test_a_worker_measures_what_the_gate_would_start_from(trials: tuple[Path, Outcome], dataset: Dataset) -> None:
    folder, outcome = trials
    assert load_outcome(folder, "final-00") == outcome, "kept with the trial"
    network, info = open_trained(folder / "final-00")
    found, _ = integer_accuracy(
        network, info, dataset, BOARD, Inquiry(max_drop=0.99, tested_on="val", calibration_pictures=64)
    )
    assert outcome.integer[BOARD].ap == pytest.approx(found.ap_plain)


def test_the_objective_reads_it(trials: tuple[Path, Outcome], aim: Objectives) -> None:
    _, outcome = trials
    assert outcome.validation is not None
    assert aim.values(outcome) == (outcome.integer[BOARD].ap50, outcome.validation.ap)


def test_the_proof_is_about_the_rounded_detector(
    trials: tuple[Path, Outcome], aim: Objectives, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdict, "DRAWS", 30)
    folder, outcome = trials
    split = Split(dataset, folder, aim)
    assert split.score is not None
    answers = answers_on("val", outcome, split)
    assert answers.asked is not answers.matches
    assert split.score(answers.asked, None) == pytest.approx(outcome.integer[BOARD].ap50)
    found = on_test_split(outcome, None, split)
    assert found.entry.reached is not None
    assert (found.entry.reached.objective, found.entry.reached.validation) == (
        f"ap50@{BOARD}",
        pytest.approx(outcome.integer[BOARD].ap50, abs=1e-5),
    )
    same = gain(found.answers, found.answers, split)
    assert same.asked is not None
    assert (same.asked.value, same.asked.interval95, same.verdict) == (0, (0, 0), "tie")


def test_short_trainings_are_not_simulated_and_the_plan_pays_for_the_others(aim: Objectives) -> None:
    plans = [make_plan(3600.0, 40.0, "full", CALIBRATION, 1.0, SearchKind(1, boards)) for boards in (0, 2)]
    assert plans[1].full_gflops < plans[0].full_gflops
    make = TaskMaker(plans[1], "yolov4-tiny", lambda strategy: 1.0, 0, objectives=aim)
    boards = [make.task("t", "r", share, Suggestion(STRATEGY, "")).integer for share in (SHORT, MIDDLE, 1.0)]
    assert boards == [(), (BOARD,), (BOARD,)]
