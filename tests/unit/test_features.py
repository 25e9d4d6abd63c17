"""Distillation of features: known values, which cells count, who learns, and that nothing of it is left at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgehone.batches import BatchSource
from edgehone.data import Dataset, read_dataset
from edgehone.deploy.onnx_graph import build_model
from edgehone.errors import EdgehoneError, UsageError
from edgehone.inference import save_detector
from edgehone.models import Network, fold
from edgehone.models.darknet import write_weights
from edgehone.projection import Projection
from edgehone.projection.features import object_cells, unlike
from edgehone.search.scope import Given
from edgehone.single import with_teacher
from edgehone.space import SearchSpace, dimensions, replace
from edgehone.strategy import AUTHORS, Strategy
from edgehone.training import Job, Progress, Trained, detector_info, imitable, picture_cache, train
from edgehone.training.state import State
from edgehone.types import IGNORED, Targets

DATA = "builtin:digits?train=8&val=2&test=2&width=96&height=96&min_px=30&max_px=60&max_objects=3"
FAST = {"input.size": 128, "optimisation.optimizer.kind": "adamw", "augmentation.mosaic.probability": 0.3}
STUDENT, LARGER = "yolov4-tiny@width=0.25", "yolov4-tiny-3l@width=0.5"
IMITATING = {
    "teacher": {"projection.features.kind": "teacher", "projection.features.cells": "objects"},
    "average": {"projection.features.kind": "average", "projection.features.start": 0.0},
}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return read_dataset(DATA)


def job(steps: int = 3, named: str | None = None, model: str = STUDENT, **changes: Any) -> Job:
    strategy = replace(AUTHORS, {**FAST, **changes})
    return Job(model=model, strategy=strategy, steps=steps, batch_size=4, teacher=named)


def saved(model: str, dataset: Dataset, path: Path) -> str:
    """A checkpoint of fresh weights: features, if not wise ones."""
    work = job(model=model)
    info = detector_info(model, work.strategy, dataset.class_names, dataset.train)
    torch.manual_seed(7)
    save_detector(info.network(), info, path)
    return str(path)


@pytest.fixture(scope="module")
def larger(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> str:
    return saved(LARGER, dataset, tmp_path_factory.mktemp("teacher") / "detector.pt")


def rows(seed: int, count: int = 40, channels: int = 5) -> Tensor:
    return torch.randn(count, channels, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 99), st.floats(0.01, 100), st.floats(-50, 50))
@settings(max_examples=25, deadline=None)
def test_it_is_one_minus_the_correlation_whatever_scale_and_shift(seed: int, scale: float, shift: float) -> None:
    student, teacher = rows(seed), rows(seed + 100)
    known = np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in zip(student.T.numpy(), teacher.T.numpy(), strict=True)])
    assert float(unlike(student, teacher)) == pytest.approx(known, abs=1e-5)
    assert float(unlike(student * scale + shift, teacher)) == pytest.approx(known, abs=1e-3)
    assert float(unlike(teacher, teacher)) == pytest.approx(0, abs=1e-5)
    assert float(unlike(-teacher, teacher)) == pytest.approx(2, abs=1e-5)


@pytest.mark.parametrize("student", [torch.zeros(9, 3), rows(0, 1, 3), rows(0, 0, 3), rows(0, 9, 3)])
def test_what_says_nothing_has_a_finite_gradient(student: Tensor) -> None:
    student = student.clone().requires_grad_()
    unlike(student, torch.zeros(len(student), 3)).backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


@given(st.integers(0, 500))
@settings(max_examples=40, deadline=None)
def test_cells_at_objects_are_those_of_the_plain_rule(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corner, sides = rng.uniform(-10, 90, (4, 2)), np.exp(rng.uniform(0, 4, (4, 2)))
    boxes = torch.from_numpy(np.concatenate([corner, corner + sides], 1)).float()
    classes = torch.tensor([0, 1, IGNORED, 0])
    images = torch.from_numpy(rng.integers(0, 2, 4))
    found = object_cells(Targets(boxes, classes, images, 3), (64, 96), (4, 6))
    wanted = torch.zeros(3, 4, 6, dtype=torch.bool)
    for box, label, image in zip(boxes.tolist(), classes.tolist(), images.tolist(), strict=True):
        if label == IGNORED:
            continue
        spans: list[list[int]] = []
        for low, high, count in ((box[0], box[2], 6), (box[1], box[3], 4)):
            inside = [k for k in range(-99, 199) if low <= 16 * k + 8 <= high] or [int((low + high) / 2 // 16)]
            spans.append([min(max(k, 0), count - 1) for k in inside])
        for row in spans[1]:
            for column in spans[0]:
                wanted[image, row, column] = True
    assert torch.equal(found, wanted)


def test_only_the_student_learns_and_through_the_adapter(dataset: Dataset, larger: str) -> None:
    work = job(named=larger, **IMITATING["teacher"])
    info = detector_info(work.model, work.strategy, dataset.class_names, dataset.train)
    torch.manual_seed(0)
    state = State.fresh(work, info)
    batch = BatchSource(work.strategy, picture_cache(dataset.train, work.strategy), 0, 3, 4).make(0, range(4))
    imitation = state.imitation
    assert imitation is not None
    assert imitation.adapters is not None
    assert imitation.teacher is not None
    before = {name: value.clone() for name, value in imitation.teacher.state_dict().items()}
    lattice = info.lattice((128, 128))
    knowledge = state.knowledge(work, batch, lattice)
    assert knowledge is not None
    _, maps = state.network.heads_and_maps(batch.pixels, imitation.mine)
    term = work.strategy.projection.feature_loss(imitation.adapted(maps), knowledge.features, batch.targets, lattice)
    assert term is not None
    assert 0 < float(term.detach()) < 2 * 4
    reached = torch.autograd.grad(term, [maps[index] for index in imitation.mine])
    assert all(slope.abs().sum() > 0 for slope in reached)
    adapter = next(imitation.adapters.parameters()).detach().clone()
    terms = state.take_step(work, batch, lattice)
    assert terms.values()["features"] == pytest.approx(float(term.detach()), rel=1e-4)
    assert not torch.equal(adapter, next(imitation.adapters.parameters()))
    assert all(torch.equal(value, before[name]) for name, value in imitation.teacher.state_dict().items())


def test_imitation_alone_makes_features_alike(dataset: Dataset, larger: str) -> None:
    alone = {f"projection.{part}.weight": 0.0 for part in ("box_loss", "objectness", "classification")}
    alone |= {"projection.features.kind": "teacher", "augmentation.mosaic.probability": 0.0}
    trained = train(job(12, larger, **alone), dataset.class_names, dataset.train)
    assert trained.curve[-1]["features"] < 0.9 * trained.curve[0]["features"]


@pytest.mark.parametrize(("normalisation", "times"), [("image", 1), ("mean", 3), ("batch", 1)])
def test_it_is_normalised_as_the_labels_terms_are(normalisation: str, times: int) -> None:
    parts = replace(
        Projection(), {"normalisation": normalisation, "features.kind": "average", "features.weight": 0.5}
    )  # fmt: skip
    lattice = parts.lattice(np.full((6, 2), 30.0), (32, 16), (64, 64))
    maps = [torch.randn(3, 4, side, side, generator=torch.Generator().manual_seed(side)) for side in (2, 4)]
    nothing = torch.zeros(0, dtype=torch.int64)
    targets = Targets(torch.zeros(0, 4), nothing, nothing, 3)
    term = parts.feature_loss(maps, [-one for one in maps], targets, lattice)
    assert term is not None
    assert float(term) == pytest.approx(0.5 * 2 * times, rel=1e-4)
    at_objects = replace(parts, {"features.cells": "objects"})
    assert float(at_objects.feature_loss(maps, [-one for one in maps], targets, lattice) or 0.0) == 0.0
    assert Projection().feature_loss(maps, maps, targets, lattice) is None


class Stop(Exception):
    """Raised by a watcher in the place of a person."""


@pytest.mark.parametrize("kind", IMITATING)
def test_an_interrupted_run_ends_the_same(
    kind: str, dataset: Dataset, larger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgehone.training.CHECKPOINT_SECONDS", 0.0)
    work = job(4, larger if kind == "teacher" else None, **IMITATING[kind])
    whole = train(work, dataset.class_names, dataset.train)
    assert all(point["features"] > 0 for point in whole.curve[1:])
    state = tmp_path / "state.pt"

    def interrupt(progress: Progress) -> None:
        if progress.step == 2:
            raise Stop

    with pytest.raises(Stop):
        train(work, dataset.class_names, dataset.train, checkpoint=state, watch=interrupt)
    resumed = train(work, dataset.class_names, dataset.train, checkpoint=state)
    same_weights(whole.network, resumed.network)
    assert resumed.curve == whole.curve


def same_weights(first: Network, second: Network) -> None:
    mine, theirs = first.state_dict(), second.state_dict()
    assert list(mine) == list(theirs)
    assert all(torch.equal(value, theirs[name]) for name, value in mine.items())


def test_imitation_without_weight_changes_nothing_and_nothing_of_it_is_exported(dataset: Dataset, larger: str) -> None:
    def trained(named: str | None = None, **changes: Any) -> Trained:
        return train(job(2, named, **changes), dataset.class_names, dataset.train)

    plain = trained()
    silent = trained(larger, **IMITATING["teacher"], **{"projection.features.weight": 0.0})
    loud = trained(larger, **IMITATING["teacher"])
    same_weights(plain.network, silent.network)
    exported = [build_model(fold(one.network), (128, 128), {}) for one in (plain, silent, loud)]
    assert exported[0].graph.initializer == exported[1].graph.initializer
    assert exported[0].graph.node == exported[2].graph.node
    shapes = [[(item.name, tuple(item.dims)) for item in model.graph.initializer] for model in exported]
    assert shapes[0] == shapes[2]
    assert exported[0].graph.initializer != exported[2].graph.initializer


def test_a_darknet_pair_teaches_by_its_features(dataset: Dataset, tmp_path: Path) -> None:
    source = Path(__file__).parents[2] / "../shared/darknet/yolov4-tiny.cfg"
    if not source.is_file():
        pytest.skip(f"the official cfg is not at {source}")
    from edgehone.models.darknet import read_cfg

    cfg, weights = tmp_path / "a.cfg", tmp_path / "a.weights"
    cfg.write_bytes(source.read_bytes())
    write_weights(Network(read_cfg(cfg).graph), weights)
    work = job(1, f"{cfg}+{weights}", **IMITATING["teacher"])
    assert train(work, dataset.class_names, dataset.train).curve[-1]["features"] > 0


def test_what_cannot_be_read_is_refused(dataset: Dataset, larger: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"features.kind=teacher learns from a teacher, and none is given"):
        train(job(1, **IMITATING["teacher"]), dataset.class_names, dataset.train)
    graph = tmp_path / "model.onnx"
    graph.write_bytes(b"graph")
    with pytest.raises(UsageError, match=r"read from a checkpoint, .* or a Darknet pair"):
        train(job(1, str(graph), **IMITATING["teacher"]), dataset.class_names, dataset.train)
    bad = tmp_path / "bad.pt"
    bad.write_bytes(b"?")
    with pytest.raises(EdgehoneError, match="not a checkpoint"):
        train(job(1, str(bad), **IMITATING["teacher"]), dataset.class_names, dataset.train)
    assert imitable(STUDENT, larger) is not None
    assert imitable(STUDENT, str(graph)) is None
    assert imitable(STUDENT, None) is None


def test_it_is_searched_where_it_can_be_had() -> None:
    paths = {d.path for d in dimensions(Strategy)}
    assert {f"projection.features.{name}" for name in ("kind", "weight", "cells", "start")} <= paths
    for features in (False, True):
        space = SearchSpace(Strategy(), Given(weights=False, teacher=True, features=features).limits())
        rng = np.random.default_rng(0)
        drawn = {space.sample(rng).projection.features.kind for _ in range(40)}  # pyright: ignore
        assert drawn == {"off", "average", *(("teacher",) if features else ())}


def test_a_teacher_that_is_given_for_its_features_is_not_asked_for_answers() -> None:
    imitates = replace(AUTHORS, {"projection.features.kind": "teacher"})
    assert with_teacher(imitates, "x.pt") is imitates
    assert not imitates.projection.asks_answers()
