"""A detector that loses too much in 8 bits is repaired, with the mildest means that suffices.

What is judged is a loss of AP on some hundred pictures, which other pictures would make larger or smaller: it has to be
small enough on nineteen of twenty draws of them, or half of what just passes would lose too much on others.

In this order: another calibrator; equalised channels; more bits for the heads, then for the layers that do the damage;
training under rounding. What passes and is still noisy gets more bits for the layers that stand out: AP on a few
pictures is luck to half a point, decibels are not. Every attempt leaves a record.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgehone.deploy.integer.calibration import Calibrator
from edgehone.deploy.integer.equalisation import equalised
from edgehone.deploy.integer.noise import QUIET_DB, calculating, least_db, measure_noise
from edgehone.deploy.integer.plan import Plan, make_plan
from edgehone.deploy.integer.scheme import Scheme
from edgehone.deploy.integer.simulator import Simulator
from edgehone.deploy.integer.tensors import Seen, collect, tensor_name
from edgehone.inference import Runtime, TorchRuntime
from edgehone.models import Graph, Network
from edgehone.space import Settings
from edgehone.types import Size

MAX_DROP = 0.005
"""Of AP: half a point."""
SURE = 0.95
"""Share of the draws of the judged pictures on which the loss has to be small enough."""
NOISE_PICTURES = 4
WIDE_SHARE = 0.25
"""Of the layers that calculate, beside the heads, may get more bits: with more, 8 bits gain little speed."""

CHANCE = 0.001
"""Calibrators whose AP differs by less are equal: then the plainest stays, which clips nothing."""

WORTH_DB = 2.0
"""More bits for the heads or a layer of what passes must make the worst part of the heads so much quieter."""

Repair = Literal["none", "calibration", "equalisation", "mixed_precision", "fine_tuning"]


class Attempt(Settings):
    """One way of running the detector, and what it is worth.

    Attributes:
        repair: kind of what was changed last.
        detail: calibrator, layers, epochs: for a person.
        ap: measured.
        drop: from fp32; negative where it gained.
        drop_likely: no more than this on :data:`SURE` of the draws of the judged pictures.
    """

    repair: Repair
    detail: str
    ap: float
    drop: float
    drop_likely: float


@dataclass(frozen=True)
class Measured:
    """AP, and AP on draws of the pictures, ``[draws]``, the same draws each time."""

    ap: float
    draws: NDArray[np.float64]

    def loss(self, after: Measured) -> tuple[float, float]:
        """What is lost, and what at most on :data:`SURE` of the draws."""
        return self.ap - after.ap, float(np.quantile(self.draws - after.draws, SURE))


Say = Callable[[str], None]


def quiet(_: str) -> None:
    """For nobody to hear."""


def describe_attempt(attempt: Attempt) -> str:
    """In one line."""
    return (
        f"{attempt.detail}: AP {attempt.ap:.4f}, {100 * attempt.drop:+.2f} points lost, likely at most "
        f"{100 * attempt.drop_likely:+.2f}"
    )


UNTRIED = Attempt(repair="none", detail="", ap=0.0, drop=1.0, drop_likely=1.0)


class Verdict(Settings):
    """What it took.

    Attributes:
        board: whose arithmetic.
        max_drop: of AP that was allowed.
        ap_real: in fp32, on the same pictures.
        attempts: in order.
        chosen: the first that likely loses no more than allowed, or its quieter form; else the best of all.
        calibrator: of the chosen.
        equalised: whether its channels are.
        wide: tensors of its layers that are calculated in more than 8 bits.
    """

    board: str
    max_drop: float
    ap_real: float
    attempts: tuple[Attempt, ...]
    chosen: Attempt
    calibrator: Calibrator
    equalised: bool
    wide: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the chosen one likely loses no more than allowed."""
        return self.chosen.drop_likely <= self.max_drop


@dataclass(frozen=True)
class Subject:
    """A detector before the gate.

    Attributes:
        network: folded.
        input_size: of its pictures.
        fields: numbers of an anchor in a head: 5 + classes.
        scheme: arithmetic of the board.
        pictures: for calibration, ``[3, h, w]`` in 0..1, of the training split.
        measure: AP of a runtime and its draws; on pictures that chose nothing else.
        run: a network in a plan's arithmetic: simulated, or executed where the board is this machine.
        fine_tune: trains a folded network under a plan's rounding; None where there is nothing to learn from.
    """

    network: Network
    input_size: Size
    fields: int
    scheme: Scheme
    pictures: Sequence[Tensor]
    measure: Callable[[Runtime], Measured]
    run: Callable[[Network, Plan], Runtime] = Simulator
    fine_tune: Callable[[Network, Plan], Network] | None = None

    @functools.cached_property
    def real(self) -> Measured:
        """What it is worth in fp32."""
        return self.measure(TorchRuntime(self.network))

    @functools.cached_property
    def seen(self) -> Seen:
        """What the calibration pictures sent through the network."""
        return collect(self.network, self.input_size, self.pictures, self.fields)

    @property
    def plain(self) -> Plan:
        """Everything in 8 bits, ranges by the first calibrator: the detector as it is."""
        return make_plan(self.scheme, self.seen, self.fields, self.scheme.calibrators[0])


@dataclass(frozen=True)
class Candidate:
    """A network and its plan; ``attempt`` is filled in when it has been measured."""

    network: Network
    plan: Plan
    calibrator: Calibrator
    equalised: bool = False
    attempt: Attempt = UNTRIED


def repair(subject: Subject, max_drop: float = MAX_DROP, say: Say = quiet) -> tuple[Candidate, Verdict]:
    """The mildest change after which a board's arithmetic likely loses no more AP than allowed, or the best there is.

    Args:
        subject: the detector.
        max_drop: of AP, 0..1; half a point is 0.005.
        say: told of every attempt: most take a minute or more.
    """
    attempts: list[Attempt] = []
    best: Candidate | None = None
    gate = _Repairs(subject)

    def judged(kind: Repair, detail: str, candidate: Candidate) -> Candidate:
        attempt = attempted(subject, subject.run(candidate.network, candidate.plan), kind, detail)
        attempts.append(attempt)
        say(describe_attempt(attempt))
        return replace(candidate, attempt=attempt)

    for stage in (gate.calibrations, gate.equalisation, gate.mixtures, gate.fine_tuning):
        for kind, detail, proposed in stage(best):
            candidate = judged(kind, detail, proposed)
            if candidate.attempt.drop_likely <= max_drop:
                quieter = gate.quieter(candidate)
                also = candidate if quieter is None else judged(*quieter)
                chosen = also if also.attempt.drop_likely <= max_drop else candidate
                return chosen, _verdict(subject, max_drop, attempts, chosen)
            margin = CHANCE if kind == "calibration" else 0.0
            best = candidate if best is None or candidate.attempt.ap > best.attempt.ap + margin else best
    assert best is not None
    return best, _verdict(subject, max_drop, attempts, best)


def judge_as_delivered(subject: Subject, max_drop: float = MAX_DROP, say: Say = quiet) -> tuple[Candidate, Verdict]:
    """No repair: what a bundle holds that nobody put through the gate, judged as the gate judges.

    That is ranges by the first calibrator, and for raw heads that the board rounds what it has beside 8 bits.

    Args:
        subject: the detector.
        max_drop: see :func:`repair`.
        say: told of the outcome.
    """
    graph, plan, calibrator = subject.network.graph, subject.plain, subject.scheme.calibrators[0]
    heads = rounded_heads(graph, plan)
    for index in heads:
        plan = plan.widened(index)
    detail = f"ranges by {calibrator.kind}" + f", {subject.scheme.wide} for the raw heads" * bool(heads)
    attempt = attempted(subject, subject.run(subject.network, plan), "none", detail)
    say(describe_attempt(attempt))
    candidate = Candidate(subject.network, plan, calibrator, attempt=attempt)
    return candidate, _verdict(subject, max_drop, [attempt], candidate)


def attempted(subject: Subject, runtime: Runtime, kind: Repair, detail: str) -> Attempt:
    """A runtime, judged."""
    real, after = subject.real, subject.measure(runtime)
    drop, likely = (round(loss, 5) for loss in real.loss(after))
    return Attempt(repair=kind, detail=detail, ap=round(after.ap, 5), drop=drop, drop_likely=likely)


def rounded_heads(graph: Graph, plan: Plan) -> list[int]:
    """Raw heads that a plan holds in 8 bits."""
    return [index for index in graph.outputs if plan.result_precision(graph, index) == "int8"]


Proposal = tuple[Repair, str, Candidate]


class _Repairs:
    """Proposals of each stage, from the best candidate so far."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject

    def calibrations(self, best: Candidate | None) -> Iterator[Proposal]:
        """Every calibrator, the plainest first: that is the detector as it is."""
        subject = self.subject
        for calibrator in subject.scheme.calibrators:
            plan = make_plan(subject.scheme, subject.seen, subject.fields, calibrator)
            kind: Repair = "calibration" if calibrator != subject.scheme.calibrators[0] else "none"
            yield kind, f"ranges by {calibrator.kind}", Candidate(subject.network, plan, calibrator)
        del best

    def equalisation(self, best: Candidate | None) -> Iterator[Proposal]:
        """Like ranges in the channels of a tensor, where activations allow it."""
        assert best is not None
        subject, network = self.subject, equalised(best.network, self.subject.seen)
        if network is not None:
            seen = replace(subject, network=network).seen
            plan = make_plan(subject.scheme, seen, subject.fields, best.calibrator)
            detail = f"channels equalised, ranges by {best.calibrator.kind}"
            yield "equalisation", detail, Candidate(network, plan, best.calibrator, True)

    def mixtures(self, best: Candidate | None) -> Iterator[Proposal]:
        """More bits: for the heads where they are rounded, then for the worst layers, one, two, four and so on."""
        assert best is not None
        graph = best.network.graph
        heads = rounded_heads(graph, best.plan)
        if heads:
            yield self._wider(best, heads)
        pixels = torch.stack(list(self.subject.pictures[:NOISE_PICTURES]))
        noise = measure_noise(best.network, best.plan, pixels)
        layers = [layer.index for layer in noise.layers if layer.index >= 0 and layer.index not in heads]
        worst = layers[: max(1, round(WIDE_SHARE * len(layers)))]
        count = 1
        while True:
            yield self._wider(best, [*heads, *worst[:count]])
            if count >= len(worst):
                return
            count *= 2

    def quieter(self, passed: Candidate) -> Proposal | None:
        """What passes, with more bits for heads and the loudest layers where that helps; None without need or help."""
        pixels = torch.stack(list(self.subject.pictures[:NOISE_PICTURES]))
        plan = passed.plan
        now = least_db(passed.network, plan, pixels)
        if now >= QUIET_DB:
            return None
        heads = rounded_heads(passed.network.graph, plan)
        noise = measure_noise(passed.network, plan, pixels)
        layers = [layer.index for layer in noise.layers if layer.index >= 0 and layer.index not in heads]
        worst = layers[: max(1, round(WIDE_SHARE * len(layers)))]
        wider: list[int] = []
        for group in [*([heads] if heads else []), *([index] for index in worst)]:  # heads cost least
            if now >= QUIET_DB:
                break
            wide = functools.reduce(Plan.widened, group, plan)
            then = least_db(passed.network, wide, pixels)
            if then >= now + WORTH_DB:
                plan, now = wide, then
                wider += group
        return self._wider(passed, wider) if wider else None

    def _wider(self, best: Candidate, layers: Sequence[int]) -> Proposal:
        plan = best.plan
        for index in layers:
            plan = plan.widened(index)
        names = [tensor_name(best.network.graph, index) for index in layers]
        detail = f"{self.subject.scheme.wide} for {', '.join(names)}" + ", channels equalised" * best.equalised
        return "mixed_precision", detail, replace(best, plan=plan)

    def fine_tuning(self, best: Candidate | None) -> Iterator[Proposal]:
        """Training under the best candidate's rounding."""
        assert best is not None
        if self.subject.fine_tune is not None:
            network = self.subject.fine_tune(best.network, best.plan)
            yield "fine_tuning", f"trained under rounding, with {best.attempt.detail}", replace(best, network=network)


def _verdict(subject: Subject, max_drop: float, attempts: Sequence[Attempt], chosen: Candidate) -> Verdict:
    graph = subject.network.graph
    exceptions = set(chosen.plan.results) | set(chosen.plan.weights)
    return Verdict(
        board=subject.scheme.board,
        max_drop=max_drop,
        ap_real=round(subject.real.ap, 5),
        attempts=tuple(attempts),
        chosen=chosen.attempt,
        calibrator=chosen.calibrator,
        equalised=chosen.equalised,
        wide=tuple(tensor_name(graph, index) for index in calculating(graph) if index in exceptions),
    )
