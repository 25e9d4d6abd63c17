"""Start a network from what another has learnt: a checkpoint, or Darknet weights, of other classes or heads too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from edgehone.errors import EdgehoneError, UsageError
from edgehone.models.darknet.weights import Header, floats_per_layer, layers_held, read_weights, stored
from edgehone.models.graph import FLOAT_BYTES, Graph
from edgehone.models.layers import Head
from edgehone.models.network import Network

MAX_CLASSES = 10_000


@dataclass(frozen=True)
class Transferred:
    """What a network took over.

    Attributes:
        carried: names of the layers that start as the source's.
        skipped: names of those that start afresh, each with the reason.
    """

    carried: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]


def transfer(network: Network, source: Path) -> Transferred:
    """Fill the layers of a network that a source has learnt in the same shape; the others keep what they hold.

    Args:
        network: to be filled, in place.
        source: a ``.pt`` checkpoint, a whole ``.weights`` file of the same cfg, also for other classes or without the
            last heads, or a partial one (``yolov4-tiny.conv.29``).

    Raises:
        UsageError: there is no such file.
        EdgehoneError: it cannot be read, or nothing of it fits.
    """
    if not source.is_file():
        raise UsageError(f"there are no weights at {source}")
    learnt = _checkpoint(source) if source.suffix == ".pt" else _darknet(network.graph, source)
    carried: list[str] = []
    skipped: list[tuple[str, str]] = []
    for index in range(len(network.graph.layers)):
        own = dict(stored(network, index))
        if not own:
            continue
        reason = _misfit(own, learnt.get(index))
        if reason:
            skipped.append((network.graph.name(index), reason))
            continue
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(learnt[index][name])
        carried.append(network.graph.name(index))
    if not carried:
        why = "; ".join(f"{name}: {reason}" for name, reason in skipped[:3])
        raise EdgehoneError(f"nothing of {source} fits this network ({why})")
    return Transferred(tuple(carried), tuple(skipped))


def _misfit(own: Mapping[str, Tensor], theirs: Mapping[str, Tensor] | None) -> str:
    """Why a layer cannot be taken over; empty where it can."""
    if not theirs:
        return "the source does not have it"
    if own.keys() != theirs.keys():
        return f"the source's has {', '.join(theirs)}, this one {', '.join(own)}"
    for name, tensor in own.items():
        if tensor.shape != theirs[name].shape:
            return f"{name} of shape {tuple(theirs[name].shape)} there, {tuple(tensor.shape)} here"
    return ""


def _darknet(graph: Graph, source: Path) -> dict[int, dict[str, Tensor]]:
    with source.open("rb") as file:
        size = source.stat().st_size - Header.read(file, source.name).size
    learnt = Network(_graph_of(graph, size, source.name))
    loaded = read_weights(learnt, source)
    return {index: dict(stored(learnt, index)) for index in range(loaded.layers)}


def _graph_of(graph: Graph, size: int, name: str) -> Graph:
    """The graph for as many classes as ``size`` bytes of numbers tell.

    The numbers up to a layer grow with the classes by a fixed step, so that each place at which a file could end
    gives one number of classes at most. The latest such place behind a head is taken.
    """
    try:
        layers_held(graph, size, name)
    except EdgehoneError:
        one, two = (list(accumulate(floats_per_layer(graph.with_classes(c)))) for c in (1, 2))
        for index in reversed(range(len(graph.layers))):
            step = two[index] - one[index]
            if not isinstance(graph.layers[index], Head) or step == 0:
                continue
            more, rest = divmod(size // FLOAT_BYTES - one[index], step)
            if rest == 0 and 0 <= more < MAX_CLASSES:
                return graph.with_classes(1 + more)
        raise
    return graph


def _checkpoint(source: Path) -> dict[int, dict[str, Tensor]]:
    try:
        content = torch.load(source, map_location="cpu", weights_only=True)
        json.loads(content["info"])
        state = cast(dict[str, Any], content["state"])
    except Exception as error:  # unpickling an arbitrary file may raise anything
        raise EdgehoneError(f"{source} is not a checkpoint of edgehone: {type(error).__name__}") from None
    found: dict[int, dict[str, Tensor]] = {}
    for key, tensor in state.items():
        kind, index, *rest = key.split(".")
        name = _stored_name(kind, rest, f"convolutions.{index}.1.running_mean" in state)
        if name:
            found.setdefault(int(index), {})[name] = tensor
    return found


def _stored_name(kind: str, rest: list[str], normed: bool) -> str | None:
    """What Darknet calls an entry of a state dict."""
    if kind == "shortcuts":
        return "weights"
    names = {
        "0.weight": "weights",
        "0.bias": "biases",
        "1.weight": "scales",
        "1.bias": "biases",
        "1.running_mean": "means",
        "1.running_var": "variances",
    }
    key = ".".join(rest)
    return None if normed and key == "0.bias" else names.get(key)
