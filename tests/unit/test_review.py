"""A run folder opened for review: who is asked, what is refused, and that a detector that knows nothing is silent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from edgehone.cli import app
from edgehone.data import Dataset, read_dataset
from edgehone.errors import EdgehoneError, UsageError
from edgehone.inference import CHECKPOINT, DetectorInfo, save_detector
from edgehone.review import open_run_detectors, review_run
from edgehone.search.trial import Outcome, Task, save_outcome
from edgehone.space import replace
from edgehone.strategy import DARKNET
from edgehone.training import Job

SOURCE = "builtin:digits?train=6&val=4&test=4&width=96&height=96&max_px=60"
FINALS = {"final-00": 0.41, "final-01": 0.36, "final-darknet": 0.2, "final-authors": 0.4}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return read_dataset(SOURCE)


def save_untrained(path: Path, names: tuple[str, ...], seed: int) -> None:
    torch.manual_seed(seed)
    anchors = tuple((float(k), float(k)) for k in range(10, 70, 10))
    strategy = replace(DARKNET, {"input.size": 160})
    info = DetectorInfo(model="yolov4-tiny", class_names=names, anchors_px=anchors, strategy=strategy)
    save_detector(info.network(), info, path)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> Path:
    """A run folder with four finalists, one of them weak, one without weights, and a short trial."""
    folder = tmp_path_factory.mktemp("run")
    job = Job(model="yolov4-tiny", strategy=DARKNET, steps=1, batch_size=1)
    for name, ap in {**FINALS, "short-00": 0.9}.items():
        rung = name.partition("-")[0]
        task = Task(name=name, rung=rung, job=job, gflops=1.0, keep=rung == "final", origin="a test")
        outcome = Outcome(task=task, status="done", ap=ap, validation=None, curve=[], seconds=1.0)
        save_outcome(outcome, folder / "trials")
        if rung == "final" and name != "final-authors":
            save_untrained(folder / "trials" / name / CHECKPOINT, dataset.class_names, len(name))
    return folder


def test_the_capable_finalists_are_asked_best_first(run: Path) -> None:
    assert list(open_run_detectors(str(run))) == ["final-00", "final-01"]


def test_a_checkpoint_alone_is_asked(run: Path) -> None:
    assert list(open_run_detectors(str(run / "trials" / "final-darknet" / CHECKPOINT))) == [CHECKPOINT]


def test_untrained_detectors_contradict_nothing_and_say_why(run: Path, dataset: Dataset) -> None:
    seen: list[tuple[int, int]] = []
    review = review_run(str(run), dataset, watch=lambda done, total: seen.append((done, total)))
    assert review.detectors == ("final-00", "final-01")
    assert review.suspects == ()
    assert review.not_judged == dataset.class_names
    assert "by heart" in review.note
    assert seen[-1] == (14, 14)
    held_out = review_run(str(run), dataset, ("val", "test"))
    assert held_out.splits == ("val", "test")
    assert "by heart" not in held_out.note


def test_what_does_not_fit_is_refused(run: Path, dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="train, val, test; got holdout"):
        review_run(str(run), dataset, ("train", "holdout"))
    with pytest.raises(UsageError, match="neither"):
        review_run(str(tmp_path), dataset)
    save_untrained(tmp_path / CHECKPOINT, ("cat", "dog"), 0)
    with pytest.raises(EdgehoneError, match=r"the model has cat, dog, the data 0, 1, 2, 3"):
        review_run(str(tmp_path), dataset)


def test_check_takes_a_model_and_writes_a_page(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "check.html"
    app(["check", SOURCE, "--model", str(run), "--page", str(page), "--json"], standalone_mode=False)
    content = json.loads(capsys.readouterr().out)
    assert content["review"]["suspects"] == []
    assert "The detectors contradict no label" in page.read_text(encoding="utf-8")
    app(["check", SOURCE, "--model", str(run)], standalone_mode=False)
    assert "final-00, final-01 contradict" in capsys.readouterr().out
