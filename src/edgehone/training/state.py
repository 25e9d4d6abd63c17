"""What a training must remember to go on, and how a step changes it."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from edgehone.batches import Batch
from edgehone.files import write_bytes
from edgehone.inference import DetectorInfo
from edgehone.models import AuxiliaryHeads, AuxiliaryLoss, CapacityPlan, Network, plain, widen
from edgehone.optimisation import RATE, Ema, SlowParameters, WeightAverage, freeze
from edgehone.projection import Knowledge, LossTerms
from edgehone.teachers import answers_of
from edgehone.training.device import CPU
from edgehone.training.job import Diverged, Job, StartWeights
from edgehone.types import Lattice

CURVE_POINTS = 200


def rate_at(job: Job, step: int) -> float:
    """Learning rate of a step."""
    optimisation = job.strategy.optimisation
    return optimisation.optimizer.lr * optimisation.rate((step + 1) / job.steps)


@dataclass
class State:
    """Everything that a run must remember to go on."""

    network: Network
    auxiliary: AuxiliaryHeads | None
    plan: CapacityPlan
    class_counts: tuple[int, ...]
    frozen: Sequence[nn.Module]
    optimizer: torch.optim.Optimizer
    average: WeightAverage | None
    step: int
    seconds: float
    curve: list[dict[str, float]]

    @staticmethod
    def fresh(job: Job, info: DetectorInfo) -> State:
        """Before the first step."""
        network = channels_last(info.network())
        start_at_prior(network.head_biases(), job, info)
        optimisation = job.strategy.optimisation
        carried = [] if job.weights is None else carried_layers(network, job.weights)
        frozen, slow = optimisation.warm_start.divide(carried)
        plan = job.strategy.capacity.plan(network.graph, frozen)
        auxiliary = widen(network, plan, carried)
        network = channels_last(network).to(job.device)
        if auxiliary is not None:
            start_at_prior(auxiliary.biases(), job, info)
            auxiliary.to(job.device)
        blocks = {index: network.convolutions[str(index)] for index in carried}
        freeze([blocks[index] for index in frozen])
        average = optimisation.average.build(network, job.steps)
        if average is None and job.strategy.projection.asks_average(job.teacher is not None):
            average = Ema().build(network, job.steps)  # to be asked, not to be kept
        slowly = SlowParameters([blocks[index] for index in slow], optimisation.warm_start.rate)
        return State(
            network,
            auxiliary,
            plan,
            info.class_counts,
            [blocks[index] for index in frozen],
            optimisation.optimizer.build(all_that_learns(network, auxiliary), slowly),
            average,
            0,
            0.0,
            [],
        )

    def take_step(self, job: Job, batch: Batch, lattice: Lattice) -> LossTerms:
        """Forward, loss, backward, update, average."""
        optimisation = job.strategy.optimisation
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(job, self.step) * group.get(RATE, 1.0)
        terms = self.loss(job, batch, lattice)
        if not math.isfinite(float(terms.total.detach())):
            raise Diverged(
                f"the loss must stay finite, but at step {self.step} of {job.steps} it is {terms.values()}; "
                "lower the learning rate or the loss weights"
            )
        self.optimizer.zero_grad(set_to_none=True)
        terms.total.backward()  # pyright: ignore[reportUnknownMemberType]
        learning = all_that_learns(self.network, self.auxiliary)
        nn.utils.clip_grad_norm_(learning.parameters(), optimisation.clip_norm)
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.network)
        self.step += 1
        return terms

    def loss(self, job: Job, batch: Batch, lattice: Lattice) -> LossTerms:
        """Of the heads, and of the auxiliary ones where there are any."""
        projection, capacity = job.strategy.projection, job.strategy.capacity
        self.set_training()
        taps = () if self.auxiliary is None else self.auxiliary.taps
        with half_precision(job):
            heads, maps = self.network.heads_and_maps(batch.pixels, taps)
            more = None if self.auxiliary is None else self.auxiliary(maps)
        knowledge = self.knowledge(job, batch, lattice)
        terms = projection.loss(heads, batch.targets, lattice, self.class_counts, knowledge)
        if more is None or not isinstance(capacity.auxiliary, AuxiliaryLoss):
            return terms
        again = projection.loss(more, batch.targets, lattice, self.class_counts, knowledge)
        return terms.with_auxiliary(capacity.auxiliary.weight * again.total)

    def set_training(self) -> None:
        """Training mode, but for what is frozen."""
        self.network.train()
        freeze(self.frozen)

    @torch.no_grad()
    def knowledge(self, job: Job, batch: Batch, lattice: Lattice) -> Knowledge | None:
        """What the teacher said of the originals, and what the average says of this very batch, where it is asked."""
        projection, progress = job.strategy.projection, self.step / job.steps
        to_distil = projection.distillation.asks_average(progress)
        to_mend = batch.answers is None and projection.missing.asks_average(progress)
        if self.average is None or not (to_distil or to_mend):
            return None if batch.answers is None else Knowledge(answers=batch.answers)
        with half_precision(job):
            heads = self.average.network(batch.pixels)
        said = projection.predictions(heads, lattice)
        return Knowledge(said if to_distil else None, answers_of(said) if to_mend else batch.answers)

    def recount(self, job: Job, batches: Iterable[Batch]) -> None:
        """Give the average running statistics of its own."""
        assert self.average is not None
        self.set_training()
        with half_precision(job):
            self.average.recount(self.network, (batch.pixels for batch in batches))

    def result(self, job: Job) -> Network:
        """The weights that count in the end, in the plain form, on the CPU."""
        if self.average is None or job.strategy.optimisation.average.kind == "none":
            return plain(self.network.to(CPU))
        return plain(cast(Network, self.average.network).to(CPU))

    def note(self, job: Job, terms: LossTerms) -> None:
        """Add a point to the curve, now and then."""
        if self.step % max(1, job.steps // CURVE_POINTS) and self.step < job.steps:
            return
        point = {
            "step": self.step,
            "lr": rate_at(job, self.step - 1),
            **terms.values(),
            "positives": terms.positives / job.batch_size,
        }
        if job.strategy.projection.missing.kind != "punish":
            point["unlabelled"] = terms.unlabelled / job.batch_size
        self.curve.append({key: float(f"{value:.5g}") for key, value in point.items()})

    def save(self, path: Path) -> None:
        """Keep what :meth:`restore` needs."""
        content = {
            "network": self.network.state_dict(),
            "auxiliary": None if self.auxiliary is None else self.auxiliary.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.network.state_dict(),
            "updates": 0 if self.average is None else self.average.updates,
            "step": self.step,
            "seconds": self.seconds,
            "curve": self.curve,
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_bytes(path, buffer.getvalue())

    def restore(self, path: Path) -> None:
        """Go on from what :meth:`save` kept."""
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        self.network.load_state_dict(content["network"])
        if self.auxiliary is not None:
            self.auxiliary.load_state_dict(content["auxiliary"])
        self.optimizer.load_state_dict(content["optimizer"])
        if self.average is not None:
            self.average.network.load_state_dict(content["average"])
            self.average.updates = content["updates"]
        self.step, self.seconds, self.curve = content["step"], content["seconds"], content["curve"]


def half_precision(job: Job) -> torch.autocast:
    """Convolutions in bf16 where the job says so."""
    return torch.autocast(torch.device(job.device).type, dtype=torch.bfloat16, enabled=job.precision == "bf16")


def channels_last(network: Network) -> Network:
    """The same network, laid out in memory as its pictures are."""
    return cast(Network, cast(Any, network).to(memory_format=torch.channels_last))


def all_that_learns(network: Network, auxiliary: AuxiliaryHeads | None) -> nn.Module:
    """The network, with the heads beside it if there are any."""
    return network if auxiliary is None else nn.ModuleList([network, auxiliary])


def carried_layers(network: Network, weights: StartWeights) -> list[int]:
    """Fill a network from weights; its convolutions that were carried over, in order."""
    names = set(weights.carry_into(network).carried)
    return [int(key) for key in network.convolutions if network.graph.name(int(key)) in names]


@torch.no_grad()
def start_at_prior(biases: Sequence[Tensor], job: Job, info: DetectorInfo) -> None:
    """Set the objectness biases of heads to the logit of the prior, if there is one (RetinaNet's initialisation)."""
    prior, fields = job.strategy.projection.objectness.prior, 5 + len(info.class_names)
    for bias in biases if prior > 0 else ():
        bias.view(-1, fields)[:, 4] = math.log(prior / (1 - prior))
