"""Imitation: whose features a network is drawn towards in training, and what is put between the two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgehone.errors import EdgehoneError
from edgehone.models import Graph, Network, architecture
from edgehone.teachers import open_inside
from edgehone.training.job import Job


@dataclass(frozen=True)
class Imitation:
    """The layers whose features are compared, in like order.

    Attributes:
        mine: of the network that learns: what its heads read.
        theirs: of the teacher.
        teacher: run on the same batches; None: the moving average.
        adapters: 1x1 convolutions from the channels of ``mine`` to those of ``theirs``, which learn with the network
            and are dropped with the training; None for the average, whose channels are the same.
    """

    mine: tuple[int, ...]
    theirs: tuple[int, ...]
    teacher: Network | None = None
    adapters: nn.ModuleList | None = None

    @staticmethod
    def of(job: Job, network: Network) -> Imitation | None:
        """As a job asks; None where it does not. Draws nothing from torch's own generator.

        Raises:
            EdgehoneError: the teacher's features cannot be read, or no head of it has the stride of one of ours.
        """
        kind = job.strategy.projection.features.kind
        if kind == "off":
            return None
        if kind == "average" or job.teacher is None:
            reads = tuple(read_by_heads(network.graph).values())
            return Imitation(reads, reads)
        teacher = open_inside(job.teacher)
        like = like_heads(network.graph, teacher.graph, job.teacher)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(job.seed)
            adapters = nn.ModuleList(
                nn.Conv2d(network.nodes[a].channels, teacher.nodes[b].channels, 1, bias=False) for a, b in like
            )
        return Imitation(tuple(a for a, _ in like), tuple(b for _, b in like), teacher, adapters)

    def adapted(self, maps: Mapping[int, Tensor]) -> list[Tensor]:
        """What is compared of the network's own maps, by layer."""
        own = [maps[index] for index in self.mine]
        if self.adapters is None:
            return own
        return [adapter(features) for adapter, features in zip(self.adapters, own, strict=True)]

    @torch.no_grad()
    def taught(self, pixels: Tensor) -> list[Tensor]:
        """What the teacher's maps are; there must be a teacher."""
        assert self.teacher is not None
        _, maps = self.teacher.heads_and_maps(pixels, self.theirs)
        return [maps[index] for index in self.theirs]


def read_by_heads(graph: Graph) -> dict[int, int]:
    """Stride of a head to the layer that it reads, coarse stride first."""
    nodes = graph.nodes()
    return {nodes[index].stride: nodes[index].inputs[0] for index in graph.outputs}


def like_heads(student: Graph, teacher: Graph, name: str) -> list[tuple[int, int]]:
    """The layers that heads of the same stride read, of both.

    Raises:
        EdgehoneError: there are none, or the teacher cannot take the student's inputs.
    """
    ours, theirs = read_by_heads(student), read_by_heads(teacher)
    like = [(ours[stride], theirs[stride]) for stride in ours if stride in theirs]
    if not like or student.coarsest % teacher.coarsest or student.channels != teacher.channels:
        raise EdgehoneError(
            "features are compared at heads of the same stride, over inputs that both can take; the student has heads "
            f"at {', '.join(map(str, ours))} px and takes multiples of {student.coarsest} px, {name} has heads at "
            f"{', '.join(map(str, theirs))} px and takes multiples of {teacher.coarsest} px; choose another teacher, "
            "or take projection.features.kind=average or off"
        )
    return like


def imitable(model: str, teacher: str | None) -> Graph | None:
    """The graph of a teacher whose features an architecture can be drawn towards; None without such a teacher."""
    try:
        found = None if teacher is None else open_inside(teacher).graph
        if found is not None and teacher is not None:
            like_heads(architecture(model).graph(1), found, teacher)
    except EdgehoneError:
        return None
    return found
