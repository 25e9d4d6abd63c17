"""What a network takes over from another, and what it says of the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from edgehone.errors import EdgehoneError, UsageError
from edgehone.models import Network, Transferred, YoloV4Tiny, transfer
from edgehone.models.darknet import write_weights

SMALL = YoloV4Tiny(width=0.125)
THREE = YoloV4Tiny(width=0.125, heads=3)


def network(classes: int, seed: int, model: YoloV4Tiny = SMALL) -> Network:
    torch.manual_seed(seed)
    made = Network(model.graph(classes))
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features)
            module.running_var = torch.rand(module.num_features)
    return made


def same(a: Network, b: Network, layer: int) -> bool:
    prefix = f"convolutions.{layer}."
    theirs = b.state_dict()
    entries = {k: v for k, v in a.state_dict().items() if k.startswith(prefix)}
    return all(torch.equal(value, theirs[key]) for key, value in entries.items())


def check(found: Transferred, source: Network, before: Network, after: Network) -> None:
    """Every convolution is told of once; what is said to be carried is the source's, the rest as it was."""
    names = {after.graph.name(int(i)): int(i) for i in after.convolutions}
    assert sorted([*found.carried, *(name for name, _ in found.skipped)]) == sorted(names)
    for name in found.carried:
        assert same(after, source, names[name]), name
    for name, _ in found.skipped:
        assert same(after, before, names[name]), name


def test_a_whole_file_of_the_same_classes_carries_everything(tmp_path: Path) -> None:
    source, before, after = network(3, 0), network(3, 1), network(3, 1)
    found = transfer(after, write_weights(source, tmp_path / "a.weights"))
    check(found, source, before, after)
    assert found.skipped == ()


@pytest.mark.parametrize(("theirs", "ours"), [(80, 3), (3, 80), (1, 2), (20, 4)])
def test_a_whole_file_of_other_classes_carries_all_but_the_heads(theirs: int, ours: int, tmp_path: Path) -> None:
    source, before, after = network(theirs, 0), network(ours, 1), network(ours, 1)
    found = transfer(after, write_weights(source, tmp_path / "a.weights"))
    check(found, source, before, after)
    assert [name for name, _ in found.skipped] == ["29_conv", "36_conv"]
    assert f"({3 * (5 + theirs)},) there, ({3 * (5 + ours)},) here" in found.skipped[0][1]


def test_a_partial_file_carries_its_layers(tmp_path: Path) -> None:
    source, before, after = network(80, 0), network(3, 1), network(3, 1)
    found = transfer(after, write_weights(source, tmp_path / "yolov4-tiny.conv.29", layers=29))
    check(found, source, before, after)
    assert found.carried[-1] == "28_conv"
    assert found.skipped == tuple((f"{i}_conv", "the source does not have it") for i in (29, 32, 35, 36))


@pytest.mark.parametrize("classes", [3, 80])
def test_two_heads_start_three(classes: int, tmp_path: Path) -> None:
    source, before, after = network(classes, 0), network(3, 1, THREE), network(3, 1, THREE)
    found = transfer(after, write_weights(source, tmp_path / "a.weights"))
    check(found, source, before, after)
    fresh = {"39_conv", "42_conv", "43_conv"} | ({"29_conv", "36_conv"} if classes == 80 else set())
    assert {name for name, _ in found.skipped} == fresh


@pytest.mark.parametrize("model", [SMALL, THREE])
def test_a_checkpoint_of_other_classes(model: YoloV4Tiny, tmp_path: Path) -> None:
    source, before, after = network(5, 0, model), network(3, 1), network(3, 1)
    path = tmp_path / "detector.pt"
    torch.save({"schema": 1, "info": json.dumps({}), "state": source.state_dict()}, path)
    found = transfer(after, path)
    check(found, source, before, after)
    assert [name for name, _ in found.skipped] == ["29_conv", "36_conv"]


def test_a_checkpoint_of_another_width_carries_nothing(tmp_path: Path) -> None:
    path = tmp_path / "detector.pt"
    torch.save({"schema": 1, "info": "{}", "state": network(3, 0, YoloV4Tiny(width=0.375)).state_dict()}, path)
    with pytest.raises(EdgehoneError, match=r"nothing of .* fits this network \(0_conv: "):
        transfer(network(3, 1), path)


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no weights at"):
        transfer(network(3, 0), tmp_path / "none.weights")
    path = tmp_path / "a.pt"
    path.write_bytes(b"no checkpoint")
    with pytest.raises(EdgehoneError, match="is not a checkpoint"):
        transfer(network(3, 0), path)
    weights = write_weights(network(3, 0, YoloV4Tiny(width=0.375)), tmp_path / "a.weights")
    with pytest.raises(EdgehoneError, match="the weights belong to another cfg"):
        transfer(network(3, 0), weights)
