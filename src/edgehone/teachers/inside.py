"""Teachers whose inside can be read: networks of ours and Darknet pairs."""

from __future__ import annotations

from pathlib import Path

import torch

from edgehone.darknet_pair import open_pair, split_pair
from edgehone.errors import UsageError
from edgehone.inference import CHECKPOINT, open_network
from edgehone.models import Network


def open_inside(source: str) -> Network:
    """The network of a teacher, in evaluation mode, its weights fixed; draws no random numbers.

    Args:
        source: a checkpoint, a folder that holds one, or a Darknet pair.

    Raises:
        UsageError: the teacher is a graph, of which only the answers can be had, or there is none.
        EdgehoneError: a file cannot be read.
    """
    pair = split_pair(source)
    path = Path(source) / CHECKPOINT if Path(source).is_dir() else Path(source)
    if pair is None and (path.suffix != ".pt" or not path.is_file()):
        raise UsageError(
            f"the features of a teacher are read from a checkpoint, a folder with {CHECKPOINT} or a Darknet pair "
            f"A.cfg+A.weights; {source} is none of these; name one, or take projection.features.kind=average or off"
        )
    with torch.random.fork_rng(devices=[]):  # fresh weights are drawn before they are filled
        network = open_network(path)[0] if pair is None else open_pair(*pair).network
    return network.eval().requires_grad_(False)
