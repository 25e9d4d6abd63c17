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
from edgehone.training.imitation import Imitation
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
    imitation: Imitation | None
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
        imitation = Imitation.of(job, network)
        adapters = None if imitation is None else imitation.adapters
        slowly = SlowParameters([blocks[index] for index in slow], optimisation.warm_start.rate)
        return State(
            network,
            auxiliary,
            imitation,
            plan,
            info.class_counts,
            [blocks[index] for index in frozen],
            optimisation.optimizer.build(all_that_learns(network, auxiliary, adapters), slowly),
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
        learning = all_that_learns(self.network, self.auxiliary, self.adapters)
        nn.utils.clip_grad_norm_(learning.parameters(), optimisation.clip_norm)
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.network)
        self.step += 1
        return terms

    def loss(self, job: Job, batch: Batch, lattice: Lattice) -> LossTerms:
        """Of the heads, of the auxiliary ones where there are any, and of the features that should be a teacher's."""
        projection, capacity = job.strategy.projection, job.strategy.capacity
        self.set_training()
        taps = () if self.auxiliary is None else self.auxiliary.taps
        reads = () if self.imitation is None else self.imitation.mine
        with half_precision(job):
            heads, maps = self.network.heads_and_maps(batch.pixels, (*taps, *reads))
            more = None if self.auxiliary is None else self.auxiliary(maps)
        knowledge = self.knowledge(job, batch, lattice)
        terms = projection.loss(heads, batch.targets, lattice, self.class_counts, knowledge)
        if self.imitation is not None and knowledge is not None and knowledge.features:
            with half_precision(job):
                own = self.imitation.adapted(maps)
            terms = terms.with_features(projection.feature_loss(own, knowledge.features, batch.targets, lattice))
        if more is None or not isinstance(capacity.auxiliary, AuxiliaryLoss):
            return terms
        again = projection.loss(more, batch.targets, lattice, self.class_counts, knowledge)
        return terms.with_auxiliary(capacity.auxiliary.weight * again.total)

    @property
    def adapters(self) -> nn.ModuleList | None:
        """Between the network's features and the teacher's, where there are any."""
        return None if self.imitation is None else self.imitation.adapters

    def set_training(self) -> None:
        """Training mode, but for what is frozen."""
        self.network.train()
        freeze(self.frozen)

    @torch.no_grad()
    def knowledge(self, job: Job, batch: Batch, lattice: Lattice) -> Knowledge | None:
        """What the teacher said of the originals, and what the average says of this very batch, where it is asked.

        Features are of the very batch, whose ever they are.
        """
        projection, progress, imitation = job.strategy.projection, self.step / job.steps, self.imitation
        to_distil = projection.distillation.asks_average(progress)
        to_mend = batch.answers is None and projection.missing.asks_average(progress)
        to_imitate = imitation is not None and projection.features.asks_average(progress)
        features: Sequence[Tensor] = ()
        if imitation is not None and imitation.teacher is not None:
            with half_precision(job):
                features = imitation.taught(batch.pixels)
        if self.average is None or not (to_distil or to_mend or to_imitate):
            known = batch.answers is not None or features
            return Knowledge(answers=batch.answers, features=features) if known else None
        reads = imitation.theirs if imitation is not None and to_imitate else ()
        with half_precision(job):
            heads, maps = cast(Network, self.average.network).heads_and_maps(batch.pixels, reads)
        said = projection.predictions(heads, lattice) if to_distil or to_mend else None
        return Knowledge(
            said if to_distil else None,
            answers_of(said) if to_mend and said is not None else batch.answers,
            [maps[index] for index in reads] or features,
        )

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
            "adapters": None if self.adapters is None else self.adapters.state_dict(),
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
        if self.adapters is not None:
            self.adapters.load_state_dict(content["adapters"])
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


def all_that_learns(network: Network, *beside: nn.Module | None) -> nn.Module:
    """The network, with what learns beside it if there is anything."""
    there = [module for module in beside if module is not None]
    return nn.ModuleList([network, *there]) if there else network


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
