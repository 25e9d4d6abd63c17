"""A training that starts from weights carries over what fits, may freeze it, and is resumed only from the same file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from edgehone.data import read_dataset
from edgehone.errors import EdgehoneError, UsageError
from edgehone.inference import open_network, save_detector
from edgehone.optimisation import SlowParameters, WarmStart
from edgehone.optimisation.optimizers import AdamW, Sgd
from edgehone.search.scope import WARM_START
from edgehone.space import dimensions, replace
from edgehone.strategy import AUTHORS, Strategy
from edgehone.training import Job, StartWeights, detector_info, train

DATA = "builtin:digits?train=8&val=2&test=2&width=96&height=96&max_px=60"
OTHER = DATA + "&classes=3"


def job(weights: Path | None, **changes: object) -> Job:
    strategy = replace(
        AUTHORS,
        {"input.size": 128, "optimisation.average.kind": "none", "augmentation.mosaic.probability": 0.0, **changes},
    )
    start = None if weights is None else StartWeights.of(str(weights))
    return Job(model="yolov4-tiny", strategy=strategy, steps=2, batch_size=2, weights=start)


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of another number of classes."""
    dataset = read_dataset(OTHER)
    trained = train(job(None), dataset.class_names, dataset.train)
    path = tmp_path_factory.mktemp("learnt") / "detector.pt"
    save_detector(trained.network, trained.info, path)
    return path


def states(path: Path, weights: Path | None, **changes: object) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    dataset = read_dataset(DATA)
    trained = train(job(weights, **changes), dataset.class_names, dataset.train)
    return open_network(path)[0].state_dict(), trained.network.state_dict()


def test_frozen_layers_stay_and_the_others_learn(learnt: Path) -> None:
    source, result = states(learnt, learnt, **{"optimisation.warm_start.frozen": 0.5})
    same = {key for key in result if result[key].shape == source[key].shape and torch.equal(result[key], source[key])}
    carried = [key for key in result if key.endswith(".0.weight") and result[key].shape == source[key].shape]
    first, last = carried[:10], carried[10:]  # half of 19, rounded to even
    assert len(carried) == 19  # 21 convolutions, two of them heads of another width
    assert set(first) <= same
    assert not set(last) & same
    statistics = [key.replace(".0.weight", ".1.running_mean") for key in first]
    assert set(statistics) <= same


def test_a_lower_rate_moves_carried_layers_less(learnt: Path) -> None:
    moved = []
    for rate in (1.0, 0.05):
        source, result = states(learnt, learnt, **{"optimisation.warm_start.rate": rate})
        moved.append(float((result["convolutions.0.0.weight"] - source["convolutions.0.0.weight"]).abs().mean()))
    assert moved[1] < 0.2 * moved[0]


@pytest.mark.parametrize("optimizer", [Sgd(), AdamW()])
def test_every_parameter_is_in_one_group(optimizer: Sgd | AdamW) -> None:
    dataset = read_dataset(DATA)
    network = detector_info("yolov4-tiny", AUTHORS, dataset.class_names, dataset.train).network()
    slow = list(network.convolutions.values())[:4]
    built = optimizer.build(network, SlowParameters(slow, 0.1))
    grouped = [id(p) for group in built.param_groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in network.parameters())
    assert [group["rate"] for group in built.param_groups] == [1.0, 1.0, 0.1, 0.1]


def test_without_weights_a_warm_start_changes_nothing(learnt: Path) -> None:
    _, plain = states(learnt, None)
    _, other = states(learnt, None, **{"optimisation.warm_start.frozen": 0.75, "optimisation.warm_start.rate": 0.1})
    assert all(torch.equal(plain[key], other[key]) for key in plain)


def test_the_weights_must_stay_the_same(learnt: Path, tmp_path: Path) -> None:
    copy = tmp_path / "detector.pt"
    copy.write_bytes(learnt.read_bytes())
    start = job(copy)
    copy.write_bytes(learnt.read_bytes() + b" ")
    dataset = read_dataset(DATA)
    with pytest.raises(EdgehoneError, match=r"must stay the same.*has changed"):
        train(start, dataset.class_names, dataset.train)
    with pytest.raises(UsageError, match="there is none at"):
        StartWeights.of(str(tmp_path / "nothing.weights"))
    (tmp_path / "notes.pt").write_text(json.dumps({}))
    with pytest.raises(EdgehoneError, match="not a checkpoint"):
        train(job(tmp_path / "notes.pt"), dataset.class_names, dataset.train)


def test_what_is_fixed_without_weights_are_dimensions() -> None:
    paths = {d.path for d in dimensions(Strategy)}
    assert paths >= WARM_START
    assert {path for path in paths if "warm_start" in path} == WARM_START
    assert set(WarmStart.model_fields) == {path.rpartition(".")[2] for path in WARM_START}
