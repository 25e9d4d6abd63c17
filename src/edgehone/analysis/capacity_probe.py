"""Capacity measured with a little training, within a budget: what the network can memorise, and how much variation
it can take while it does.

The memorisation probe trains on a few pictures as they are and asks what of them is found again. The augmentation
ladder repeats it with rising augmentation and asks the same of the same, unvaried pictures: where the answer falls,
the variation is more than the network can fit in these steps. It is a short training: it says what is fitted in
``steps``, not what ever could be.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgehone.analysis.confidence import MEET_IOU, Answers, answers
from edgehone.augment import NONE, Affine, Augmentation, Flip, Mixup, Mosaic, UniformHsv
from edgehone.data import Sample
from edgehone.errors import UsageError
from edgehone.files import read_json, write_json
from edgehone.inference import Detector, Precision, TorchRuntime
from edgehone.optimisation import AdamW, Cosine, NoAverage, Optimisation
from edgehone.projection import (
    Ciou,
    Classification,
    KmeansAnchors,
    Objectness,
    Projection,
    SquaredSigmoidCoding,
    TaskAligned,
)
from edgehone.space import Settings, fingerprint, load
from edgehone.strategy import INPUT_SIZES, Input, Strategy
from edgehone.training import Job, Progress, Trained, train

PICTURES = 32
BATCH = 8
LADDERS = ((0.0, 1 / 3, 2 / 3, 1.0), (0.0, 0.5, 1.0), (0.0, 1.0), (0.0,))
"""Strengths of augmentation that are tried, the longest ladder that the budget pays for."""

MIN_STEPS, MAX_STEPS = 40, 600
TIMED_STEPS = 4
EVALUATION_STEPS = 3
"""Finding the objects of all pictures costs about as much as this many steps."""

MARGIN = 0.85
"""Share of the budget that is planned."""

HOLDS = 0.8
"""The network still fits where it remembers at least this share of what it does without augmentation."""

CELL_PX = 16
"""The input is so large that the median object covers a cell of the second head."""

SIZE_EDGES_PX = (16, 32, 64, 128)
"""Sizes are told apart in octaves of sqrt(area) at the input."""

Say = Callable[[str], None]


class ProbePlan(Settings):
    """What will be trained; the result is a function of it and of the data.

    Attributes:
        model: name of the architecture.
        strengths: of augmentation, one training each; 0 is the memorisation probe.
        steps: of each training, of ``batch_size`` pictures.
        pictures: of the training split, drawn by the seed.
        input_size: side of the network input, pixels.
        precision: of the convolutions, the faster one.
        seed: of pictures, weights, batches and augmentation.
        seconds: that it is expected to take.
    """

    model: str
    strengths: tuple[float, ...]
    steps: int
    batch_size: int
    pictures: int
    input_size: int
    precision: Precision
    seed: int
    seconds: float


class Recall(Settings):
    """Share of the objects that are found at IoU 0.5 with their class; sizes in pixels at the input."""

    overall: float
    by_size: dict[str, float]
    by_class: dict[str, float]


class Rung(Settings):
    """One training of the ladder, asked about its own pictures without any augmentation.

    Attributes:
        strength: of the augmentation that it learned with.
        loss: at its last step.
        fitted: what is found at the score at which precision and recall balance best (F1).
        ceiling: what is found among the 100 best answers of a picture, whatever their score.
    """

    strength: float
    loss: float
    fitted: Recall
    ceiling: Recall


class ProbeFacts(Settings):
    """What the probe found.

    Attributes:
        plan: what it was.
        objects: that there were to learn, by size at the input.
        rungs: weakest augmentation first; fewer than planned where the budget ended before.
        fits_up_to: the strongest augmentation that it fits, see :data:`HOLDS`; None without a rung that found any.
        seconds: that it took.
    """

    plan: ProbePlan
    objects: dict[str, int]
    rungs: tuple[Rung, ...]
    fits_up_to: float | None
    seconds: float


class OutOfTime(Exception):
    """The budget is spent; what is finished stays."""


def probe(
    model: str,
    class_names: Sequence[str],
    samples: Sequence[Sample],
    budget_s: float,
    *,
    seed: int = 0,
    say: Say = lambda text: None,
) -> ProbeFacts:
    """Plan a probe that fits into a budget, say what it costs, run it, and end it when the budget does.

    Args:
        model: name of the architecture.
        class_names: of the data.
        samples: the training split.
        budget_s: wall-clock for everything, timing included.
        seed: of pictures, weights, batches and augmentation.
        say: told what the probe will cost before it starts, and of every rung.

    Raises:
        UsageError: the budget does not even pay for the memorisation probe; says what would.
    """
    started = time.monotonic()
    plan = plan_probe(model, class_names, samples, budget_s, seed)
    say(
        f"capacity probe: {len(plan.strengths)} trainings of {plan.steps} steps of {plan.batch_size} pictures at "
        f"{plan.input_size} px, about {plan.seconds:.0f} s of the {budget_s:.0f} s given"
    )
    return run_probe(plan, class_names, samples, deadline=started + budget_s, say=say)


def plan_probe(
    model: str, class_names: Sequence[str], samples: Sequence[Sample], budget_s: float, seed: int = 0
) -> ProbePlan:
    """Time a few steps, then fit the longest ladder with the most steps into what is left of the budget.

    Raises:
        UsageError: it pays for fewer steps than :data:`MIN_STEPS`, or no picture has an object.
    """
    started = time.monotonic()
    pictures = probe_pictures(samples, seed)
    draft = ProbePlan(
        model=model,
        strengths=LADDERS[0],
        steps=TIMED_STEPS,
        batch_size=min(BATCH, len(pictures)),
        pictures=len(pictures),
        input_size=probe_input(pictures),
        precision="fp32",
        seed=seed,
        seconds=0.0,
    )
    speeds = {precision: _seconds_per_step(draft, class_names, pictures, precision) for precision in _PRECISIONS}
    precision = min(_PRECISIONS, key=lambda name: speeds[name])
    left = MARGIN * (budget_s - (time.monotonic() - started))
    for strengths in LADDERS:
        steps = int(left / len(strengths) / speeds[precision]) - EVALUATION_STEPS
        if steps >= MIN_STEPS:
            # Round numbers, so that two runs with the same budget are mostly the same probe.
            steps = min(MAX_STEPS, steps // 20 * 20)
            cost = len(strengths) * (steps + EVALUATION_STEPS) * speeds[precision]
            changes = {"strengths": strengths, "steps": steps, "precision": precision, "seconds": round(cost, 1)}
            return draft.model_copy(update=changes)
    needed = (MIN_STEPS + EVALUATION_STEPS) * speeds[precision] / MARGIN + time.monotonic() - started
    raise UsageError(
        f"a capacity probe has at least {MIN_STEPS} steps of {draft.batch_size} pictures at {draft.input_size} px; "
        f"a budget of {budget_s:.0f} s buys fewer on this machine: give at least {1.2 * needed:.0f} s, or 0 for none"
    )


_PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")


def probe_pictures(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """At most :data:`PICTURES` pictures with objects, drawn by the seed.

    Raises:
        UsageError: there are none.
    """
    order = np.random.default_rng(seed).permutation(len(samples)).tolist()
    chosen: list[int] = []
    for index in order:
        if len(samples[index].classes):
            chosen.append(index)
        if len(chosen) == PICTURES:
            break
    if not chosen:
        raise UsageError("a capacity probe learns objects by heart, but no training picture has one; label some first")
    return [samples[index] for index in sorted(chosen)]


def probe_input(pictures: Sequence[Sample]) -> int:
    """The smallest searched input at which the median object covers a cell of :data:`CELL_PX`."""
    share = float(np.median(np.concatenate([_roots(sample) for sample in pictures])))
    return next((size for size in INPUT_SIZES if share * size >= CELL_PX), INPUT_SIZES[-1])


def ladder_augmentation(strength: float) -> Augmentation:
    """Augmentation between none (0) and that of the authors' recipes for large networks (1).

    At 1: mosaic always, mixup 0.15, scale 0.9, translation 0.2, colours 0.015 / 0.7 / 0.4 (hyp.scratch.p5 of YOLOv7);
    everything in proportion below. The recipe for tiny networks (scale 0.5, mixup 0.05) lies near the middle.
    """
    if strength == 0:
        return NONE
    return NONE.model_copy(
        update={
            "mosaic": Mosaic(probability=strength),
            "mixup": Mixup(probability=0.15 * strength),
            "affine": Affine(scale=0.9 * strength, translate=0.2 * strength),
            "hsv": UniformHsv(hue=0.015 * strength, saturation=0.7 * strength, value=0.4 * strength),
            "flip": Flip(horizontal=0.5, vertical=0.0),
        }
    )


def probe_strategy(input_size: int, classes: int, strength: float) -> Strategy:
    """How the probe learns: what works in short runs (docs/adr/0009), so that capacity is what limits it."""
    return Strategy(
        input=Input.model_validate({"size": input_size}),
        projection=Projection(
            anchors=KmeansAnchors(),
            coding=SquaredSigmoidCoding(),
            assigner=TaskAligned(),
            box_loss=Ciou(weight=0.12),
            objectness=Objectness(target="quality", fine_weight=1.0),
            classification=Classification(weight=min(4.0, 0.25 * 80 / classes)),
            vote="object",
        ),
        augmentation=ladder_augmentation(strength),
        optimisation=Optimisation(optimizer=AdamW(lr=1e-3), schedule=Cosine(), average=NoAverage()),
    )


def _job(plan: ProbePlan, classes: int, strength: float) -> Job:
    return Job(
        model=plan.model,
        strategy=probe_strategy(plan.input_size, classes, strength),
        steps=plan.steps,
        batch_size=plan.batch_size,
        seed=plan.seed,
        precision=plan.precision,
    )


def _seconds_per_step(
    draft: ProbePlan, class_names: Sequence[str], pictures: Sequence[Sample], precision: Precision
) -> float:
    """The mean of a few steps of the strongest augmentation, the dearest, after the first one."""
    ticks: list[float] = []

    def watch(progress: Progress) -> None:
        ticks.append(progress.seconds)

    job = _job(draft.model_copy(update={"precision": precision}), len(class_names), LADDERS[0][-1])
    train(job, class_names, pictures, watch=watch)
    return (ticks[-1] - ticks[0]) / (len(ticks) - 1)


@dataclass(frozen=True)
class _Asked:
    """The probe's pictures and what is known of their objects."""

    pictures: Sequence[Sample]
    class_names: Sequence[str]
    sizes: NDArray[np.int64]
    classes: NDArray[np.int64]

    @staticmethod
    def about(pictures: Sequence[Sample], class_names: Sequence[str], input_size: int) -> _Asked:
        roots = np.concatenate([_roots(sample) for sample in pictures]) * input_size
        sizes = np.searchsorted(SIZE_EDGES_PX, roots, side="right").astype(np.int64)
        return _Asked(pictures, class_names, sizes, np.concatenate([sample.classes for sample in pictures]))

    def objects(self) -> dict[str, int]:
        return {name: int((self.sizes == k).sum()) for k, name in enumerate(size_names()) if (self.sizes == k).any()}

    def recall(self, found: NDArray[np.bool_]) -> Recall:
        """From ``[objects]``, whether each is found."""
        sizes, classes = list(enumerate(size_names())), list(enumerate(self.class_names))
        return Recall(
            overall=_share(found),
            by_size={name: _share(found[self.sizes == k]) for k, name in sizes if (self.sizes == k).any()},
            by_class={name: _share(found[self.classes == k]) for k, name in classes if (self.classes == k).any()},
        )


def size_names() -> tuple[str, ...]:
    """``below 16 px``, ``16 to 32 px``, ..., from small to large."""
    between = [f"{low} to {high} px" for low, high in zip(SIZE_EDGES_PX, SIZE_EDGES_PX[1:], strict=False)]
    return (f"below {SIZE_EDGES_PX[0]} px", *between, f"from {SIZE_EDGES_PX[-1]} px")


def _share(found: NDArray[np.bool_]) -> float:
    return round(float(found.mean()), 4) if len(found) else 0.0


def _roots(sample: Sample) -> NDArray[np.float64]:
    """``[n]``: sqrt(area) of each object as a share of a stretched input's side."""
    sides = (sample.boxes_xyxy[:, 2:] - sample.boxes_xyxy[:, :2]) / (sample.size[1], sample.size[0])
    return np.sqrt(sides.prod(1).astype(np.float64))
