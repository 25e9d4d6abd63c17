"""Darknet's ``.weights``: numbers of a network, whole or up to a layer, byte for byte.

Layout (AlexeyAB/darknet src/parser.c, load_weights_upto, load_convolutional_weights, load_shortcut_weights): three
int32 (major, minor, revision), the number of pictures seen (uint64 from version 0.2 on, else uint32), then float32,
all little-endian. Layers follow in the cfg's order; a convolution is bias, then with batch norm scale, mean and
variance, then weights ``[filters, channels / groups, size, size]``; a weighed shortcut is its weights.
A partial file (``yolov4-tiny.conv.29``) stops after some of the layers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from edgehone.errors import EdgehoneError, UsageError
from edgehone.files import write_bytes
from edgehone.models.graph import FLOAT_BYTES, Graph
from edgehone.models.layers import Convolutional
from edgehone.models.network import Network

SEEN_64_FROM = 2
"""``10 * major + minor`` from which the count of pictures has 64 bits."""
TRANSPOSED_FROM = 1000
"""A major or minor version above this marks transposed matrices."""


@dataclass(frozen=True)
class Header:
    """What a ``.weights`` file says of itself: its version and how many pictures the network had seen."""

    major: int = 0
    minor: int = 2
    revision: int = 5
    seen: int = 0

    @property
    def wide(self) -> bool:
        """Whether ``seen`` takes 64 bits."""
        return 10 * self.major + self.minor >= SEEN_64_FROM

    @property
    def size(self) -> int:
        """Bytes."""
        return 20 if self.wide else 16

    def to_bytes(self) -> bytes:
        """As it stands in the file."""
        return struct.pack("<iiiQ" if self.wide else "<iiiI", self.major, self.minor, self.revision, self.seen)

    @staticmethod
    def read(file: BinaryIO, name: str) -> Header:
        """From the start of a file.

        Raises:
            EdgehoneError: it is too short, or of a version that stores transposed matrices.
        """
        content = file.read(20)
        if len(content) < 16:
            raise EdgehoneError(f"a .weights file begins with at least 16 bytes of header, {name} has {len(content)}")
        major, minor, revision = struct.unpack_from("<iii", content)
        if not 0 <= major <= TRANSPOSED_FROM or not 0 <= minor <= TRANSPOSED_FROM:
            raise EdgehoneError(f"{name} has version {major}.{minor}: it is no .weights file of a detector")
        wide = Header(major, minor).wide
        if wide and len(content) < 20:
            raise EdgehoneError(f"the header of version {major}.{minor} has 20 bytes, {name} has {len(content)}")
        seen = int(struct.unpack_from("<Q" if wide else "<I", content, 12)[0])
        header = Header(major, minor, revision, seen)
        file.seek(header.size)
        return header


@dataclass(frozen=True)
class Loaded:
    """What was read.

    Attributes:
        header: of the file.
        layers: how many layers, counted as in the cfg, it held; all of the graph's for a whole file.
        whole: whether every layer has its weights now.
    """

    header: Header
    layers: int
    whole: bool


def floats_per_layer(graph: Graph) -> list[int]:
    """How many numbers each layer has in a ``.weights`` file."""
    counts: list[int] = []
    for index, (layer, node) in enumerate(zip(graph.layers, graph.nodes(), strict=True)):
        weights, biases = graph.weights(index, node)
        normed = isinstance(layer, Convolutional) and layer.batch_normalize
        counts.append(weights + biases * (4 if normed else 1))
    return counts


def read_weights(network: Network, path: Path) -> Loaded:
    """Fill a network from a whole or partial file, whose size is compared before anything is read.

    Raises:
        UsageError: there is no such file.
        EdgehoneError: it is of another network, naming the layer at which it ends; or a layer holds numbers that no
            training gives (NaN, infinity, a negative variance).
    """
    if not path.is_file():
        raise UsageError(f"there are no weights at {path}")
    with path.open("rb") as file:
        header = Header.read(file, path.name)
        layers = layers_held(network.graph, path.stat().st_size - header.size, path.name)
        for index in range(layers):
            for name, tensor in stored(network, index):
                _fill(tensor, file, f"{path.name}: {name} of layer {network.graph.name(index)}", name)
    whole = not any(floats_per_layer(network.graph)[layers:])
    return Loaded(header, len(network.graph.layers) if whole else layers, whole)


def layers_held(graph: Graph, size: int, name: str) -> int:
    """How many layers of a graph ``size`` bytes of numbers fill exactly.

    Raises:
        EdgehoneError: the bytes end within a layer, or go on after the last.
    """
    missing = size // FLOAT_BYTES
    if size % FLOAT_BYTES or missing == 0:
        raise EdgehoneError(f"a .weights file holds 4-byte numbers after its header, {name} has {size} bytes there")
    for index, count in enumerate(floats_per_layer(graph)):
        if missing == 0:
            return index
        if missing < count:
            raise EdgehoneError(
                f"{name} ends within layer {graph.name(index)}: that has {count} numbers, {missing} are left of "
                f"{size // FLOAT_BYTES}; the weights belong to another cfg, or the file is cut off"
            )
        missing -= count
    if missing:
        raise EdgehoneError(
            f"{name} has {size // FLOAT_BYTES} numbers, {missing} more than the network; the weights belong to "
            "another cfg (other classes?)"
        )
    return len(graph.layers)


def stored(network: Network, index: int) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a layer by name, in the file's order."""
    if str(index) in network.shortcuts:
        yield "weights", network.shortcuts[str(index)]
    if str(index) not in network.convolutions:
        return
    convolution, norm = network.block(index)
    if norm is None:
        assert convolution.bias is not None
        yield "biases", convolution.bias
    else:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        yield "biases", norm.bias
        yield "scales", norm.weight
        yield "means", norm.running_mean
        yield "variances", norm.running_var
    yield "weights", convolution.weight


@torch.no_grad()
def _fill(tensor: Tensor, file: BinaryIO, what: str, name: str) -> None:
    numbers = np.fromfile(file, dtype="<f4", count=tensor.numel())
    if len(numbers) != tensor.numel():
        raise EdgehoneError(f"{what}: the file ends while it is read")
    if not np.isfinite(numbers).all():
        raise EdgehoneError(f"{what} must be finite numbers; the file is damaged or its training diverged")
    if name == "variances" and (numbers < 0).any():
        raise EdgehoneError(f"{what} must not be negative; the file is damaged, or belongs to another cfg")
    tensor.copy_(torch.from_numpy(numbers.astype(np.float32, copy=False)).view(tensor.shape))


def write_weights(network: Network, path: Path, header: Header | None = None, layers: int | None = None) -> Path:
    """Write a whole file, or with ``layers`` the first so many (``yolov4-tiny.conv.29``: 29).

    Raises:
        UsageError: more layers than there are.
    """
    count = len(network.graph.layers) if layers is None else layers
    if not 1 <= count <= len(network.graph.layers):
        raise UsageError(f"the network has layers 1 to {len(network.graph.layers)} to write, got {layers=}")
    write_bytes(path, weights_bytes(network, header or Header(), count))
    return path


def weights_bytes(network: Network, header: Header, layers: int) -> bytes:
    """The content of the file."""
    parts = [header.to_bytes()]
    for index in range(layers):
        parts += [
            t.detach().float().cpu().contiguous().numpy().astype("<f4").tobytes() for _, t in stored(network, index)
        ]
    return b"".join(parts)
