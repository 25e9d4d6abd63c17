"""The plan of a run: how its wall-clock budget becomes trainings. Made once after calibration, then frozen.

Compute is counted in image-GFLOPs (pictures shown x GFLOPs of one picture), so that trainings at different
input sizes are of equal cost; a rung is a share of a full training, with the schedule compressed to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edgehone.errors import UsageError
from edgehone.inference import Precision
from edgehone.space import Settings

Proof = Literal["full", "quick", "off"]

FINAL = "final"
"""Name of the rung of full trainings."""

MIN_STEPS = 300
"""A full training has at least this many steps: below it even a good strategy has not begun to work."""

SHORT_STEPS = 100
"""The shortest trainings have at least this many, where :data:`MIN_BATCH` allows it: schedule, warm-up and average are
shares of a training, and shares of a few steps are none. :data:`MIN_STEPS` alone would be 50."""

MIN_BATCH = 4
SHORT = 1 / 6
"""Length of the lowest rung: the shortest that still told groups of strategies apart (tau about 0.7)."""

MIDDLE = 1 / 3
LEARNING_RATE_FACTORS = (1.0, 0.4, 2.5)
"""The presets' learning rate is the best of these multiples, tried at the lowest rung."""

REPEAT_FROM_S = (2 * 3600.0, 4 * 3600.0)
"""Budgets, on two workers, from which the best finalists are trained with one seed more."""

REPEATED = 3
"""So many of them: the others have hardly a chance."""

FULL = 4
"""One strategy in so many of the lowest rung is trained in full; see ADR 0034."""

LEAST, LEAST_OF_FRONT = 2, 3
"""But so many at least; of a front its two ends and one between."""

MOST_SHORT, SHORT_EACH = 32, 4
"""Where the searcher learns from trainings of every length, more budget than for so many short ones (or for so many for
each worker) buys full trainings of new strategies: what short ones can tell is told by then (ADR 0046)."""

TRIAL_OVERHEAD_S = 5.0
"""Decoding, warming up and evaluating, for a trial, on one core."""

INTEGER_OVERHEAD_S = 8.0
"""Ranges and validation in a board's integer arithmetic, once, on one core: 4 to 11 s for 87 pictures at 160 to 256 px.

A short training takes not much longer than that, so that it is done above the lowest rung only.
"""


class Rung(Settings):
    """One level of fidelity.

    Attributes:
        name: of the rung.
        share: of the full compute, of each training.
        trials: strategies that are trained at this length.
        varied: trainings that vary the augmentation of the best of them.
        fresh: strategies that are trained at this length first, in the rung of full trainings.
    """

    name: str
    share: float
    trials: int
    varied: int = 0
    fresh: int = 0


class Calibration(Settings):
    """What timing a few steps said.

    Attributes:
        precision: the faster one.
        seconds_per_gflop: of training, for one worker while all work.
        seconds_per_gflop_by_precision: what was compared.
        workers: processes side by side, one thread each.
        cpu: the processor's name.
        device: where trainings calculate, as torch names it.
        accelerator: the product's name; empty for the processor.
    """

    precision: Precision
    seconds_per_gflop: float
    seconds_per_gflop_by_precision: dict[str, float]
    workers: int
    cpu: str
    device: str = "cpu"
    accelerator: str = ""

    @property
    def hardware(self) -> str:
        """What trains, for people."""
        return f"{self.accelerator} ({self.device}), {self.cpu}" if self.accelerator else self.cpu


class Plan(Settings):
    """What will be trained.

    Attributes:
        budget_s: wall-clock of the whole run.
        proof: how much of it proves the gain.
        calibration: speed of the machine.
        full_gflops: compute of one full training.
        rungs: below the full trainings.
        finalists: strategies that are trained in full, after shorter trainings.
        fresh: strategies that are trained in full at once.
        repeats: seeds of each of the best :data:`REPEATED` finalists.
        reserve_s: kept for what is not training.
    """

    budget_s: float
    proof: Proof
    calibration: Calibration
    full_gflops: float
    rungs: tuple[Rung, ...]
    finalists: int
    fresh: int = 0
    repeats: int = 1
    reserve_s: float

    @property
    def hardware(self) -> str:
        """What trains, how many side by side and in which precision, for people."""
        of = self.calibration
        return f"{of.hardware}, {of.workers} workers of one thread, {of.precision}"

    def images(self, gflops_per_image: float, share: float = 1.0) -> int:
        """Pictures shown in ``share`` of a full training at this cost of a picture."""
        return max(1, round(self.full_gflops * share / gflops_per_image))

    def total_gflops(self) -> float:
        """Everything that is planned."""
        return self.full_gflops * (self.search_shares() + proof_shares(self.proof))

    def search_shares(self) -> float:
        """Compute of the search, in full trainings."""
        return search_shares(self.rungs, self.finalists, self.repeats, self.fresh)

    def levels(self) -> tuple[Rung, ...]:
        """The rungs with the full trainings on top."""
        return (*self.rungs, Rung(name=FINAL, share=1.0, trials=self.finalists, fresh=self.fresh))

    def batch_size(self, gflops_per_image: float, wanted: int) -> int:
        """The wanted batch size, halved until full trainings and the shortest have steps enough: one for all rungs.

        At equal pictures and compute: a training's length is counted in pictures, whatever the batch.
        """
        batch = wanted
        full, short = self.images(gflops_per_image), self.images(gflops_per_image, SHORT)
        while batch > MIN_BATCH and (full // batch < MIN_STEPS or short // batch < SHORT_STEPS):
            batch //= 2
        return batch

    def steps(self, gflops_per_image: float, wanted_batch: int, share: float = 1.0) -> tuple[int, int]:
        """``(steps, batch size)`` of a training of ``share`` of the full compute."""
        batch = self.batch_size(gflops_per_image, wanted_batch)
        return max(1, self.images(gflops_per_image, share) // batch), batch


def search_shares(rungs: Sequence[Rung], finalists: int, repeats: int, fresh: int = 0) -> float:
    """Compute of a search, in full trainings."""
    shorter = sum(rung.share * (rung.trials + rung.varied) for rung in rungs)
    return shorter + full_trainings(finalists + fresh, repeats)


def full_trainings(finalists: int, repeats: int) -> int:
    """Of the finalists, promoted or not, and of the best of them with further seeds."""
    return finalists + (repeats - 1) * min(finalists, REPEATED)


def proof_shares(proof: Proof) -> float:
    """Compute of the proof in full trainings: both presets or one, each after three short learning rates."""
    short = 2 * len(LEARNING_RATE_FACTORS) * SHORT
    return {"full": 2 + short, "quick": 1 + short, "off": 0.0}[proof]


@dataclass(frozen=True)
class SearchKind:
    """What a search is like.

    Attributes:
        objectives: how many; a front takes more finalists than a winner.
        integer_boards: in whose arithmetic longer trainings are evaluated.
        learns: its searcher does, from trainings of every length, so that it can suggest full ones.
    """

    objectives: int = 1
    integer_boards: int = 0
    learns: bool = True


def make_plan(
    budget_s: float,
    spent_s: float,
    proof: Proof,
    calibration: Calibration,
    min_gflops_per_image: float,
    kind: SearchKind = SearchKind(),
) -> Plan:
    """Fit search, finalists and proof into what is left of the budget.

    Args:
        budget_s: wall-clock of the whole run.
        spent_s: already spent, on reading, analysing and calibrating.
        proof: how much of the budget proves the gain.
        calibration: speed of this machine.
        min_gflops_per_image: of the smallest input size that may be searched.
        kind: of the search.

    Raises:
        UsageError: the budget does not buy a meaningful training; says what would.
    """
    most = max(MOST_SHORT, SHORT_EACH * calibration.workers) if kind.learns else None
    shape = _shape(budget_s * calibration.workers / 2, kind.objectives, most)
    reserve = 40 + 0.03 * budget_s
    overhead = shape.overhead_s(proof, kind.integer_boards)
    left = (budget_s - spent_s - reserve) * calibration.workers - overhead
    shares = shape.shares() + proof_shares(proof)
    # Workers idle a little at the end of every rung.
    full = 0.94 * left / shares / calibration.seconds_per_gflop
    least = MIN_STEPS * MIN_BATCH * min_gflops_per_image
    if full < least:
        needed = (least * shares * calibration.seconds_per_gflop / 0.94 + overhead) / calibration.workers + spent_s + 40
        raise UsageError(
            f"a full training has at least {MIN_STEPS} steps of {MIN_BATCH} pictures; a budget of "
            f"{budget_s / 60:.1f} min buys less on this machine: give at least {math.ceil(needed / 0.97 / 60)} min"
            + (", or --proof off" if proof != "off" else "")
        )
    return Plan(
        budget_s=budget_s,
        proof=proof,
        calibration=calibration,
        full_gflops=full,
        rungs=shape.rungs,
        finalists=shape.finalists,
        fresh=shape.fresh,
        repeats=shape.repeats,
        reserve_s=reserve,
    )


@dataclass(frozen=True)
class _Shape:
    rungs: tuple[Rung, ...]
    finalists: int
    fresh: int
    repeats: int

    def shares(self) -> float:
        return search_shares(self.rungs, self.finalists, self.repeats, self.fresh)

    def overhead_s(self, proof: Proof, integer_boards: int) -> float:
        """Of all trainings, on one core."""
        short = sum(rung.trials + rung.varied for rung in self.rungs if not longer(rung.share))
        long = sum(rung.trials + rung.varied for rung in self.rungs if longer(rung.share))
        long += full_trainings(self.finalists + self.fresh, self.repeats)
        if proof != "off":
            short, long = short + 2 * len(LEARNING_RATE_FACTORS), long + 2
        return (short + long) * TRIAL_OVERHEAD_S + long * integer_boards * INTEGER_OVERHEAD_S


def longer(share: float) -> bool:
    """Whether a training is longer than those of the lowest rung."""
    return share > SHORT


def _shape(budget_s: float, objectives: int, most: int | None) -> _Shape:
    """How many trainings of which length, for a budget on two workers; no more than the most short ones."""
    wanted = _population(budget_s)
    first = wanted if most is None else min(wanted, most)
    rungs, finalists = _rungs(first, objectives)
    more = search_shares(*_rungs(wanted, objectives), 1) - search_shares(rungs, finalists, 1)
    repeats = 1 + sum(budget_s >= limit for limit in REPEAT_FROM_S)
    return _Shape(rungs, finalists, round(more), repeats)


def _rungs(first: int, objectives: int) -> tuple[tuple[Rung, ...], int]:
    """Below the full trainings, and how many of these follow.

    A front whose middle rung would choose nothing has none: what it saves lets all of its trainings be as long as in a
    search for accuracy alone.
    """
    middle, varied, finalists = promotions(first, LEAST if objectives == 1 else LEAST_OF_FRONT)
    rungs = (
        Rung(name="short", share=SHORT, trials=first),
        Rung(name="middle", share=MIDDLE, trials=middle, varied=varied),
    )
    return rungs[:1] if objectives > 1 and middle == finalists else rungs, finalists


def promotions(first: int, least: int = LEAST) -> tuple[int, int, int]:
    """Of ``first`` short trainings: longer ones, those with another augmentation beside them, and full ones."""
    finalists = max(least, -(-first // FULL))
    middle = max(finalists, 3 * first // 8)
    return middle, max(1, middle // 2), finalists


def _population(budget_s: float) -> int:
    """Trials on the lowest rung: more with a longer budget, never so many that the full training suffers."""
    minutes = budget_s / 60
    for limit, trials in ((7, 4), (11, 6), (22, 8), (45, 10), (120, 16), (240, 32)):
        if minutes < limit:
            return trials
    return round(32 * minutes / 240)
