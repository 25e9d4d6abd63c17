"""The training loop, in plain sight.

A run is described by a :class:`Job` and is a function of it and of the data: batches and augmentation are
drawn from the seed and the step's number, so a run that was interrupted goes on from its checkpoint as if it
had not been.
"""

from __future__ import annotations

import functools
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
from edgehone.data import Sample
from edgehone.data.decoded_cache import LIMIT_BYTES, DecodedCache
from edgehone.data.loader import PictureCache
from edgehone.errors import EdgehoneError, UsageError
from edgehone.files import write_bytes
from edgehone.inference import DetectorInfo, Precision
from edgehone.models import MODELS, Network
from edgehone.optimisation import Ema, WeightAverage
from edgehone.projection import Knowledge, LossTerms
from edgehone.space import Settings
from edgehone.strategy import Strategy
from edgehone.teachers import answers_of, open_teacher
from edgehone.types import Detections, Lattice, LayerCost, Size

CACHE_BYTES = 2 << 30
CHECKPOINT_SECONDS = 15.0
CURVE_POINTS = 200


class Job(Settings):
    """One training, completely described.

    Attributes:
        model: name of the architecture.
        strategy: how it learns.
        steps: optimizer steps.
        batch_size: pictures a step.
        seed: of weights, batches and augmentation.
        precision: of the convolutions; everything else is fp32.
        threads: of torch.
        loader_workers: threads that make batches ahead; 0 makes them between the steps. No number of them
            changes the result.
        painter: what paints augmented pictures.
        teacher: a detector that the strategy may learn from, as :func:`~edgehone.inference.open_detector` takes it.
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
    teacher: str | None = None


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
        curve: at most about 200 points: step, learning rate, loss terms, positives per image, and unlabelled objects
            per image where they are not punished.
        seconds: of training, added up over restarts.
    """

    network: Network
    info: DetectorInfo
    curve: list[dict[str, float]]
    seconds: float


class Diverged(EdgehoneError):
    """The loss stopped being finite."""


def detector_info(model: str, strategy: Strategy, class_names: Sequence[str], train: Sequence[Sample]) -> DetectorInfo:
    """Resolve what depends on the data: the anchors, and the objects of each class."""
    truth = truth_sides_px(train, strategy)
    strides = MODELS[model].graph(len(class_names)).strides
    anchors = strategy.projection.anchors.anchors_px(truth, strategy.input.shape, strides)
    pairs = tuple((float(w), float(h)) for w, h in anchors.round(2))
    labels = np.concatenate([np.zeros(0, np.int64), *(sample.classes for sample in train)])
    counts = tuple(int(n) for n in np.bincount(labels, minlength=len(class_names)))
    names = tuple(class_names)
    return DetectorInfo(model=model, class_names=names, anchors_px=pairs, strategy=strategy, class_counts=counts)


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
        UsageError: the strategy asks for a teacher, and there is none.
        EdgehoneError: the teacher's classes are others.
    """
    torch.set_num_threads(job.threads)
    said = teacher_answers(job, class_names, samples)
    torch.manual_seed(job.seed)  # after the teacher, so that a run starts from the same weights with any and with none
    info = detector_info(job.model, job.strategy, class_names, samples)
    state = _State.fresh(job, info)
    if checkpoint is not None and checkpoint.is_file():
        state.restore(checkpoint)
    cache = picture_cache(samples, job.strategy)
    source = BatchSource(job.strategy, cache, job.seed, job.steps, job.batch_size, job.painter, said=said)
    lattice_at = _lattices(info)
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
    return Trained(state.result(job).eval(), info, state.curve, state.seconds)


def teacher_answers(job: Job, class_names: Sequence[str], samples: Sequence[Sample]) -> list[Detections] | None:
    """What the teacher finds in every training picture; None where the strategy learns from no teacher."""
    projection = job.strategy.projection
    if projection.distillation.kind == "teacher" and job.teacher is None:
        raise UsageError(
            "projection.distillation.kind=teacher learns from a teacher, and none is given; name one with --teacher, "
            "or choose average or off"
        )
    if job.teacher is None or not projection.asks_teacher():
        return None
    return open_teacher(job.teacher, class_names, job.threads).answers(samples)


def rate_at(job: Job, step: int) -> float:
    """Learning rate of a step."""
    optimisation = job.strategy.optimisation
    return optimisation.optimizer.lr * optimisation.rate((step + 1) / job.steps)


def _lattices(info: DetectorInfo) -> Callable[[Size], Lattice]:
    """The lattice of each input size; the anchors keep their pixels, as in Darknet's multi-scale training."""
    strides = MODELS[info.model].graph(len(info.class_names)).strides
    anchors_px = np.array(info.anchors_px)

    @functools.cache
    def lattice_at(size: Size) -> Lattice:
        return info.strategy.projection.lattice(anchors_px, strides, size)

    return lattice_at


@dataclass
class _State:
    """Everything that a run must remember to go on."""

    network: Network
    class_counts: tuple[int, ...]
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
        average = optimisation.average.build(network, job.steps)
        if average is None and job.strategy.projection.asks_average(job.teacher is not None):
            average = Ema().build(network, job.steps)  # to be asked, not to be kept
        return _State(
            network,
            info.class_counts,
            optimisation.optimizer.build(network),
            average,
            0,
            0.0,
            [],
        )

    def take_step(self, job: Job, batch: Batch, lattice: Lattice) -> LossTerms:
        """Forward, loss, backward, update, average."""
        optimisation = job.strategy.optimisation
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(job, self.step)
        self.network.train()
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


@torch.no_grad()
def _start_at_prior(network: Network, info: DetectorInfo, prior: float) -> None:
    """Set the objectness bias of every head to the logit of the prior (RetinaNet's initialisation)."""
    fields = 5 + len(info.class_names)
    for bias in network.head_biases():
        bias.view(-1, fields)[:, 4] = math.log(prior / (1 - prior))


def image_flops(model: str, classes: int, size: int) -> float:
    """FLOPs (2 x MAC) of one picture through the untrained graph at a square input of ``size``."""
    costs: list[LayerCost] = MODELS[model].graph(classes).layer_costs((size, size))
    return 2.0 * sum(cost.macs for cost in costs)
