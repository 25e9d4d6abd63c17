"""Capacity measured with a little training, within a budget: what is memorised, under how much variation.

The memorisation probe trains on a few pictures as they are and asks what of them is found again. The augmentation
ladder repeats it with rising augmentation and asks the same of the same, unvaried pictures: where the answer falls,
the variation is more than the network can fit in these steps. It is a short training: it says what is fitted in
``steps``, not what ever could be.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from edgehone.analysis.capacity_ladder import probe_strategy
from edgehone.analysis.capacity_recall import Objects, Recall, remembered, root_shares
from edgehone.data import Sample
from edgehone.errors import UsageError
from edgehone.files import read_json, write_json
from edgehone.inference import Precision
from edgehone.space import Settings, fingerprint, load
from edgehone.strategy import INPUT_SIZES
from edgehone.training import Job, Progress, train

PICTURES = 32
BATCH = 8
LADDERS = ((0.0, 0.15, 0.4, 1.0), (0.0, 0.2, 0.6), (0.0, 0.3), (0.0,))
"""Strengths of augmentation that are tried, the longest ladder that the budget pays for; short trainings differ most
among the weak ones."""

MIN_STEPS, MAX_STEPS = 40, 600
TIMED_STEPS = 4
EVALUATION_STEPS = 3
"""Finding the objects of all pictures costs about as much as this many steps."""

TIMING = 0.2
"""A second precision is timed only while less than this share of the budget is spent."""

MARGIN = 0.85
"""Share of the budget that is planned."""

HOLDS = 0.8
"""The network still fits where its F1 is at least this share of that without augmentation."""

CELL_PX = 16
"""The input is so large that the median object covers a cell of the second head."""

Say = Callable[[str], None]


def quiet(text: str) -> None:
    """Says nothing."""
    del text


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

    @property
    def passes(self) -> float:
        """How often each training shows each picture."""
        return self.steps * self.batch_size / self.pictures


class Rung(Settings):
    """One training of the ladder, asked about its own pictures without any augmentation.

    Attributes:
        strength: of the augmentation that it learned with.
        loss: at its last step.
        f1: the best balance of precision and recall over all scores.
        fitted: what is found from the score on at which that balance is reached.
        ceiling: what is found among the 100 best answers of a picture, whatever their score.
    """

    strength: float
    loss: float
    f1: float
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
    say: Say = quiet,
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
    speeds: dict[Precision, float] = {}
    for precision in _PRECISIONS:
        if not speeds or time.monotonic() - started < TIMING * budget_s:
            speeds[precision] = _seconds_per_step(draft, class_names, pictures, precision)
    precision = min(speeds, key=lambda name: speeds[name])
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
    order = np.random.default_rng(seed).permutation(len(samples))
    chosen: list[int] = []
    for index in (int(k) for k in order):
        if len(samples[index].classes):
            chosen.append(index)
        if len(chosen) == PICTURES:
            break
    if not chosen:
        raise UsageError("a capacity probe learns objects by heart, but no training picture has one; label some first")
    return [samples[index] for index in sorted(chosen)]


def probe_input(pictures: Sequence[Sample]) -> int:
    """The smallest searched input at which the median object covers a cell of :data:`CELL_PX`."""
    share = float(np.median(np.concatenate([root_shares(sample) for sample in pictures])))
    return next((size for size in INPUT_SIZES if share * size >= CELL_PX), INPUT_SIZES[-1])


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


def run_probe(
    plan: ProbePlan,
    class_names: Sequence[str],
    samples: Sequence[Sample],
    *,
    deadline: float | None = None,
    folder: Path | None = None,
    say: Say = quiet,
) -> ProbeFacts:
    """Train and ask every rung of a plan; without a deadline a function of the plan and the data.

    Args:
        plan: what to train.
        class_names: of the data.
        samples: the training split.
        deadline: of ``time.monotonic()``: the rung that reaches it is given up, those before it stay.
        folder: where finished rungs and the state of the present one are kept, so that an interrupted probe goes on.
        say: told of every rung.
    """
    started = time.monotonic()
    pictures = probe_pictures(samples, plan.seed)
    objects = Objects.of(pictures, class_names, plan.input_size)
    rungs: list[Rung] = []
    for strength in plan.strengths:
        job = _job(plan, len(class_names), strength)
        try:
            rungs.append(_kept_rung(job, strength, objects, Ends(deadline), folder))
        except OutOfTime:
            say(f"capacity probe: the budget ended before augmentation strength {strength:.2f}")
            break
        say(f"capacity probe: at augmentation strength {strength:.2f} it fits with an F1 of {rungs[-1].f1:.3f}")
    return ProbeFacts(
        plan=plan,
        objects=objects.counts(),
        rungs=tuple(rungs),
        fits_up_to=fits_up_to(rungs),
        seconds=round(time.monotonic() - started, 1),
    )


def fits_up_to(rungs: Sequence[Rung]) -> float | None:
    """The strongest augmentation before the first that is remembered clearly less than none, see :data:`HOLDS`."""
    if not rungs or rungs[0].f1 == 0:
        return None
    least = HOLDS * rungs[0].f1
    held = 0.0
    for rung in rungs:
        if rung.f1 < least:
            break
        held = rung.strength
    return held


class Ends:
    """Watches a training, and ends it by :class:`OutOfTime` when ``deadline`` of ``time.monotonic()`` is over."""

    def __init__(self, deadline: float | None) -> None:
        self.deadline = deadline

    def __call__(self, progress: Progress) -> None:
        """See the class."""
        del progress
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise OutOfTime


def _kept_rung(job: Job, strength: float, objects: Objects, ends: Ends, folder: Path | None) -> Rung:
    """A rung from the folder, or trained, and then kept there."""
    if folder is None:
        return _rung(job, strength, objects, ends, None)
    # Named by job and data, so that neither another plan nor other labels find it.
    name = f"{fingerprint(job)}-{objects.fingerprint()}"
    done, state = folder / f"{name}.json", folder / f"{name}.state"
    if done.is_file():
        return load(Rung, read_json(done))
    folder.mkdir(parents=True, exist_ok=True)
    rung = _rung(job, strength, objects, ends, state)
    write_json(done, rung.model_dump(mode="json"))
    state.unlink(missing_ok=True)
    return rung


def _rung(job: Job, strength: float, objects: Objects, ends: Ends, state: Path | None) -> Rung:
    trained = train(job, objects.class_names, objects.pictures, checkpoint=state, watch=ends)
    found = remembered(trained, objects, job.precision)
    loss = round(trained.curve[-1]["total"], 4)
    return Rung(strength=strength, loss=loss, f1=found.f1, fitted=found.fitted, ceiling=found.ceiling)
