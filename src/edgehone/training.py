"""The training loop, in plain sight.

A run is described by a :class:`Job` and is a function of it and of the data: batches and augmentation are
drawn from the seed and the step's number, so a run that was interrupted goes on from its checkpoint as if it
had not been.
"""

from __future__ import annotations

import functools
import hashlib
import io
import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from pydantic import Field
from torch import nn

from edgehone.batches import Batch, BatchSource, Painter
from edgehone.darknet_pair import Masks, head_anchors
from edgehone.data import Sample
from edgehone.data.decoded_cache import LIMIT_BYTES, DecodedCache
from edgehone.data.loader import PictureCache
from edgehone.errors import EdgehoneError, UsageError
from edgehone.files import write_bytes
from edgehone.inference import CHECKPOINT, DetectorInfo, Precision
from edgehone.models import DarknetArchitecture, Network, Transferred, architecture, transfer
from edgehone.optimisation import RATE, SlowParameters, WeightAverage, freeze
from edgehone.projection import LossTerms
from edgehone.space import Settings
from edgehone.strategy import Strategy
from edgehone.types import Lattice, LayerCost

CACHE_BYTES = 2 << 30
CHECKPOINT_SECONDS = 15.0
CURVE_POINTS = 200


class StartWeights(Settings):
    """A file of weights, by place and content: a training that goes on must find the same.

    Attributes:
        path: a ``.pt`` checkpoint, a whole or a partial ``.weights`` file.
        digest: of its bytes.
    """

    path: str
    digest: str

    @staticmethod
    def of(source: str) -> StartWeights:
        """From a file, or a run's folder.

        Raises:
            UsageError: there is no such file.
        """
        path = Path(source) / CHECKPOINT if Path(source).is_dir() else Path(source)
        if not path.is_file():
            raise UsageError(
                f"--weights names a checkpoint, a .weights file or a run's folder; there is none at {path}"
            )
        with path.open("rb") as file:
            return StartWeights(path=str(path), digest=hashlib.file_digest(file, "sha256").hexdigest()[:16])

    def carry_into(self, network: Network) -> Transferred:
        """Fill what fits.

        Raises:
            EdgehoneError: the file has changed, cannot be read, or nothing of it fits.
        """
        if StartWeights.of(self.path) != self:
            raise EdgehoneError(
                f"the weights of a training must stay the same, but {self.path} has changed; start anew"
            )
        return transfer(network, Path(self.path))


class Job(Settings):
    """One training, completely described.

    Attributes:
        model: the architecture: a built-in name or the path of a Darknet cfg.
        strategy: how it learns.
        steps: optimizer steps.
        batch_size: pictures a step.
        seed: of weights, batches and augmentation.
        precision: of the convolutions; everything else is fp32.
        threads: of torch.
        loader_workers: threads that make batches ahead; 0 makes them between the steps. No number of them
            changes the result.
        painter: what paints augmented pictures.
        weights: what the network starts from, where it does not start afresh.
    """

    model: str
    strategy: Strategy
    steps: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    seed: int = 0
    precision: Precision = "fp32"
    threads: int = Field(default=1, ge=1)
    loader_workers: int = Field(default=0, ge=0)
    painter: Painter = "auto"
    weights: StartWeights | None = None


@dataclass(frozen=True)
class Progress:
    """Where a run stands: ``step`` of ``steps`` done, the last loss terms, seconds spent in this process."""

    step: int
    steps: int
    loss: dict[str, float]
    seconds: float


@dataclass(frozen=True)
class Trained:
    """What a run leaves.

    Attributes:
        network: in evaluation mode; the average where the strategy keeps one.
        info: how to read its heads.
        curve: at most about 200 points: step, learning rate, loss terms, positives per image.
        seconds: of training, added up over restarts.
    """

    network: Network
    info: DetectorInfo
    curve: list[dict[str, float]]
    seconds: float


class Diverged(EdgehoneError):
    """The loss stopped being finite."""


def detector_info(model: str, strategy: Strategy, class_names: Sequence[str], train: Sequence[Sample]) -> DetectorInfo:
    """Resolve what depends on the data: the anchors, and the objects of each class.

    The official anchors of a Darknet cfg are its own.
    """
    chosen = architecture(model)
    masks: Masks = ()
    if isinstance(chosen, DarknetArchitecture) and strategy.projection.anchors.kind == "official":
        official, masks = head_anchors(chosen.cfg.graph, model)
        height, width = chosen.cfg.input_size
        anchors = np.array(official) * strategy.input.size / (width, height)
    else:
        truth = truth_sides_px(train, strategy)
        strides = chosen.graph(len(class_names)).strides
        anchors = strategy.projection.anchors.anchors_px(truth, strategy.input.shape, strides)
    labels = np.concatenate([np.zeros(0, np.int64), *(sample.classes for sample in train)])
    return DetectorInfo(
        model=model,
        class_names=tuple(class_names),
        anchors_px=tuple((float(w), float(h)) for w, h in anchors.round(2)),
        strategy=strategy,
        class_counts=tuple(int(n) for n in np.bincount(labels, minlength=len(class_names))),
        cfg=chosen.text,
        masks=masks,
    )


def truth_sides_px(samples: Sequence[Sample], strategy: Strategy) -> Any:
    """``[n, 2]`` float64: width and height of every box at the network input."""
    height, width = strategy.input.shape
    sides: list[Any] = [np.zeros((0, 2))]
    for sample in samples:
        scale = np.array([width / sample.size[1], height / sample.size[0]])
        if strategy.input.fit == "letterbox":
            scale = np.full(2, scale.min())
        sides.append((sample.boxes_xyxy[:, 2:] - sample.boxes_xyxy[:, :2]) * scale)
    return np.concatenate(sides).astype(np.float64)


def picture_cache(samples: Sequence[Sample], strategy: Strategy) -> PictureCache:
    """The training pictures, shrunk to a little more than the network sees of them."""
    largest = max(strategy.augmentation.multi_scale.largest(strategy.input.shape))
    side = round(1.25 * largest)
    # A cache on disk that cannot hold all would only be written, again and again.
    fits = len(samples) * 3 * side**2 <= LIMIT_BYTES // 2
    return PictureCache(samples, side, CACHE_BYTES, DecodedCache() if fits else None)


def train(
    job: Job,
    class_names: Sequence[str],
    samples: Sequence[Sample],
    *,
    checkpoint: Path | None = None,
    watch: Callable[[Progress], None] | None = None,
) -> Trained:
    """Train to the end, or on from ``checkpoint`` if that file exists.

    Args:
        job: what to do.
        class_names: of the data.
        samples: the training split.
        checkpoint: where to keep the state every few seconds; removed by the caller.
        watch: called after every step; may raise to interrupt; what came after the last saved state is then done again.

    Raises:
        Diverged: the loss is not finite.
    """
    torch.set_num_threads(job.threads)
    torch.manual_seed(job.seed)
    info = detector_info(job.model, job.strategy, class_names, samples)
    state = _State.fresh(job, info)
    if checkpoint is not None and checkpoint.is_file():
        state.restore(checkpoint)
    cache = picture_cache(samples, job.strategy)
    source = BatchSource(job.strategy, cache, job.seed, job.steps, job.batch_size, job.painter)
    lattice_at = functools.cache(info.lattice)
    started = saved = time.monotonic()
    before = state.seconds
    with closing(source.stream(state.step, job.loader_workers)) as batches:
        while state.step < job.steps:
            batch = next(batches)
            terms = state.take_step(job, batch, lattice_at((batch.pixels.shape[2], batch.pixels.shape[3])))
            state.seconds = before + time.monotonic() - started
            state.note(job, terms)
            if checkpoint is not None and time.monotonic() - saved > CHECKPOINT_SECONDS:
                state.save(checkpoint)
                saved = time.monotonic()
            if watch is not None:
                watch(Progress(state.step, job.steps, terms.values(), time.monotonic() - started))
    network = state.network if state.average is None else cast(Network, state.average.network)
    return Trained(network.eval(), info, state.curve, state.seconds)


def rate_at(job: Job, step: int) -> float:
    """Learning rate of a step."""
    optimisation = job.strategy.optimisation
    return optimisation.optimizer.lr * optimisation.rate((step + 1) / job.steps)


@dataclass
class _State:
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
    def fresh(job: Job, info: DetectorInfo) -> _State:
        network = cast(Network, cast(Any, info.network()).to(memory_format=torch.channels_last))
        prior = job.strategy.projection.objectness.prior
        if prior > 0:
            _start_at_prior(network, info, prior)
        optimisation = job.strategy.optimisation
        carried: list[nn.Module] = [] if job.weights is None else carried_layers(network, job.weights)
        frozen, slow = optimisation.warm_start.divide(carried)
        freeze(frozen)
        return _State(
            network,
            info.class_counts,
            frozen,
            optimisation.optimizer.build(network, SlowParameters(slow, optimisation.warm_start.rate)),
            optimisation.average.build(network, job.steps),
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
        terms = job.strategy.projection.loss(heads, batch.targets, lattice, self.class_counts)
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
        self.curve.append({key: float(f"{value:.5g}") for key, value in point.items()})

    def save(self, path: Path) -> None:
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
def _start_at_prior(network: Network, info: DetectorInfo, prior: float) -> None:
    """Set the objectness bias of every head to the logit of the prior (RetinaNet's initialisation)."""
    fields = 5 + len(info.class_names)
    for bias in network.head_biases():
        bias.view(-1, fields)[:, 4] = math.log(prior / (1 - prior))


def image_flops(model: str, classes: int, size: int) -> float:
    """FLOPs (2 x MAC) of one picture through the untrained graph at a square input of ``size``."""
    costs: list[LayerCost] = architecture(model).graph(classes).layer_costs((size, size))
    return 2.0 * sum(cost.macs for cost in costs)
