"""Training: it learns, it resumes bit for bit, it says when it diverges."""

from __future__ import annotations

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
from edgehone.optimisation import AdamW, Cosine, Ema, NoAverage, Sgd, Steps, WarmUp, WeightAverage
from edgehone.optimisation.optimizers import parameter_groups
from edgehone.space import replace
from edgehone.strategy import AUTHORS, DARKNET
from edgehone.training import Diverged, Job, Progress, train

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


@pytest.mark.parametrize("average", ["ema", "none"])
def test_an_interrupted_run_ends_the_same(dataset: Dataset, tmp_path: Path, average: str, monkeypatch: Any) -> None:
    monkeypatch.setattr("edgehone.training.CHECKPOINT_SECONDS", 0.0)
    work = job(6, **{"optimisation.average.kind": average})
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


def test_selection_keeps_the_best_of_each_class() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 11], [50, 50, 60, 60]])
    scores = torch.tensor([[0.9, 0.2], [0.8, 0.0], [0.0, 0.7]])
    found = select(boxes, scores, PostProcess())
    assert found.classes.tolist() == [0, 1, 1]
    assert found.scores.tolist() == pytest.approx([0.9, 0.7, 0.2])
    assert len(select(boxes, scores, PostProcess(limit=1))) == 1
    assert len(select(boxes, scores, PostProcess(score_threshold=0.95))) == 0


def test_schedules_and_warm_up() -> None:
    cosine = Cosine(final=0.1)
    assert [cosine.factor(p) for p in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.55, 0.1])
    steps = Steps(first=0.8, second=0.9)
    assert [steps.factor(p) for p in (0.0, 0.79, 0.8, 0.9, 1.0)] == pytest.approx([1, 1, 0.1, 0.01, 0.01])
    assert [WarmUp(fraction=0.1, power=4).factor(p) for p in (0.0, 0.05, 0.1, 0.5)] == pytest.approx([0, 1 / 16, 1, 1])


def test_the_average_follows_in_closed_form() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(0.0)
    average = WeightAverage(layer, decay=0.5)
    expected = 0.0
    for step in range(1, 20):
        layer.weight.data.fill_(float(step))
        average.update(layer)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert float(average.network.state_dict()["weight"]) == pytest.approx(expected, rel=1e-5)
    assert NoAverage().build(layer, 10) is None
    assert Ema(horizon=0.1).build(layer, 100).decay == pytest.approx(0.9)


def test_decay_spares_norms_and_biases() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    decayed, spared = parameter_groups(network, 0.01)
    assert [p.ndim for p in decayed["params"]] == [4]  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]
    assert spared["weight_decay"] == 0.0
    for settings in (Sgd(), AdamW()):
        assert settings.build(network).param_groups[0]["lr"] == settings.lr
