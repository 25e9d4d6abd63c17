"""Training with a teacher or with the run's own average: what is said arrives, and runs stay what they were."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgehone.batches import Batch, BatchSource
from edgehone.data import Dataset, read_dataset
from edgehone.errors import EdgehoneError, UsageError
from edgehone.inference import save_detector
from edgehone.single import TrainRequest, train_one, with_teacher
from edgehone.space import replace
from edgehone.strategy import AUTHORS, Strategy
from edgehone.training import Job, Progress, Trained, picture_cache, train
from edgehone.types import Detections

DATA = "builtin:digits?train=8&val=2&test=2&width=96&height=96&min_px=30&max_px=60&max_objects=3"
FAST = {"input.size": 128, "optimisation.optimizer.kind": "adamw", "augmentation.mosaic.probability": 0.3}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return read_dataset(DATA)


def job(steps: int = 3, named: str | None = None, **changes: Any) -> Job:
    strategy = replace(AUTHORS, {**FAST, **changes})
    return Job(model="yolov4-tiny", strategy=strategy, steps=steps, batch_size=4, teacher=named)


@pytest.fixture(scope="module")
def trained(dataset: Dataset) -> Trained:
    return train(job(2), dataset.class_names, dataset.train)


@pytest.fixture(scope="module")
def taught(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A checkpoint of a network that answers, if not well."""
    path = tmp_path_factory.mktemp("teacher") / "detector.pt"
    for bias in trained.network.head_biases():
        bias.detach().view(-1, 5 + len(trained.info.class_names))[:, 4] = 0.5
    save_detector(trained.network, trained.info, path)
    return str(path)


BUSY = {
    "augmentation.mosaic.probability": 0.5,
    "augmentation.mixup.probability": 0.4,
    "augmentation.cutmix.probability": 0.4,
    "augmentation.paste.probability": 0.5,
    "augmentation.affine.degrees": 20.0,
    "augmentation.perspective.tilt": 0.05,
    "augmentation.turns.probability": 0.5,
    "augmentation.erasing.probability": 0.5,
    "augmentation.multi_scale.spread": 0.3,
}


@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
def test_answers_travel_like_labels(fit: str) -> None:
    """A teacher that answers with the labels themselves is heard to say what the labels become."""
    dataset = read_dataset("builtin:digits?train=10&val=2&test=2&width=400&height=300&max_objects=6")
    strategy = replace(AUTHORS, {"input.size": 128, "input.fit": fit, **BUSY})
    said = [
        Detections(s.boxes_xyxy, np.linspace(0.2, 0.9, len(s.classes), dtype=np.float32), s.classes)
        for s in dataset.train
    ]
    cache = picture_cache(dataset.train, strategy)
    assert cache[0].image.shape[1] < 400, "the pictures are shrunk, so that boxes must be"
    source = BatchSource(strategy, cache, 0, 20, 4, said=said)
    plain = BatchSource(strategy, cache, 0, 20, 4)
    seen = 0
    for step, indices in enumerate([[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 1]]):
        batch = source.make(step, indices)
        assert batch.answers is not None
        for name in ("classes", "images"):
            assert torch.equal(getattr(batch.answers.targets, name), getattr(batch.targets, name))
        torch.testing.assert_close(batch.answers.targets.boxes_xyxy, batch.targets.boxes_xyxy, rtol=0, atol=1e-3)
        scores = {round(float(v), 5) for one in said for v in one.scores}
        assert {round(float(v), 5) for v in batch.answers.scores} <= scores
        without: Batch = plain.make(step, indices)
        assert without.answers is None
        assert torch.equal(without.pixels, batch.pixels)
        seen += len(batch.answers.scores)
    assert seen > 10


def test_scores_stay_with_their_boxes(dataset: Dataset) -> None:
    strategy = replace(AUTHORS, {"input.size": 128, **BUSY})
    starts = np.cumsum([0, *(len(s.classes) for s in dataset.train)])
    numbers = [np.arange(a, b) for a, b in pairwise(starts)]
    said = [
        Detections(s.boxes_xyxy, (n / 1000).astype(np.float32), n) for s, n in zip(dataset.train, numbers, strict=True)
    ]
    source = BatchSource(strategy, picture_cache(dataset.train, strategy), 0, 20, 8, said=said)
    answers = source.make(0, range(8)).answers
    assert answers is not None
    assert len(answers.scores) > 8
    assert (answers.scores * 1000).round().long().tolist() == answers.targets.classes.tolist()


LEARNING = {
    "teacher": {
        "projection.distillation.kind": "teacher",
        "projection.missing.kind": "pseudo_label",
        "projection.missing.threshold": 0.2,
    },
    "average": {
        "projection.distillation.kind": "average",
        "projection.distillation.start": 0.0,
        "projection.missing.kind": "excuse",
        "projection.missing.start": 0.5,
        "projection.missing.threshold": 0.2,
        "projection.objectness.prior": 0.0,
        "optimisation.average.kind": "none",
    },
}


class Stop(Exception):
    """Raised by a watcher in the place of a person."""


@pytest.mark.parametrize("kind", LEARNING)
def test_an_interrupted_run_ends_the_same(
    kind: str, dataset: Dataset, taught: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgehone.training.CHECKPOINT_SECONDS", 0.0)
    work = job(4, taught if kind == "teacher" else None, **LEARNING[kind])
    whole = train(work, dataset.class_names, dataset.train)
    assert all(point["distillation"] > 0 for point in whole.curve[1:])
    assert whole.curve[-1]["unlabelled"] > 0
    state = tmp_path / "state.pt"

    def interrupt(progress: Progress) -> None:
        if progress.step == 2:
            raise Stop

    with pytest.raises(Stop):
        train(work, dataset.class_names, dataset.train, checkpoint=state, watch=interrupt)
    resumed = train(work, dataset.class_names, dataset.train, checkpoint=state)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name
    assert resumed.curve == whole.curve


def test_a_teacher_without_weight_changes_nothing(dataset: Dataset, taught: str) -> None:
    silent = {"projection.distillation.kind": "teacher"}
    silent |= {"projection.distillation.scores": 0.0, "projection.distillation.boxes": 0.0}
    first = train(job(2), dataset.class_names, dataset.train)
    second = train(job(2, taught, **silent), dataset.class_names, dataset.train)
    for name, value in first.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name


def test_an_average_that_is_only_asked_is_not_what_is_kept(dataset: Dataset) -> None:
    late = {"projection.distillation.kind": "average", "projection.distillation.start": 1.0}
    plain = {"optimisation.average.kind": "none"}
    first = train(job(2, **plain), dataset.class_names, dataset.train)
    second = train(job(2, **plain, **late), dataset.class_names, dataset.train)
    for name, value in first.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name


def test_a_strategy_that_asks_for_a_teacher_must_have_one(dataset: Dataset, taught: str) -> None:
    with pytest.raises(UsageError, match=r"none is given; name one with --teacher"):
        train(job(1, **{"projection.distillation.kind": "teacher"}), dataset.class_names, dataset.train)
    with pytest.raises(EdgehoneError, match="which the data lacks"):
        train(job(1, taught, **{"projection.missing.kind": "excuse"}), ("a", "b"), dataset.train)


def test_a_teacher_that_is_given_is_heard() -> None:
    assert with_teacher(AUTHORS, None) is AUTHORS
    assert with_teacher(AUTHORS, "x.pt").projection.distillation.kind == "teacher"
    mends: Strategy = replace(AUTHORS, {"projection.missing.kind": "excuse"})
    assert with_teacher(mends, "x.pt") is mends


def test_from_one_run_to_the_next(tmp_path: Path, taught: str) -> None:
    """A run taught by the folder of another, whose exported graph answers."""
    first = TrainRequest(data=DATA, job=job(2))
    train_one(first, tmp_path / "first", lambda progress: None)
    work = job(3, str(tmp_path / "first"), **{"projection.distillation.kind": "teacher"})
    work = work.model_copy(update={"strategy": replace(work.strategy, {"projection.distillation.threshold": 0.0})})
    seen: list[Progress] = []
    evaluation = train_one(TrainRequest(data=DATA, job=work), tmp_path / "second", seen.append)
    assert all("distillation" in progress.loss for progress in seen)
    assert 0 <= evaluation.ap <= 1
