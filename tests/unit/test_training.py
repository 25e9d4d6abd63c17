"""Training: it learns, it resumes bit for bit, it says when it diverges."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from edgehone.data import Dataset, read_dataset
from edgehone.errors import EdgehoneError, UsageError
from edgehone.inference import (
    Detector,
    PostProcess,
    TorchRuntime,
    open_detector,
    open_network,
    save_detector,
    select,
)
from edgehone.space import replace
from edgehone.strategy import AUTHORS, DARKNET
from edgehone.training import Diverged, Job, Progress, detector_info, train

DATA = "builtin:digits?train=8&val=4&test=4&width=96&height=96&min_px=30&max_px=60&max_objects=3"
FAST = {"input.size": 128, "optimisation.optimizer.kind": "adamw", "augmentation.mosaic.probability": 0.3}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return read_dataset(DATA)


def job(steps: int, **changes: Any) -> Job:
    strategy = replace(AUTHORS, {**FAST, **changes})
    return Job(model="yolov4-tiny", strategy=strategy, steps=steps, batch_size=4)


class Stop(Exception):
    """Raised by a watcher in the place of a person."""


def test_the_loss_falls(dataset: Dataset) -> None:
    changes = {"projection.objectness.target": "one", "augmentation.mosaic.probability": 0.0}
    curve = train(job(25, **changes), dataset.class_names, dataset.train).curve
    for term in ("box", "objectness", "classification"):
        first, last = (sum(point[term] for point in part) for part in (curve[:5], curve[-5:]))
        assert last < 0.9 * first, term
    assert [point["step"] for point in curve] == list(range(1, 26))


@pytest.mark.parametrize(("average", "optimizer"), [("ema", "adamw"), ("none", "sgd")])
def test_an_interrupted_run_ends_the_same(
    dataset: Dataset, tmp_path: Path, average: str, optimizer: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr("edgehone.training.CHECKPOINT_SECONDS", 0.0)
    work = job(6, **{"optimisation.average.kind": average, "optimisation.optimizer.kind": optimizer})
    whole = train(work, dataset.class_names, dataset.train)
    state = tmp_path / "state.pt"

    def interrupt(progress: Progress) -> None:
        if progress.step == 3:
            raise Stop

    with pytest.raises(Stop):
        train(work, dataset.class_names, dataset.train, checkpoint=state, watch=interrupt)
    resumed = train(work, dataset.class_names, dataset.train, checkpoint=state)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name
    assert [p["total"] for p in resumed.curve] == [p["total"] for p in whole.curve]


def test_loader_workers_and_resuming_change_nothing(dataset: Dataset, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("edgehone.training.CHECKPOINT_SECONDS", 0.0)
    changes = {"augmentation.multi_scale.spread": 0.3, "augmentation.sampling.kind": "class_balanced"}
    work = job(4, **changes)
    whole = train(work, dataset.class_names, dataset.train)
    state = tmp_path / "state.pt"

    def interrupt(progress: Progress) -> None:
        if progress.step == 2:
            raise Stop

    ahead = work.model_copy(update={"loader_workers": 2})
    with pytest.raises(Stop):
        train(ahead, dataset.class_names, dataset.train, checkpoint=state, watch=interrupt)
    resumed = train(ahead, dataset.class_names, dataset.train, checkpoint=state)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name


def test_torch_can_paint_what_training_sees(dataset: Dataset) -> None:
    work = job(2)
    painted = (
        train(work.model_copy(update={"painter": painter}), dataset.class_names, dataset.train).curve[0]["total"]
        for painter in ("opencv", "torch")
    )
    first, second = painted
    assert first == pytest.approx(second, rel=0.02)


def test_a_step_is_no_longer_than_the_clipped_gradient_allows(dataset: Dataset) -> None:
    plain = {
        "optimisation.optimizer.kind": "sgd",
        "optimisation.optimizer.lr": 0.01,
        "optimisation.average.kind": "none",
    }
    plain |= {"optimisation.optimizer.weight_decay": 1e-5, "optimisation.optimizer.momentum": 0.0}
    plain |= {"optimisation.optimizer.nesterov": False, "optimisation.clip_norm": 1e-3}
    work = job(1, **plain)
    info = detector_info("yolov4-tiny", work.strategy, dataset.class_names, dataset.train)
    torch.manual_seed(work.seed)
    start = info.network()
    for bias in start.head_biases():  # the published start: one slot in a hundred holds an object
        bias.detach().view(-1, 5 + len(info.class_names))[:, 4] = math.log(0.01 / 0.99)
    trained = train(work, dataset.class_names, dataset.train).network
    moved = [(a - b).detach().norm() for a, b in zip(trained.parameters(), start.parameters(), strict=True)]
    assert 0 < float(torch.stack(moved).norm()) < 1e-4


def test_divergence_is_told_with_the_terms(dataset: Dataset) -> None:
    wild = job(8, **{"optimisation.optimizer.kind": "sgd", "optimisation.optimizer.lr": 1e30})
    with pytest.raises(Diverged, match=r"must stay finite.*'box'.*lower the learning rate"):
        train(wild, dataset.class_names, dataset.train)


def test_darknets_recipe_trains_too(dataset: Dataset) -> None:
    strategy = replace(DARKNET, {"input.size": 128})
    result = train(
        Job(model="yolov4-tiny", strategy=strategy, steps=3, batch_size=4, precision="bf16"),
        dataset.class_names,
        dataset.train,
    )
    assert all(torch.isfinite(p).all() for p in result.network.parameters())


def test_a_checkpoint_finds_the_same(dataset: Dataset, tmp_path: Path) -> None:
    trained = train(job(3), dataset.class_names, dataset.train)
    path = tmp_path / "detector.pt"
    save_detector(trained.network, trained.info, path)
    network, info = open_network(path)
    assert info == trained.info
    images = [s.read().image for s in dataset.val]
    first = list(Detector(trained.info, TorchRuntime(trained.network)).detect(images))
    second = list(Detector(info, TorchRuntime(network)).detect(images))
    for a, b in zip(first, second, strict=True):
        assert a.scores.tolist() == b.scores.tolist()
        assert ((a.boxes_xyxy >= 0) & (a.boxes_xyxy <= 96)).all()
        assert len(a) <= 100


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.pt", b"no checkpoint", EdgehoneError),
        ("a.onnx", b"no graph", EdgehoneError),
        ("a.txt", b"", UsageError),
        (".", None, UsageError),
        ("gone.pt", None, UsageError),
    ],
)
def test_what_is_no_model_is_refused(name: str, content: bytes | None, kind: type, tmp_path: Path) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(kind) as raised:
        open_detector(path)
    assert str(path) in str(raised.value)


def test_a_checkpoint_of_another_version_is_refused_with_its_reason(dataset: Dataset, tmp_path: Path) -> None:
    info = detector_info("yolov4-tiny", AUTHORS, dataset.class_names, dataset.train)
    path = tmp_path / "detector.pt"
    save_detector(info.network(), info, path)
    content = torch.load(path, weights_only=True)
    renamed = content["info"].replace('"squared_sigmoid"', '"magic"')
    faults = {"schema is 99": {"schema": 99}, "magic": {"info": renamed}, "size mismatch|Missing key": {"state": {}}}
    for words, fault in faults.items():
        torch.save({**content, **fault}, path)
        with pytest.raises(EdgehoneError, match=words):
            open_network(path)


def test_selection_keeps_the_best_of_each_class() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 11], [50, 50, 60, 60]])
    scores = torch.tensor([[0.9, 0.2], [0.8, 0.0], [0.0, 0.7]])
    found = select(boxes, scores, PostProcess())
    assert found.classes.tolist() == [0, 1, 1]
    assert found.scores.tolist() == pytest.approx([0.9, 0.7, 0.2])
    assert len(select(boxes, scores, PostProcess(limit=1))) == 1
    assert select(boxes, scores, PostProcess(candidates=2)).scores.tolist() == pytest.approx([0.9])
    assert select(boxes, scores.flip(0), PostProcess(candidates=1)).scores.tolist() == pytest.approx([0.9])
    assert len(select(boxes, scores, PostProcess(score_threshold=0.95))) == 0
