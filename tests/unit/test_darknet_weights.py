"""Darknet's .weights: order, header, partial files, and files that do not belong to the network."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from edgehone.errors import EdgehoneError, UsageError
from edgehone.models import Convolutional, Graph, Head, Network, Shortcut
from edgehone.models.darknet import Header, read_weights, write_weights
from edgehone.models.darknet.weights import floats_per_layer

GRAPH = Graph(
    (
        Convolutional(4, 3),  # 3*4*9 + 4*4 = 124
        Convolutional(4, 1, groups=2),  # 4*2 + 16 = 24
        Shortcut((0,), weights="per_channel", normalisation="relu"),  # 8
        Convolutional(6, 1, batch_normalize=False, activation="linear"),  # 24 + 6 = 30
        Head(((8, 8),), (0,), 1),
    )
)
COUNTS = [124, 24, 8, 30, 0]


def numbered(path: Path, count: int, header: Header | None = None) -> Path:
    """A file whose numbers say where they stand."""
    path.write_bytes((header or Header()).to_bytes() + np.arange(1, count + 1, dtype="<f4").tobytes())
    return path


def test_every_number_has_its_place(tmp_path: Path) -> None:
    assert floats_per_layer(GRAPH) == COUNTS
    network = Network(GRAPH)
    loaded = read_weights(network, numbered(tmp_path / "a.weights", sum(COUNTS)))
    assert loaded.whole
    convolution, norm = network.block(0)
    assert norm is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.bias.tolist() == [1, 2, 3, 4]
    assert norm.weight.tolist() == [5, 6, 7, 8]
    assert norm.running_mean.tolist() == [9, 10, 11, 12]
    assert norm.running_var.tolist() == [13, 14, 15, 16]
    assert convolution.weight.flatten().tolist() == list(range(17, 125))
    assert network.shortcuts["2"].tolist() == [[149, 150, 151, 152], [153, 154, 155, 156]]
    head = network.head_convolution(3)
    assert head.bias is not None
    assert head.bias.tolist() == list(range(157, 163))
    assert head.weight.flatten().tolist() == list(range(163, 187))


@pytest.mark.parametrize(
    "header", [Header(0, 1, 0, 2**32 - 1), Header(0, 2, 0, 2**63 + 5), Header(0, 2, 5, 7), Header(1, 0, 0, 9)]
)
@pytest.mark.parametrize("layers", [1, 2, 3, 5])
def test_files_are_written_as_they_were_read(header: Header, layers: int, tmp_path: Path) -> None:
    source = numbered(tmp_path / "a.weights", sum(COUNTS[:layers]), header)
    network = Network(GRAPH)
    loaded = read_weights(network, source)
    assert loaded.header == header
    assert (loaded.layers, loaded.whole) == (layers, layers == 5)
    assert write_weights(network, tmp_path / "b.weights", header, layers).read_bytes() == source.read_bytes()
    assert source.stat().st_size == (16 if header.minor == 1 else 20) + 4 * sum(COUNTS[:layers])


def test_a_partial_file_leaves_the_rest_alone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Network(GRAPH)
    before = network.head_convolution(3).weight.clone()
    read_weights(network, numbered(tmp_path / "a.conv.2", 124 + 24))
    assert torch.equal(network.head_convolution(3).weight, before)
    assert network.block(1)[0].weight.flatten().tolist() == [float(k) for k in range(141, 149)]


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (100, r"a\.weights ends within layer 0_conv: that has 124 numbers, 100 are left of 100"),
        (124 + 25, r"ends within layer 2_shortcut: that has 8 numbers, 1 are left of 149"),
        (sum(COUNTS) + 3, r"has 189 numbers, 3 more than the network"),
        (0, r"has 0 bytes there"),
    ],
)
def test_a_size_that_does_not_fit_is_named_by_layer(count: int, message: str, tmp_path: Path) -> None:
    network = Network(GRAPH)
    before = network.block(0)[0].weight.clone()
    with pytest.raises(EdgehoneError, match=message):
        read_weights(network, numbered(tmp_path / "a.weights", count))
    assert torch.equal(network.block(0)[0].weight, before), "nothing is read of a file that does not fit"


def test_a_size_is_compared_before_anything_is_read(tmp_path: Path) -> None:
    path = tmp_path / "vast.weights"
    with path.open("wb") as file:
        file.write(Header().to_bytes())
        file.truncate(40 << 30)  # sparse: 40 GiB that nobody has
    with pytest.raises(EdgehoneError, match="more than the network"):
        read_weights(Network(GRAPH), path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "at least 16 bytes of header"),
        (b"\0" * 15, "at least 16 bytes of header"),
        (struct.pack("<iiiI", 0, 2, 5, 0), "has 20 bytes"),
        (struct.pack("<iiiQ", 2000, 2, 5, 0) + b"\0" * 40, "version 2000.2"),
        (struct.pack("<iiiQ", 0, -1, 5, 0) + b"\0" * 40, "version 0.-1"),
        (struct.pack("<iiiQ", 0, 2, 5, 0) + b"\0" * 41, "4-byte numbers"),
    ],
)
def test_what_is_no_weights_file_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.weights"
    path.write_bytes(content)
    with pytest.raises(EdgehoneError, match=message):
        read_weights(Network(GRAPH), path)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [(16, np.nan, "weights of layer 0_conv must be finite"), (12, -1.0, "variances of layer 0_conv must not be")],
)
def test_damaged_numbers_are_refused_by_layer(place: int, value: float, message: str, tmp_path: Path) -> None:
    numbers = np.ones(sum(COUNTS), dtype="<f4")
    numbers[place] = value
    path = tmp_path / "a.weights"
    path.write_bytes(Header().to_bytes() + numbers.tobytes())
    with pytest.raises(EdgehoneError, match=message):
        read_weights(Network(GRAPH), path)


def test_usage_is_checked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no weights at"):
        read_weights(Network(GRAPH), tmp_path / "none.weights")
    with pytest.raises(UsageError, match="layers 1 to 5"):
        write_weights(Network(GRAPH), tmp_path / "a.weights", layers=6)
