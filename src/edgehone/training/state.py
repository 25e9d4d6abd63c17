"""What a training must remember to go on, and how a step changes it."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from edgehone.batches import Batch
from edgehone.files import write_bytes
from edgehone.inference import DetectorInfo
from edgehone.models import Network
from edgehone.optimisation import RATE, Ema, SlowParameters, WeightAverage, freeze
from edgehone.projection import Knowledge, LossTerms
from edgehone.teachers import answers_of
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
        network = cast(Network, cast(Any, info.network()).to(memory_format=torch.channels_last))
        prior = job.strategy.projection.objectness.prior
        if prior > 0:
            start_at_prior(network, info, prior)
        optimisation = job.strategy.optimisation
        carried: list[nn.Module] = [] if job.weights is None else carried_layers(network, job.weights)
        frozen, slow = optimisation.warm_start.divide(carried)
        freeze(frozen)
        average = optimisation.average.build(network, job.steps)
        if average is None and job.strategy.projection.asks_average(job.teacher is not None):
            average = Ema().build(network, job.steps)  # to be asked, not to be kept
        return State(
            network,
            info.class_counts,
            frozen,
            optimisation.optimizer.build(network, SlowParameters(slow, optimisation.warm_start.rate)),
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
        self.network.train()
        freeze(self.frozen)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=job.precision == "bf16"):
            heads = self.network(batch.pixels)
        knowledge = self.knowledge(job, batch, lattice)
        terms = job.strategy.projection.loss(heads, batch.targets, lattice, self.class_counts, knowledge)
        if not math.isfinite(float(terms.total.detach())):
            raise Diverged(
                f"the loss must stay finite, but at step {self.step} of {job.steps} it is {terms.values()}; "
                "lower the learning rate or the loss weights"
            )
        self.optimizer.zero_grad(set_to_none=True)
        terms.total.backward()  # pyright: ignore[reportUnknownMemberType]
        nn.utils.clip_grad_norm_(self.network.parameters(), optimisation.clip_norm)
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.network)
        self.step += 1
        return terms

    @torch.no_grad()
    def knowledge(self, job: Job, batch: Batch, lattice: Lattice) -> Knowledge | None:
        """What the teacher said of the originals, and what the average says of this very batch, where it is asked."""
        projection, progress = job.strategy.projection, self.step / job.steps
        to_distil = projection.distillation.asks_average(progress)
        to_mend = batch.answers is None and projection.missing.asks_average(progress)
        if self.average is None or not (to_distil or to_mend):
            return None if batch.answers is None else Knowledge(answers=batch.answers)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=job.precision == "bf16"):
            heads = self.average.network(batch.pixels)
        said = projection.predictions(heads, lattice)
        return Knowledge(said if to_distil else None, answers_of(said) if to_mend else batch.answers)

    def result(self, job: Job) -> Network:
        """The weights that count in the end."""
        if self.average is None or job.strategy.optimisation.average.kind == "none":
            return self.network
        return cast(Network, self.average.network)

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
        self.optimizer.load_state_dict(content["optimizer"])
        if self.average is not None:
            self.average.network.load_state_dict(content["average"])
            self.average.updates = content["updates"]
        self.step, self.seconds, self.curve = content["step"], content["seconds"], content["curve"]


def carried_layers(network: Network, weights: StartWeights) -> list[nn.Module]:
    """Fill a network from weights; its layers that were carried over, in order."""
    names = set(weights.carry_into(network).carried)
    return [module for key, module in network.convolutions.items() if network.graph.name(int(key)) in names]


@torch.no_grad()
def start_at_prior(network: Network, info: DetectorInfo, prior: float) -> None:
    """Set the objectness bias of every head to the logit of the prior (RetinaNet's initialisation)."""
    fields = 5 + len(info.class_names)
    for bias in network.head_biases():
        bias.view(-1, fields)[:, 4] = math.log(prior / (1 - prior))
